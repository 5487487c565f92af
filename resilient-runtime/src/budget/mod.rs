//! Retry budgets: limit the retries and hedges of many calls together.
//!
//! When a dependency is down, `max = 3` alone would turn every call into four, and the load that brought it down would
//! grow fourfold.
//!
//! Each call deposits `ratio` of a token, and each second adds `reserve` tokens. A retry takes one token; without a
//! token it is not made. While calls are few, a retry is granted even without a token: the n-th retry of a call is free
//! if n times the calls of the last ten seconds is at most `free`. A free retry makes a debt, which later deposits pay
//! first. The load of a long outage therefore stays within `1 + ratio` times the calls, plus the reserve.
//!
//! A single caller and a small batch are therefore limited only by their `max`. More calls share about `free / 10`
//! retries per second evenly. If calls stay few, the debt is forgiven after ten seconds. With the defaults (`ratio` 10
//! %, `reserve` 3, `free` 1000), measured in virtual time:
//!
//! | calls | retries made | calls stopped by the budget |
//! |---|---|---|
//! | one transaction, fails 99 times, then succeeds; `max = 100` | 99 | 0 |
//! | 100 downloads at once, each fails twice; `max = 9` | 200 | 0 |
//! | 100 downloads at once, each fails 9 times; `max = 9` | 900 | 0 |
//! | 300 downloads at once, each fails 3 times; `max = 3` | 900 | 0 |
//! | 500 downloads at once, each fails twice; `max = 9` | 1000 | 0 |
//! | 1000 downloads at once, each fails twice; `max = 9` | 1000 | all 1000, after one retry each |
//! | the same 1000 downloads with `free = 10000` | 2000 | 0 |
//! | 1000 calls/s for 60 s, all fail; `max = 3` | at most 1.1 times the calls, and 210 of reserve | nearly all calls |
//!
//! The limit is sharp: if all calls of a batch larger than `free / n` fail n times, none of them gets its n-th retry.
//! Each call ends with its own error. The span, [`stopped`](crate::retry::stopped), the statistics, an event and a
//! warning name the budget. For such a batch, increase `free` or set `budget = off`.
//!
//! The token bucket follows Finagle's `RetryBudget`. gRPC (proposal A6), the AWS SDKs and Linkerd have similar ones;
//! Envoy limits the concurrent retries instead (its `min_retry_concurrency` corresponds to the reserve). With their
//! defaults, none of these lets a batch of 100 calls succeed that all fail twice.
//!
//! On the success path, a deposit only increments a striped counter. Deposits are converted into tokens when a token is
//! withdrawn.

mod bucket;
mod config;
mod recent;
mod stats;

pub use config::Config;
pub use stats::Stats;

use crate::component::{Component, Core, Create, Environment, Kind};
use crate::observe::{EventKind, Striped};
use crate::settings::{ConfigError, Layered};
use crate::sync::{AtomicU64, Mutex, Ordering};
use bucket::Bucket;

/// Limits the retries of many calls together. See the [module](self) for the rule.
///
/// Every [`Retry`](crate::Retry) has its own budget, unless `budget = "name"` makes several share one.
///
/// ```
/// use resilient_runtime::{RetryBudget, budget::Config};
///
/// let budget = RetryBudget::new(Config::default())?;
/// (0..100).for_each(|_| budget.deposit());
/// assert!(budget.try_withdraw());
/// assert_eq!(budget.tokens().floor(), 39.0); // 30 from the reserve, 10 from 100 calls, 1 withdrawn
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    core: Core<Config>,
    deposits: Striped<1>,
    bucket: Mutex<Bucket>,
    withdrawn: AtomicU64,
    free: AtomicU64,
    denied: AtomicU64,
}

impl RetryBudget {
    /// Adds the deposit of one call. Call it when a call begins.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let backend = Registry::new().retry_budget("backend");
    /// (0..10).for_each(|_| backend.deposit());
    /// assert_eq!(backend.stats().calls, 10);
    /// ```
    #[inline]
    pub fn deposit(&self) {
        self.deposits.add(0);
    }

    /// Takes the token for one retry. Returns `false` if there is none.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, clock::ManualClock};
    ///
    /// let backend = Registry::with_clock(ManualClock::new().clock()).retry_budget("backend");
    /// while backend.try_withdraw() {}
    /// assert!(backend.tokens() < 1.0);
    /// assert_eq!(backend.stats().denied, 1);
    /// ```
    pub fn try_withdraw(&self) -> bool {
        self.withdraw(0)
    }

