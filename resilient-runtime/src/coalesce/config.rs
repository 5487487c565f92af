//! Settings of coalescing and their defaults.

use std::time::Duration;

use crate::settings::settings;

settings! {
    /// Settings of a [`Coalesce`](crate::Coalesce).
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, coalesce::Config};
    ///
    /// let rates = Registry::new().coalesce("rates");
    /// rates.reconfigure(Config::default().share_errors(false)).unwrap();
    /// assert!(!rates.config().share_errors);
    /// ```
    pub struct Config: coalesce {
        share_errors: bool,
        max_wait: Option<Duration>,
        max_flights: u32,
        enabled: bool,
    }
}
