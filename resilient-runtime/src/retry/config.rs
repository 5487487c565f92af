//! The settings of a retry and their defaults.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::budget::BudgetConfig;
use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Retry`](crate::Retry).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient::{retry::{Backoff, Config}, settings::Settings};
    ///
    /// let config = Config::default().max(5u32).backoff(Backoff::Fibonacci).base(Duration::from_millis(20));
    /// assert!(config.validate().is_ok());
    /// assert!(config.factor(0.5).validate().is_err());
    /// ```
    pub struct Config {
        /// Retries after the first attempt: 3 makes four attempts in all; 0 to 1000.
        pub max: u32 = 3,
        /// How the delay grows.
        pub backoff: Backoff = Backoff::Exponential,
        /// The delay before the first retry, before jitter; 0 to 24 h.
        pub base: Duration = Duration::from_millis(100),
        /// What an exponential delay grows by; 1 to 100.
        pub factor: f64 = 2.0,
        /// The longest delay; 0 to 24 h.
        pub max_delay: Duration = Duration::from_secs(5),
        /// How far a delay is spread to both sides, as a share of it; 0 to 1.
        pub jitter: Ratio = Ratio::HALF,
        /// No attempt begins later than this after the call began, however long the call waits in the queue of a bulkhead or
        /// rate limit.
        pub max_elapsed: Option<Duration> = None,
        /// A server's wish to wait longer than this ends the call instead; 0 to 24 h.
        pub max_retry_after: Duration = Duration::from_mins(1),
        /// The shared budget to draw on. It is chosen when the retry is made and stays.
        pub budget: Option<Arc<str>> = None,
        /// The share of a token that each call deposits in the retry's own budget; 0 to 1.
        pub budget_ratio: Ratio = BudgetConfig::default().ratio,
        /// The tokens that each second deposits in the retry's own budget; 0 to 1 000 000.
        pub budget_reserve: f64 = BudgetConfig::default().reserve,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        error.require(self.max <= 1000, "max", self.max, "0 to 1000 retries");
        error.require(self.base <= DAY, "base", self.base, "0 to 24 h");
        let factor = (1.0..=100.0).contains(&self.factor);
        error.require(factor, "factor", self.factor, "1 to 100");
        error.require(self.max_delay <= DAY, "max_delay", self.max_delay, "0 to 24 h");
        let elapsed = self.max_elapsed.is_none_or(|span| !span.is_zero());
        error.require(elapsed, "max_elapsed", self.max_elapsed, "more than 0, or no retry could begin");
        let hint = self.max_retry_after <= DAY;
        error.require(hint, "max_retry_after", self.max_retry_after, "0 to 24 h");
        let reserve = (0.0..=1e6).contains(&self.budget_reserve);
        error.require(reserve, "budget_reserve", self.budget_reserve, "tokens per second, from 0 to 1000000");
    }

    /// `own`, with what is said here.
    pub(super) fn budget_config(&self, own: BudgetConfig) -> BudgetConfig {
        own.ratio(self.budget_ratio).reserve(self.budget_reserve)
    }
}
