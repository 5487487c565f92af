//! Settings of a rate limiter and their defaults.

use std::sync::Arc;
use std::time::Duration;

use super::rate::Rate;
use crate::settings::{ConfigError, settings, words};

/// The algorithm that counts calls.
///
/// The [module](super) documentation compares them.
///
/// ```
/// # use resilient_runtime::{Component, Registry, clock::ManualClock, rate_limit::{Algorithm, Config, Rate}};
/// # let quota = Registry::with_clock(ManualClock::new().clock()).rate_limiter("quota");
/// let rate = Config::default().rate("3/min".parse::<Rate>().unwrap());
/// quota.reconfigure(rate.algorithm(Algorithm::SlidingLog)).unwrap();
/// assert_eq!((0..9).filter(|_| quota.check().allowed).count(), 3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Algorithm {
    /// Admits a burst at once, then one call per interval.
    #[default]
    TokenBucket,
    /// Admits at most the rate in any window. Counts in tenths of the window.
    SlidingWindow,
    /// Admits exactly the rate in any window. Stores each call.
    ///
    /// The rate can have at most 10 000 calls.
    SlidingLog,
    /// Admits one call per interval. A call that comes too early waits.
    LeakyBucket,
}

words! {
    Algorithm {
        "token_bucket" = TokenBucket,
        "sliding_window" = SlidingWindow,
        "sliding_log" = SlidingLog,
        "leaky_bucket" = LeakyBucket,
    }
}

/// How a shared limit decides.
///
/// ```
/// use resilient_runtime::rate_limit::{Config, Mode};
///
/// assert_eq!(Config::default().mode, None, "`lease` for fast rates, otherwise `exact`");
/// assert_eq!(Config::default().mode(Mode::Observe).mode, Some(Mode::Observe));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Mode {
    /// Asks the store for each call.
    #[default]
    Exact,
    /// Takes tokens from the store in advance. Calls with a key ask the store for each call. Not for `leaky_bucket`.
    Lease,
    /// Asks the store in the background and rejects no call.
    Observe,
}

/// Handling of a call if the store of a shared limit fails.
///
/// ```
/// use resilient_runtime::rate_limit::{Config, OnStoreFailure};
///
/// assert_eq!(Config::default().on_store_failure, OnStoreFailure::Local);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// A limiter in this process decides, with the rate divided by the number of instances.
    #[default]
    Local,
    /// The call is admitted.
    Open,
    /// The call is rejected.
    Closed,
}

words!(Mode { "exact" = Exact, "lease" = Lease, "observe" = Observe });
words!(OnStoreFailure { "local" = Local, "open" = Open, "closed" = Closed });

settings! {
    /// Settings of a [`RateLimiter`](crate::RateLimiter).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{rate_limit::{Config, Rate}, settings::Settings};
    ///
    /// let config = Config::default().rate("100/s".parse::<Rate>().unwrap()).burst(20);
    /// assert!(config.max_wait(Duration::from_millis(50)).validate().is_ok());
    /// ```
    pub struct Config: rate_limit, check {
        rate: Option<Rate>,
        burst: Option<u32>,
        algorithm: Algorithm,
        max_wait: Option<Duration>,
        max_queue: u32,
        max_keys: u32,
        store: Option<Arc<str>>,
        mode: Option<Mode>,
        on_store_failure: OnStoreFailure,
        enabled: bool,
    }
}

/// 100 years in nanoseconds, so that the sum of a time and a burst fits into 64 bits.
const LONGEST_REFILL: u128 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// Nanoseconds per call at 200 calls per second. Faster limits are leased by default.
const FAST: u64 = 5_000_000;

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        let bursts = self.burst.is_none() || self.algorithm == Algorithm::TokenBucket;
        error.require(bursts, "burst", self.burst, "it has an effect only with `token_bucket`");
        let refill = u128::from(self.limit()) * u128::from(self.rate.map_or(0, Rate::interval));
        let allowed = "it would take more than 100 years to refill at this rate";
        error.require(refill <= LONGEST_REFILL, "burst", self.burst, allowed);
        let waits = self.max_wait.is_some() || self.algorithm != Algorithm::LeakyBucket;
        let allowed = "a `leaky_bucket` delays calls, so it needs `max_wait`, such as 1s";
        error.require(waits, "max_wait", self.max_wait, allowed);
        let logged =
            self.algorithm != Algorithm::SlidingLog || self.rate.is_none_or(|rate| rate.count() <= 10_000);
        let allowed = "a `sliding_log` stores each call, at most 10000 of them; reduce the rate, or use `sliding_window`";
        error.require(logged, "rate", self.rate, allowed);
        self.check_store(error);
    }

    fn check_store(&self, error: &mut ConfigError) {
        if self.store.is_some() {
            let shared = self.algorithm != Algorithm::SlidingLog;
            let allowed = "a `sliding_log` cannot be shared by a `store`; use `sliding_window`";
            error.require(shared, "algorithm", self.algorithm, allowed);
            let schedules = self.algorithm == Algorithm::LeakyBucket && self.mode == Some(Mode::Lease);
            let allowed = "a `leaky_bucket` schedules each call, so it cannot be leased; use `exact`";
            error.require(!schedules, "mode", self.mode, allowed);
            return;
        }
        let allowed = "it has an effect only with `store`";
        error.require(self.mode.is_none(), "mode", self.mode, allowed);
        let is_default = self.on_store_failure == OnStoreFailure::default();
        error.require(is_default, "on_store_failure", self.on_store_failure, allowed);
    }

    /// How a shared limit with these settings decides.
    pub(super) fn shared_mode(&self) -> Mode {
        let is_fast = self.rate.is_some_and(|rate| rate.interval() < FAST);
        let is_fast = is_fast && self.algorithm != Algorithm::LeakyBucket;
        self.mode.unwrap_or(if is_fast { Mode::Lease } else { Mode::Exact })
    }

    /// Maximum number of calls at once, or in a window.
    pub(super) fn limit(&self) -> u32 {
        match (self.algorithm, self.rate) {
            (Algorithm::LeakyBucket, _) => 1,
            (Algorithm::TokenBucket, Some(rate)) => self.burst.unwrap_or(rate.count()),
            (_, Some(rate)) => rate.count(),
            (_, None) => u32::MAX,
        }
    }
}
