//! Bounds the retries of many calls together: when a dependency is down, `max = 3` alone would make four calls of
//! every one, and the load that brought it down would grow fourfold.
//!
//! The rule: each call deposits `ratio` of a token and each second `reserve` tokens; a retry takes one, and without a
//! token it is not made. While calls are few, a retry without a token is made all the same: the n-th retry of a call, as
//! long as n times the calls of the last ten seconds is at most `free`. What is made so is a debt that later deposits
//! pay first, so that the load of a lasting storm stays within `1 + ratio` times the calls, plus the reserve.
//!
//! So a lone caller and a small batch have their own `max`, and more calls share about `free / 10` retries a second
//! evenly; a debt of calls that stay few is forgiven after ten seconds. With the defaults (`ratio` 10 %, `reserve` 3, `free` 1000), in virtual time:
//!
//! | | retries made | given up for the budget |
//! |---|---|---|
//! | one transaction, fails 99 times, then succeeds; `max = 100` | 99 | 0 |
//! | 100 downloads at once, each fails twice; `max = 9` | 200 | 0 |
//! | 100 downloads at once, each fails 9 times; `max = 9` | 900 | 0 |
//! | 300 downloads at once, each fails 3 times; `max = 3` | 900 | 0 |
//! | 500 downloads at once, each fails twice; `max = 9` | 1000 | 0 |
//! | 1000 downloads at once, each fails twice; `max = 9` | 1000 | all 1000, after one retry each |
//! | the same with `free = 10000` | 2000 | 0 |
//! | 1000 calls/s for 60 s, all fail; `max = 3` | at most 1.1 times the calls, and 210 of reserve | nearly all calls |
//!
//! There is a cliff: where all calls of a batch of more than `free / n` fail n times, none of them gets its n-th retry. Each
//! ends with its own error; the span, [`stopped`](crate::retry::stopped), the statistics, an event and a warning name the
//! budget. Such a batch needs a larger `free`, or `budget = off`.
//!
//! The token bucket is that of Finagle's `RetryBudget`; gRPC (A6), the AWS SDKs and Linkerd have similar ones, Envoy
//! bounds the retries in flight instead (`min_retry_concurrency` is its reserve). None of these lets a batch of 100 calls
//! that all fail twice come through with its defaults.
//!
//! Deposits are a striped count on the success path; they are turned into tokens when one is withdrawn.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::recent::Recent;
use crate::clock::Instant;
use crate::component::{Component, Core, Create, Environment, Kind};
use crate::observe::{Describe, EventKind, Striped};
use crate::ratio::Ratio;
use crate::settings::{ConfigError, Effective, Layered, settings};
use crate::sync::{AtomicU64, Mutex, Ordering};

settings! {
    /// The settings of a [`RetryBudget`].
    ///
    /// ```
    /// use resilient_runtime::{Component, Ratio, Registry, retry::BudgetConfig};
    ///
    /// let backend = Registry::new().retry_budget("backend");
    /// backend.reconfigure(BudgetConfig::default().ratio(Ratio::percent(5.0).unwrap())).unwrap();
    /// assert_eq!(backend.config().ratio, Ratio::new(0.05).unwrap());
    /// ```
    pub struct BudgetConfig: retry_budget {
        ratio: Ratio,
        reserve: f64,
        burst: u32,
        free: u32,
        enabled: bool,
    }
}

impl BudgetConfig {
    fn capacity(&self) -> f64 {
        self.reserve * SAVED_SECONDS + f64::from(self.burst)
    }
}

/// How many seconds of reserve can be saved up; a new budget starts with as many.
const SAVED_SECONDS: f64 = 10.0;

/// Calls are few where ten retries of each are free.
const FEW: u64 = 10;
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// Ten tenths are a token, though their sum in floating point is a little less.
const WHOLE: f64 = 1.0 - 1e-9;

