//! The settings of a hedge and their defaults.

use std::time::Duration;

use crate::budget;
use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Hedge`](crate::Hedge).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{hedge::Config, settings::Settings};
    ///
    /// let config = Config::default().after(Duration::from_millis(30)).max(2u32);
    /// assert!(config.validate().is_ok());
    /// assert!(config.percentile(101.0).validate().is_err());
    /// ```
    pub struct Config {
        /// How long an attempt may take before another is sent; 0 to 24 h. None: as long as `percentile` of them take.
        pub after: Option<Duration> = None,
        /// The share of attempts, in per cent, that is not hedged where `after` is not given; 50 to 99.9.
        pub percentile: f64 = 95.0,
        /// The least delay by percentile; more than 0, at most 24 h.
        pub min_delay: Duration = Duration::from_millis(1),
        /// Attempts sent besides the first; 1 to 10. In a pipeline with a retry: beside the slow attempts of one call, in all
        /// its rounds together.
        pub max: u32 = 1,
        /// The share of a token that each call deposits in the hedge's own budget, used where the pipeline has no
        /// retry; 0 to 1.
        pub budget_ratio: Ratio = budget::Config::default().ratio,
        /// The tokens that each second deposits in it; 0 to 1 000 000.
        pub budget_reserve: f64 = budget::Config::default().reserve,
        /// Whether other attempts are sent at all.
        pub enabled: bool = true,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        error.require(self.after.is_none_or(|span| span <= DAY), "after", self.after, "0 to 24 h");
        let percentile = (50.0..=99.9).contains(&self.percentile);
        error.require(percentile, "percentile", self.percentile, "50 to 99.9 per cent");
        let least = !self.min_delay.is_zero() && self.min_delay <= DAY;
        error.require(least, "min_delay", self.min_delay, "more than 0, at most 24 h");
        error.require((1..=10).contains(&self.max), "max", self.max, "1 to 10 attempts besides the first");
        let reserve = (0.0..=1e6).contains(&self.budget_reserve);
        error.require(reserve, "budget_reserve", self.budget_reserve, "tokens per second, from 0 to 1000000");
    }

    /// `own`, with what is said here.
    pub(super) fn budget_config(&self, own: budget::Config) -> budget::Config {
        own.ratio(self.budget_ratio).reserve(self.budget_reserve)
    }
}
