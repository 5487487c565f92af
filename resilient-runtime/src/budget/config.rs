//! The settings of a retry budget and their defaults.

use super::bucket::SAVED_SECONDS;
use crate::ratio::Ratio;
use crate::settings::settings;

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
    pub struct Config: retry_budget {
        ratio: Ratio,
        reserve: f64,
        burst: u32,
        free: u32,
        enabled: bool,
    }
}

impl Config {
    pub(super) fn capacity(&self) -> f64 {
        self.reserve * SAVED_SECONDS + f64::from(self.burst)
    }
}