/// Bounds the retries of many calls together. See [`BudgetConfig`] for its rule.
///
/// Every [`Retry`](crate::Retry) has one of its own, unless `budget = "name"` makes several share one.
///
/// ```
/// let registry = resilient_runtime::Registry::new();
/// let budget = registry.retry_budget("gateway");
/// (0..100).for_each(|_| budget.deposit());
/// assert!(budget.try_withdraw());
/// assert_eq!(budget.tokens().floor(), 39.0); // 30 of reserve, 10 of 100 calls, one withdrawn
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    core: Core<BudgetConfig>,
    deposits: Striped<1>,
    bucket: Mutex<Bucket>,
    withdrawn: AtomicU64,
    free: AtomicU64,
    denied: AtomicU64,
}

#[derive(Debug)]
struct Bucket {
    /// Below 0: a debt, of retries that were made without a token.
    tokens: f64,
    /// How many deposits are in `tokens` already.
    counted: u64,
    /// How many deposits there were when it was new.
    first: u64,
    /// Up to when the reserve is in `tokens` already.
    filled: Instant,
    recent: Recent,
    /// When calls were last many, or a debt was last forgiven.
    unforgiven: Instant,
}

impl Bucket {
    fn new(config: &BudgetConfig, now: Instant, counted: u64) -> Self {
        let recent = Recent::new(now, counted);
        Self {
            tokens: config.reserve * SAVED_SECONDS,
            counted,
            first: counted,
            filled: now,
            recent,
            unforgiven: now,
        }
    }

    /// Makes debts for this retry of a call, if calls are few.
    #[cold]
    fn borrow(&mut self, config: &BudgetConfig, now: Instant, deposits: u64, retry: u32) -> bool {
        let calls = self.recent.calls(now, deposits).max(1);
        let free = u64::from(config.free);
        if config.reserve <= 0.0 || calls.saturating_mul(u64::from(retry)) > free {
            return false;
        }
        // A debt is there so that a storm pays for how it began. Calls that stay few are none.
        let are_many = calls.saturating_mul(FEW) > free;
        if are_many || now.since(self.unforgiven) >= FORGIVEN_AFTER {
            self.tokens = if are_many { self.tokens } else { self.tokens.max(0.0) };
            self.unforgiven = now;
        }
        self.tokens = (self.tokens - 1.0).max(-2.0 * f64::from(config.free));
        true
    }

    fn fill(&mut self, config: &BudgetConfig, now: Instant, deposits: u64) {
        let calls = deposits.saturating_sub(self.counted) as f64;
        let seconds = now.since(self.filled).as_secs_f64();
        let tokens = self.tokens + calls * config.ratio.get() + seconds * config.reserve;
        self.tokens = tokens.min(config.capacity());
        self.counted = self.counted.max(deposits);
        // A clock that steps back must not pay the same second twice.
        self.filled = self.filled.max(now);
    }
}

impl RetryBudget {
    /// One call has begun.
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

    /// Takes the token that one retry costs; `false` when there is none.
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

