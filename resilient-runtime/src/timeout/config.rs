//! The settings of a timeout and their defaults.

use std::time::Duration;

use super::phases::Phase;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Timeout`](crate::Timeout). The defaults are a hierarchy: 3 s to connect, 30 s to read, 60 s
    /// for the whole call.
    pub struct Config {
        /// The time of a whole call with all its attempts and waiting; up to 24 h. None: no limit of its own.
        pub total: Option<Duration> = Some(Duration::from_mins(1)),
        /// The time of one attempt; at most `total`. None: no limit of its own.
        pub attempt: Option<Duration> = None,
        /// The time of what the body gives to [`deadline::connect`](crate::deadline::connect); up to 24 h. Never more
        /// than is left of the call. None: no limit of its own.
        pub connect: Option<Duration> = Some(Phase::Connect.usual()),
        /// The time of what the body gives to [`deadline::read`](crate::deadline::read); up to 24 h. Never more than is
        /// left of the call. None: no limit of its own.
        pub read: Option<Duration> = Some(Phase::Read.usual()),
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        let allowed = "more than 0, at most 24 h";
        let possible = |span: Duration| !span.is_zero() && span <= DAY;
        let usual = Self::default();
        let parts = [
            ("attempt", self.attempt, usual.attempt),
            ("connect", self.connect, usual.connect),
            ("read", self.read, usual.read),
        ];
        error.require(self.total.is_none_or(possible), "total", self.total, allowed);
        for (field, limit, usual) in parts {
            error.require(limit.is_none_or(possible), field, limit, allowed);
            // A default is no contradiction: what is left of the total bounds it anyway.
            if let (Some(total), Some(part), true) = (self.total, limit, limit != usual) {
                let allowed = format!("at most total = {total:?}, or it could never fire");
                error.require(part <= total, field, part, allowed);
            }
        }
    }
}
