//! The settings of a retry and their defaults.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use crate::budget;
use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Retry`](crate::Retry).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{retry::{Backoff, Config}, settings::Settings};
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
        /// The longest delay; `base` to 24 h. None: 5 s, or `base` if that is longer.
        pub max_delay: Option<Duration> = None,
        /// How far a delay is spread to both sides, as a share of it; 0 to 1.
        pub jitter: Ratio = Ratio::HALF,
        /// No attempt begins later than this after the call began, however long the call waits in the queue of a bulkhead or
        /// rate limit.
        pub max_elapsed: Option<Duration> = None,
        /// A server's wish to wait longer than this ends the call instead; 0 to 24 h.
        pub max_retry_after: Duration = Duration::from_mins(1),
        /// The shared budget to draw on; it is chosen when the retry is made and stays. `off`: retries need no budget.
        /// None: a budget of its own.
        pub budget: Option<Arc<str>> = None,
        /// The share of a token that each call deposits in the retry's own budget; 0 to 1.
        pub budget_ratio: Ratio = budget::Config::default().ratio,
        /// The tokens that each second deposits in the retry's own budget; 0 to 1 000 000.
        pub budget_reserve: f64 = budget::Config::default().reserve,
        /// How many retries in ten seconds few calls may make without a token, as
        /// `free` of the retry's own budget; 0 to 1 000 000.
        pub budget_free: u32 = budget::Config::default().free,
        /// Whether failed calls are repeated at all.
        pub enabled: bool = true,
    }
}

const DAY: Duration = Duration::from_hours(24);
/// In place of the name of a budget: there is none.
const OFF: &str = "off";

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        error.require(self.max <= 1000, "max", self.max, "0 to 1000 retries");
        error.require(self.base <= DAY, "base", self.base, "0 to 24 h");
        let factor = (1.0..=100.0).contains(&self.factor);
        error.require(factor, "factor", self.factor, "1 to 100");
        self.check_longest(error);
        let elapsed = self.max_elapsed.is_none_or(|span| !span.is_zero());
        error.require(elapsed, "max_elapsed", self.max_elapsed, "more than 0, or no retry could begin");
        let hint = self.max_retry_after <= DAY;
        error.require(hint, "max_retry_after", self.max_retry_after, "0 to 24 h");
        let reserve = (0.0..=1e6).contains(&self.budget_reserve);
        error.require(reserve, "budget_reserve", self.budget_reserve, "tokens per second, from 0 to 1000000");
        let free = self.budget_free <= budget::MOST_FREE;
        error.require(free, "budget_free", self.budget_free, "0 to 1000000 retries");
    }

    fn check_longest(&self, error: &mut ConfigError) {
        if let Some(longest) = self.max_delay {
            error.require(longest <= DAY, "max_delay", longest, "0 to 24 h");
            // The default base is no contradiction: it is cut off.
            let allowed = format!("at least base = {:?}, the first delay", self.base);
            let fits = longest >= self.base || self.base == Self::default().base;
            error.require(fits, "max_delay", longest, allowed);
        }
        let first = self.shortest_first_delay();
        if let Some(span) = self.max_elapsed.filter(|span| !span.is_zero() && *span <= first && self.max > 0)
        {
            let allowed =
                format!("more than {first:?}, the shortest delay before the first retry: else none is made");
            error.require(false, "max_elapsed", span, allowed);
        }
    }

    /// The longest delay.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::retry::Config;
    ///
    /// assert_eq!(Config::default().longest_delay(), Duration::from_secs(5));
    /// let slow = Config::default().base(Duration::from_secs(30));
    /// assert_eq!(slow.longest_delay(), Duration::from_secs(30), "it follows the first delay");
    /// ```
    pub fn longest_delay(&self) -> Duration {
        self.max_delay.unwrap_or_else(|| self.base.max(Duration::from_secs(5)))
    }

    /// The shortest delay that jitter leaves of the first one.
    pub(crate) fn shortest_first_delay(&self) -> Duration {
        // What is out of range has been refused; it must not overflow here.
        let base = self.base.min(self.longest_delay()).min(DAY);
        match self.backoff {
            Backoff::Decorrelated => base,
            _ => base.mul_f64((1.0 - self.jitter.get()).max(0.0)),
        }
    }

    /// Whether retries need no budget.
    pub(super) fn is_unbudgeted(&self) -> bool {
        self.budget.as_deref() == Some(OFF)
    }

    /// The shared budget that is named.
    pub(crate) fn shared_budget(&self) -> Option<&Arc<str>> {
        self.budget.as_ref().filter(|name| &***name != OFF)
    }

    /// `own`, with what is said here.
    pub(super) fn budget_config(&self, own: budget::Config) -> budget::Config {
        own.ratio(self.budget_ratio).reserve(self.budget_reserve).free(self.budget_free)
    }
}
