//! What a check goes by: the settings as numbers.

use super::config::{Algorithm, Config};
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// One reading of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) algorithm: Algorithm,
    /// The nanoseconds of one call; 0 where nothing is limited.
    pub(super) interval: u64,
    /// Calls at once, or in a window.
    pub(super) burst: u32,
    /// The nanoseconds of the window.
    pub(super) window: u64,
}

impl Rule {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            algorithm: config.algorithm,
            interval: config.rate.map_or(0, super::Rate::interval),
            burst: config.limit(),
            window: config.rate.map_or(0, |rate| crate::clock::nanos(rate.per())),
        }
    }

    pub(super) fn is_unlimited(self) -> bool {
        self.interval == 0
    }

    /// The nanoseconds of so many calls.
    pub(super) fn cost(self, weight: u32) -> u64 {
        self.interval.saturating_mul(u64::from(weight))
    }
}

/// The rule in force. Relaxed, all of it: a call that comes while it changes may go by parts of both, once.
#[derive(Debug)]
pub(super) struct SharedRule {
    algorithm: AtomicU8,
    interval: AtomicU64,
    burst: AtomicU32,
    window: AtomicU64,
}

impl SharedRule {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            algorithm: AtomicU8::new(rule.algorithm as u8),
            interval: AtomicU64::new(rule.interval),
            burst: AtomicU32::new(rule.burst),
            window: AtomicU64::new(rule.window),
        }
    }

    pub(super) fn set(&self, rule: Rule) {
        self.algorithm.store(rule.algorithm as u8, Ordering::Relaxed);
        self.interval.store(rule.interval, Ordering::Relaxed);
        self.burst.store(rule.burst, Ordering::Relaxed);
        self.window.store(rule.window, Ordering::Relaxed);
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
