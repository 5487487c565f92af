//! The settings of a retry budget and their defaults.

use super::bucket::SAVED_SECONDS;
use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`RetryBudget`](crate::RetryBudget).
    ///
    /// ```
    /// use resilient_runtime::{Component, Ratio, Registry, budget::Config};
    ///
    /// let backend = Registry::new().retry_budget("backend");
    /// backend.reconfigure(Config::default().ratio(Ratio::percent(5.0).unwrap())).unwrap();
    /// assert_eq!(backend.config().ratio, Ratio::new(0.05).unwrap());
    /// ```
    pub struct Config {
        /// Tokens that each call deposits, as a share of one; 0 to 1.
        pub ratio: Ratio = Ratio::percent(10.0).unwrap_or(Ratio::ZERO),
        /// Tokens that each second deposits; 0 to 1 000 000. 0: no retry is made without a token, `free` has no effect.
        pub reserve: f64 = 3.0,
        /// Tokens that can be saved up beyond ten seconds of reserve; 0 to 1 000 000.
        pub burst: u32 = 100,
        /// How many retries in ten seconds few calls may make without a token: the n-th retry of a call needs none as long
        /// as n times the calls of the last ten seconds is at most this; 0 to 1 000 000. 0: each retry needs a token.
        pub free: u32 = 1000,
        /// Whether retries need a token at all.
        pub enabled: bool = true,
    }
}

/// The most retries that may be free of a token.
pub(crate) const MOST_FREE: u32 = 1_000_000;

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        let reserve = (0.0..=1e6).contains(&self.reserve);
        error.require(reserve, "reserve", self.reserve, "tokens per second, from 0 to 1000000");
        error.require(self.burst <= 1_000_000, "burst", self.burst, "0 to 1000000 tokens");
        error.require(self.free <= MOST_FREE, "free", self.free, "0 to 1000000 retries");
    }

    pub(super) fn capacity(&self) -> f64 {
        self.reserve * SAVED_SECONDS + f64::from(self.burst)
    }
}
