//! The settings of a timeout and their defaults.

use std::time::Duration;

use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Timeout`](crate::Timeout).
    pub struct Config {
        /// The time of a whole call with all its attempts and waiting; up to 24 h. None: no limit of its own.
        pub total: Option<Duration> = None,
        /// The time of one attempt; at most `total`. None: no limit of its own.
        pub attempt: Option<Duration> = None,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        let allowed = "more than 0, at most 24 h";
        let possible = |span: Duration| !span.is_zero() && span <= DAY;
        error.require(self.total.is_none_or(possible), "total", self.total, allowed);
        error.require(self.attempt.is_none_or(possible), "attempt", self.attempt, allowed);
        if let (Some(total), Some(attempt)) = (self.total, self.attempt) {
            let allowed = format!("at most total = {total:?}, or it could never fire");
            error.require(attempt <= total, "attempt", attempt, allowed);
        }
    }
}
