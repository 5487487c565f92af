//! Why a limit of retries per call is not enough: when a dependency is down, `max = 3` makes four calls of
//! every one, and the load that brought it down grows fourfold. A budget bounds the retries of *all* calls
//! together: a share of the calls, plus a small reserve so that a quiet service can retry at all.
//!
//! A token bucket, as in Finagle's `RetryBudget`: each call deposits `ratio` of a token, each second
//! `reserve` tokens; a retry withdraws one. The bucket holds at most ten seconds of reserve and `burst`.
//! Deposits are a striped count on the success path; they are turned into tokens when one is withdrawn.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::Instant;
use crate::component::{Component, Core, Create, Environment, Kind};
use crate::observe::{Happening, Striped};
use crate::ratio::Ratio;
use crate::settings::{ConfigError, Effective, Layered, settings};
use crate::sync::{AtomicU64, Mutex, Ordering};

settings! {
    /// The settings of a [`RetryBudget`].
    ///
    /// ```
    /// use resilient::{Component, Ratio, Registry, retry::BudgetConfig};
    ///
    /// let backend = Registry::new().retry_budget("backend");
    /// backend.reconfigure(BudgetConfig::default().ratio(Ratio::percent(5.0).unwrap())).unwrap();
    /// assert_eq!(backend.config().ratio, Ratio::new(0.05).unwrap());
    /// ```
    pub struct BudgetConfig {
        /// Tokens that each call deposits, as a share of one; 0 to 1.
        pub ratio: Ratio = Ratio::percent(10.0).unwrap_or(Ratio::ZERO),
        /// Tokens that each second deposits; 0 to 1 000 000.
        pub reserve: f64 = 3.0,
        /// Tokens that can be saved up beyond ten seconds of reserve; 0 to 1 000 000.
        pub burst: u32 = 100,
    }
}

impl BudgetConfig {
    fn check(&self, error: &mut ConfigError) {
        let reserve = (0.0..=1e6).contains(&self.reserve);
        error.require(reserve, "reserve", self.reserve, "tokens per second, from 0 to 1000000");
        error.require(self.burst <= 1_000_000, "burst", self.burst, "0 to 1000000 tokens");
    }

    fn capacity(&self) -> f64 {
        self.reserve * SAVED_SECONDS + f64::from(self.burst)
    }
}

/// How many seconds of reserve can be saved up; a new budget starts with as many.
const SAVED_SECONDS: f64 = 10.0;

/// Ten tenths are a token, though their sum in floating point is a little less.
const WHOLE: f64 = 1.0 - 1e-9;

/// Bounds the retries of many calls together. See [`BudgetConfig`] for its rule.
///
/// Every [`Retry`](crate::Retry) has one of its own, unless `budget = "name"` makes several share one.
///
/// ```
/// let registry = resilient::Registry::new();
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
    denied: AtomicU64,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    /// How many deposits are in `tokens` already.
    counted: u64,
    /// How many deposits there were when it was new.
    first: u64,
    /// Up to when the reserve is in `tokens` already.
    filled: Instant,
}

impl Bucket {
    fn new(config: &BudgetConfig, now: Instant, counted: u64) -> Self {
        Self { tokens: config.reserve * SAVED_SECONDS, counted, first: counted, filled: now }
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
    /// use resilient::{Component, Registry};
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
    /// use resilient::{Component, Registry, clock::ManualClock};
    ///
    /// let backend = Registry::with_clock(ManualClock::new().clock()).retry_budget("backend");
    /// while backend.try_withdraw() {}
    /// assert!(backend.tokens() < 1.0);
    /// assert_eq!(backend.stats().denied, 1);
    /// ```
    pub fn try_withdraw(&self) -> bool {
        let config = self.core.config();
        let granted = {
            let mut bucket = self.bucket.lock();
            bucket.fill(&config, self.core.clock().now(), self.deposits.sum(0));
            let granted = bucket.tokens >= WHOLE;
            if granted {
                bucket.tokens = (bucket.tokens - 1.0).max(0.0);
            }
            granted
        };
        let counter = if granted { &self.withdrawn } else { &self.denied };
        counter.fetch_add(1, Ordering::Relaxed);
        granted
    }

    /// The tokens in the bucket now.
    ///
    /// ```
    /// use resilient::{Registry, clock::ManualClock};
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
        bucket.tokens
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
            denied: self.denied.load(Ordering::Relaxed),
        }
    }

    fn reset(&self) {
        self.begin_anew();
        self.core.publish(Self::KIND, Happening::Reset);
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
/// use resilient::{Component, Registry};
///
/// let backend = Registry::new().retry_budget("backend");
/// assert!(backend.try_withdraw());
/// let stats = backend.stats();
/// assert_eq!((stats.withdrawn, stats.denied), (1, 0));
/// assert!(stats.tokens <= stats.capacity);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetStats {
    /// Tokens in the bucket.
    pub tokens: f64,
    /// Tokens it can hold.
    pub capacity: f64,
    /// Calls that have deposited.
    pub calls: u64,
    /// Retries paid for.
    pub withdrawn: u64,
    /// Retries refused.
    pub denied: u64,
}
