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
    /// let config = Config::default().max(5).backoff(Backoff::Fibonacci).base(Duration::from_millis(20));
    /// assert!(config.validate().is_ok());
    /// assert!(config.factor(0.5).validate().is_err());
    /// ```
    pub struct Config: retry, check {
        max: u32,
        backoff: Backoff,
        base: Duration,
        factor: f64,
        max_delay: Option<Duration>,
        jitter: Ratio,
        max_elapsed: Option<Duration>,
        max_retry_after: Duration,
        budget: Option<Arc<str>>,
        budget_ratio: Ratio,
        budget_reserve: f64,
        budget_free: u32,
        enabled: bool,
    }
}

const DAY: Duration = Duration::from_hours(24);
/// The value of `budget` that disables the budget.
const OFF: &str = "off";

impl Config {
    fn check(&self, error: &mut ConfigError) {
        if let Some(longest) = self.max_delay {
            // The default base is not an error, because it is limited to `max_delay`.
            let allowed = format!("must be at least base = {:?}, the first delay", self.base);
            let fits = longest >= self.base || self.base == Self::default().base;
            error.require(fits, "max_delay", longest, allowed);
        }
        let first = self.shortest_first_delay();
        if let Some(span) = self.max_elapsed.filter(|span| !span.is_zero() && *span <= first && self.max > 0)
        {
            let allowed = format!(
                "must be more than {first:?}, the shortest delay before the first retry; otherwise no retry is made"
            );
            error.require(false, "max_elapsed", span, allowed);
        }
    }

    /// Returns the maximum delay.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::retry::Config;
    ///
    /// assert_eq!(Config::default().longest_delay(), Duration::from_secs(5));
    /// let slow = Config::default().base(Duration::from_secs(30));
    /// assert_eq!(slow.longest_delay(), Duration::from_secs(30), "at least the first delay");
    /// ```
    pub fn longest_delay(&self) -> Duration {
        self.max_delay.unwrap_or_else(|| self.base.max(Duration::from_secs(5)))
    }

    /// The minimum of the first delay after jitter.
    pub(crate) fn shortest_first_delay(&self) -> Duration {
        // Values out of range were rejected before, but must not overflow here.
        let base = self.base.min(self.longest_delay()).min(DAY);
        match self.backoff {
            Backoff::Decorrelated => base,
            _ => base.mul_f64((1.0 - self.jitter.get()).max(0.0)),
        }
    }

    /// Whether the budget is off.
    pub(super) fn is_unbudgeted(&self) -> bool {
        self.budget.as_deref() == Some(OFF)
    }

    /// Returns the name of the shared budget, if there is one.
    pub(crate) fn shared_budget(&self) -> Option<&Arc<str>> {
        self.budget.as_ref().filter(|name| &***name != OFF)
    }

    /// Applies the budget settings of this config to `own`.
    pub(super) fn budget_config(&self, own: budget::Config) -> budget::Config {
        own.ratio(self.budget_ratio).reserve(self.budget_reserve).free(self.budget_free)
    }
}
