//! The settings of a hedge and their defaults.

use std::time::Duration;

use crate::budget;
use crate::ratio::Ratio;
use crate::settings::settings;

settings! {
    /// The settings of a [`Hedge`](crate::Hedge).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{hedge::Config, settings::Settings};
    ///
    /// let config = Config::default().after(Duration::from_millis(30)).max(2);
    /// assert!(config.validate().is_ok());
    /// assert!(config.percentile(101.0).validate().is_err());
    /// ```
    pub struct Config: hedge {
        after: Option<Duration>,
        percentile: f64,
        min_delay: Duration,
        max: u32,
        budget_ratio: Ratio,
        budget_reserve: f64,
        enabled: bool,
    }
}

impl Config {
    /// Returns `own` with the budget settings of the hedge.
    pub(super) fn budget_config(&self, own: budget::Config) -> budget::Config {
        own.ratio(self.budget_ratio).reserve(self.budget_reserve)
    }
}
