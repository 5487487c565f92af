//! The settings of a rate limiter and their defaults.

use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`RateLimiter`](crate::RateLimiter).
    pub struct Config {}
}

impl Config {
    #[allow(clippy::unused_self)] // the form that every config has
    pub(super) fn check(&self, _: &mut ConfigError) {}
}
