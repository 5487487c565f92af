//! The settings of a coalescer and their defaults.

use std::time::Duration;

use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Coalesce`](crate::Coalesce).
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, coalesce::Config};
    ///
    /// let rates = Registry::new().coalesce("rates");
    /// rates.reconfigure(Config::default().share_errors(false)).unwrap();
    /// assert!(!rates.config().share_errors);
    /// ```
    pub struct Config {
        /// Whether those who wait get the leader's failure. Else the next of them makes a call of its own.
        pub share_errors: bool = true,
        /// How long a call waits for another's answer; more than 0, at most 24 h. None: until its own deadline, or 60 s
        /// where it has none.
        pub max_wait: Option<Duration> = None,
        /// Keys in flight at once; calls with further keys are made without looking for others; 1 to 1 000 000.
        pub max_flights: u32 = 10_000,
        /// Whether calls share at all.
        pub enabled: bool = true,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        let wait = self.max_wait.is_none_or(|span| !span.is_zero() && span <= DAY);
        error.require(wait, "max_wait", self.max_wait, "more than 0, at most 24 h");
        let flights = (1..=1_000_000).contains(&self.max_flights);
        error.require(flights, "max_flights", self.max_flights, "1 to 1000000 keys");
    }
}
