//! The settings in the form that a check uses.

use std::time::Duration;

use super::config::{Algorithm, Config};
use crate::clock::nanos;
use crate::store::rate::{RateAlgorithm, RateRule};
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// One reading of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) algorithm: Algorithm,
    /// Nanoseconds per call. 0 if nothing is limited.
    pub(super) interval: u64,
    /// Maximum number of calls at once, or in a window.
    pub(super) burst: u32,
    /// Length of the window in nanoseconds.
    pub(super) window: u64,
}

/// The parameters of a bucket: nanoseconds per call and per full burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) interval: u64,
    pub(super) burst: u64,
}

impl Rule {
    pub(super) fn of(config: &Config) -> Self {
        let rate = config.rate.filter(|_| config.enabled);
        Self {
            algorithm: config.algorithm,
            interval: rate.map_or(0, super::Rate::interval),
            burst: if rate.is_some() { config.limit() } else { u32::MAX },
            window: rate.map_or(0, |rate| crate::clock::nanos(rate.per())),
        }
    }

    pub(super) fn is_bucket(self) -> bool {
        matches!(self.algorithm, Algorithm::TokenBucket | Algorithm::LeakyBucket)
    }

    pub(super) fn pace(self) -> Pace {
        Pace { interval: self.interval, burst: self.cost(self.burst) }
    }

    pub(super) fn is_unlimited(self) -> bool {
        self.interval == 0
    }

    /// Returns the nanoseconds for a call of this weight.
    pub(super) fn cost(self, weight: u32) -> u64 {
        self.interval.saturating_mul(u64::from(weight))
    }
}

impl RateRule {
    /// Returns the rule of these settings, or `None` if they limit nothing.
    ///
    /// ```
    /// use resilient_runtime::rate_limit::{Config, RateRule};
    ///
    /// assert_eq!(RateRule::of(&Config::default().rate("9/s".parse::<resilient_runtime::rate_limit::Rate>().unwrap()).enabled(false)), None);
    /// ```
    pub fn of(config: &Config) -> Option<Self> {
        let rule = Rule::of(config);
        (!rule.is_unlimited()).then(|| Self::from_rule(rule))
    }

    pub(super) fn from_rule(rule: Rule) -> Self {
        Self {
            algorithm: if rule.is_bucket() { RateAlgorithm::Bucket } else { RateAlgorithm::Window },
            interval: Duration::from_nanos(rule.interval),
            burst: rule.burst,
            window: Duration::from_nanos(rule.window),
        }
    }

    pub(super) fn rule(&self) -> Rule {
        Rule {
            algorithm: match self.algorithm {
                RateAlgorithm::Bucket => Algorithm::TokenBucket,
                RateAlgorithm::Window => Algorithm::SlidingWindow,
            },
            interval: nanos(self.interval),
            burst: self.burst,
            window: nanos(self.window),
        }
    }
}

/// The current rule. All accesses are relaxed: a call during a change can read parts of both rules once.
#[derive(Debug)]
pub(super) struct SharedRule {
    algorithm: AtomicU8,
    interval: AtomicU64,
    burst: AtomicU32,
    window: AtomicU64,
    /// Nanoseconds of a burst, so that a call does not have to multiply. 0 if the algorithm is not a bucket, or the limit is shared.
    of_burst: AtomicU64,
}

impl SharedRule {
    pub(super) fn new(rule: Rule) -> Self {
        let shared = Self {
            algorithm: AtomicU8::new(0),
            interval: AtomicU64::new(0),
            burst: AtomicU32::new(0),
            window: AtomicU64::new(0),
            of_burst: AtomicU64::new(0),
        };
        shared.set(rule, false);
        shared
    }

    /// With `is_slow`, every call takes the slow path, where the store is.
    pub(super) fn set(&self, rule: Rule, is_slow: bool) {
        self.algorithm.store(rule.algorithm as u8, Ordering::Relaxed);
        self.interval.store(rule.interval, Ordering::Relaxed);
        self.burst.store(rule.burst, Ordering::Relaxed);
        self.window.store(rule.window, Ordering::Relaxed);
        let of_burst = if rule.is_bucket() && !is_slow { rule.pace().burst } else { 0 };
        self.of_burst.store(of_burst, Ordering::Relaxed);
    }

    /// Returns the pace if the algorithm is a bucket.
    #[inline]
    pub(super) fn pace(&self) -> Option<Pace> {
        let burst = self.of_burst.load(Ordering::Relaxed);
        (burst > 0).then(|| Pace { interval: self.interval.load(Ordering::Relaxed), burst })
    }

    #[inline]
    pub(super) fn get(&self) -> Rule {
        let algorithm = match self.algorithm.load(Ordering::Relaxed) {
            1 => Algorithm::SlidingWindow,
            2 => Algorithm::SlidingLog,
            3 => Algorithm::LeakyBucket,
            _ => Algorithm::TokenBucket,
        };
        Rule {
            algorithm,
            interval: self.interval.load(Ordering::Relaxed),
            burst: self.burst.load(Ordering::Relaxed),
            window: self.window.load(Ordering::Relaxed),
        }
    }
}