    /// As [`try_withdraw`](Self::try_withdraw), for the `number`-th retry of a call, from 1: one that needs no token while calls
    /// are few. See [`BudgetConfig::free`].
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, clock::ManualClock};
    ///
    /// let backend = Registry::with_clock(ManualClock::new().clock()).retry_budget("backend");
    /// backend.deposit();
    /// assert!((1..=1000).all(|number| backend.try_withdraw_retry(number)), "a lone call");
    /// assert!(!backend.try_withdraw_retry(1001));
    /// ```
    pub fn try_withdraw_retry(&self, number: u32) -> bool {
        self.withdraw(number)
    }

    /// For this retry of a call; 0 for what always needs a token.
    fn withdraw(&self, retry: u32) -> bool {
        let config = self.core.config();
        let granted = {
            let mut bucket = self.bucket.lock();
            let (now, deposits) = (self.core.clock().now(), self.deposits.sum(0));
            bucket.fill(&config, now, deposits);
            if bucket.tokens >= WHOLE {
                bucket.tokens = (bucket.tokens - 1.0).max(0.0);
                true
            } else {
                let is_free = !config.enabled || retry > 0 && bucket.borrow(&config, now, deposits, retry);
                self.free.fetch_add(u64::from(is_free), Ordering::Relaxed);
                is_free
            }
        };
        let counter = if granted { &self.withdrawn } else { &self.denied };
        counter.fetch_add(1, Ordering::Relaxed);
        granted
    }

    /// The tokens in the bucket now; 0 while there is a debt.
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
        bucket.tokens.max(0.0)
    }

    /// A budget of one retry component alone.
    pub(super) fn private(of: &Core<super::Config>) -> Self {
        let config = of.config().budget_config(BudgetConfig::default());
        Self::standing_alone(of.name, of.environment.clone(), config)
    }

    /// A budget that is in no registry, of the component of this name.
    pub(crate) fn standing_alone(name: &'static str, environment: Environment, config: BudgetConfig) -> Self {
        Self::create(Core { name, environment, settings: Layered::of(config) })
    }
}

/// What is a part of a retry or a hedge has no name of its own, and tells nobody.
impl RetryBudget {
    pub(crate) fn begin_anew(&self) {
        let config = self.core.config();
        *self.bucket.lock() = Bucket::new(&config, self.core.clock().now(), self.deposits.sum(0));
        self.withdrawn.store(0, Ordering::Relaxed);
        self.free.store(0, Ordering::Relaxed);
        self.denied.store(0, Ordering::Relaxed);
    }

    /// Valid by the owner's own check of the same ranges.
    pub(crate) fn follow(&self, config: BudgetConfig) {
        // What came before is paid at the rates of before.
        self.tokens();
        let _ = self.core.change(config, |_| ());
    }
}

impl Create for RetryBudget {
    fn create(core: Core<BudgetConfig>) -> Self {
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

    fn core(&self) -> &Core<BudgetConfig> {
        &self.core
    }
}

impl Component for RetryBudget {
    const KIND: Kind = Kind::RetryBudget;
    type Config = BudgetConfig;
    type Stats = BudgetStats;

    fn name(&self) -> &str {
        self.core.name
    }

    fn stats(&self) -> BudgetStats {
        BudgetStats {
            tokens: self.tokens(),
            capacity: self.core.config().capacity(),
            calls: self.deposits.sum(0).saturating_sub(self.bucket.lock().first),
            withdrawn: self.withdrawn.load(Ordering::Relaxed),
            free: self.free.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
        }
    }

    fn reset(&self) {
        self.begin_anew();
        self.core.publish(Self::KIND, EventKind::Reset);
    }

    fn config(&self) -> Arc<BudgetConfig> {
        self.core.config()
    }

    fn reconfigure(&self, config: BudgetConfig) -> Result<(), ConfigError> {
        // What came before is paid at the rates of before.
        self.tokens();
        self.core.reconfigure(Self::KIND, config, |_| ())
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}

/// A snapshot of a [`RetryBudget`].
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let backend = Registry::new().retry_budget("backend");
/// assert!(backend.try_withdraw());
/// let stats = backend.stats();
/// assert_eq!((stats.withdrawn, stats.denied), (1, 0));
/// assert!(stats.tokens <= stats.capacity);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetStats {
    /// Tokens in the bucket; 0 while there is a debt.
    pub tokens: f64,
    /// Tokens it can hold.
    pub capacity: f64,
    /// Calls that have deposited.
    pub calls: u64,
    /// Retries granted.
    pub withdrawn: u64,
    /// Of them, those made without a token because calls were few, or the budget is switched off.
    pub free: u64,
    /// Retries refused.
    pub denied: u64,
}

impl Describe for BudgetStats {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} of {:.0}, {} denied", self.tokens, self.capacity, self.denied)
    }
}