    /// Takes the token for the `number`-th retry of a call, counted from 1.
    ///
    /// Unlike [`try_withdraw`](Self::try_withdraw), it succeeds without a token while calls are few. See
    /// [`Config::free`].
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, clock::ManualClock};
    ///
    /// let backend = Registry::with_clock(ManualClock::new().clock()).retry_budget("backend");
    /// backend.deposit();
    /// assert!((1..=1000).all(|number| backend.try_withdraw_retry(number)), "a single call");
    /// assert!(!backend.try_withdraw_retry(1001));
    /// ```
    pub fn try_withdraw_retry(&self, number: u32) -> bool {
        self.withdraw(number)
    }

    /// Withdraws for this retry of a call. `retry` is 0 if a token is always required.
    fn withdraw(&self, retry: u32) -> bool {
        let config = self.core.config();
        let granted = {
            let mut bucket = self.bucket.lock();
            let (now, deposits) = (self.core.clock().now(), self.deposits.sum(0));
            bucket.fill(&config, now, deposits);
            bucket.take() || {
                let is_free = !config.enabled || retry > 0 && bucket.borrow(&config, now, deposits, retry);
                self.free.fetch_add(u64::from(is_free), Ordering::Relaxed);
                is_free
            }
        };
        let counter = if granted { &self.withdrawn } else { &self.denied };
        counter.fetch_add(1, Ordering::Relaxed);
        granted
    }

    /// Returns the tokens in the bucket; 0 while there is a debt.
    ///
    /// ```
    /// use resilient_runtime::{Registry, clock::ManualClock};
    ///
    /// let backend = Registry::with_clock(ManualClock::new().clock()).retry_budget("backend");
    /// let before = backend.tokens();
    /// assert!(backend.try_withdraw());
    /// assert_eq!(backend.tokens(), before - 1.0);
    /// ```
    pub fn tokens(&self) -> f64 {
        let config = self.core.config();
        let mut bucket = self.bucket.lock();
        bucket.fill(&config, self.core.clock().now(), self.deposits.sum(0));
        bucket.tokens()
    }

    /// Makes a budget that is in no registry and has the name of its component.
    pub(crate) fn standing_alone(name: &'static str, environment: Environment, config: Config) -> Self {
        Self::create(Core { name, environment, settings: Layered::of(config) })
    }
}

/// For the budget of a single retry or hedge, which has no name of its own and publishes no events.
impl RetryBudget {
    pub(crate) fn begin_anew(&self) {
        let config = self.core.config();
        *self.bucket.lock() = Bucket::new(&config, self.core.clock().now(), self.deposits.sum(0));
        self.withdrawn.store(0, Ordering::Relaxed);
        self.free.store(0, Ordering::Relaxed);
        self.denied.store(0, Ordering::Relaxed);
    }

    /// Follows a configuration that the owner has already validated.
    pub(crate) fn follow(&self, config: Config) {
        // First add the tokens earned at the previous rates.
        self.tokens();
        let _ = self.core.change(config, |_| ());
    }
}

impl Create for RetryBudget {
    fn create(core: Core<Config>) -> Self {
        let bucket = Mutex::new(Bucket::new(&core.config(), core.clock().now(), 0));
        Self {
            core,
            deposits: Striped::new(),
            bucket,
            withdrawn: AtomicU64::new(0),
            free: AtomicU64::new(0),
            denied: AtomicU64::new(0),
        }
    }
}

impl Component for RetryBudget {
    const KIND: Kind = Kind::RetryBudget;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn stats(&self) -> Stats {
        Stats {
            tokens: self.tokens(),
            capacity: self.core.config().capacity(),
            calls: self.bucket.lock().calls(self.deposits.sum(0)),
            withdrawn: self.withdrawn.load(Ordering::Relaxed),
            free: self.free.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
        }
    }

    fn reset(&self) {
        self.begin_anew();
        self.core.publish(Self::KIND, EventKind::Reset);
    }

    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        // First add the tokens earned at the previous rates.
        self.tokens();
        self.core.reconfigure(Self::KIND, config, |_| ())
    }
}

#[cfg(all(test, resilient_loom))]
mod loom_models;
#[cfg(all(test, not(resilient_loom)))]
mod model_tests;
#[cfg(all(test, not(resilient_loom)))]
mod tests;
