//! The settings of a timeout and their defaults.

use std::time::Duration;

use super::phases::Phase;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Timeout`](crate::Timeout). The defaults are a hierarchy: 3 s to connect, 30 s to read, 60 s
    /// for the whole call.
    ///
    /// A call has a total where it has a timeout, whatever that sets: `timeout(attempt = "5s")` alone bounds the call with all its
    /// attempts and waiting by 60 s. `total = none`, in the attribute and in a file (`total = "none"`), or `None` here takes
    /// the total away. A call without a timeout has no limit but the deadline of the calls around it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{settings::Settings, timeout::Config};
    ///
    /// let config = Config::default().total(Duration::from_secs(10)).attempt(Duration::from_secs(2));
    /// assert!(config.validate().is_ok());
    /// assert!(config.attempt(Duration::from_secs(11)).validate().is_err(), "longer than the whole");
    /// ```
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
        /// Whether the time of an attempt follows how long attempts take: `percentile` of them times `factor`, from
        /// `min` to `max`. Until enough were seen it is `attempt`, or else `max`.
        pub adaptive: bool = false,
        /// The share of attempts, in per cent, that take no longer; 1 to 99.9.
        pub percentile: f64 = 95.0,
        /// What that is multiplied with; 1 to 100.
        pub factor: f64 = 1.5,
        /// The least time of an attempt; more than 0, at most `max` and `total`.
        pub min: Duration = Duration::from_millis(50),
        /// The most time of an attempt; up to 24 h. `total` ends it earlier.
        pub max: Duration = Duration::from_secs(30),
        /// The time whose attempts are looked at; 1 s to 7 days, and at least twice `max`, or an attempt could be
        /// forgotten before it has ended. None: a minute, or twice `max`.
        pub window: Option<Duration> = None,
        /// Fewer attempts say nothing; 10 to 1 000 000, and never fewer than `percentile` can be told from.
        pub min_samples: u32 = 100,
        /// Whether time is limited at all. A deadline around the call stays in force.
        pub enabled: bool = true,
    }
}

const DAY: Duration = Duration::from_hours(24);

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        self.check_limits(error);
        self.check_adaptive(error);
    }

    fn check_limits(&self, error: &mut ConfigError) {
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
    fn check_adaptive(&self, error: &mut ConfigError) {
        let possible = |span: Duration| !span.is_zero() && span <= DAY;
        let percentile = (1.0..=99.9).contains(&self.percentile);
        error.require(percentile, "percentile", self.percentile, "1 to 99.9 per cent");
        error.require((1.0..=100.0).contains(&self.factor), "factor", self.factor, "1 to 100");
        error.require(possible(self.min), "min", self.min, "more than 0, at most 24 h");
        error.require(possible(self.max), "max", self.max, "more than 0, at most 24 h");
        if self.min > self.max {
            error.require(false, "min", self.min, format!("at most max = {:?}", self.max));
        }
        let week = Duration::from_secs(1)..=7 * DAY;
        error.require(
            self.window.is_none_or(|span| week.contains(&span)),
            "window",
            self.window,
            "1 s to 7 days",
        );
        let samples = (10..=1_000_000).contains(&self.min_samples);
        error.require(samples, "min_samples", self.min_samples, "10 to 1000000 attempts");
        if self.adaptive {
            self.check_together(error);
        }
    }

    fn check_together(&self, error: &mut ConfigError) {
        if let Some(window) = self.window.filter(|window| *window < self.max.saturating_mul(2)) {
            let allowed = format!("at least twice max = {:?}", self.max);
            error.require(false, "window", window, allowed);
        }
        if let Some(total) = self.total.filter(|total| *total < self.min) {
            error.require(
                false,
                "min",
                self.min,
                format!("at most total = {total:?}, or it could never fire"),
            );
        }
        if let Some(attempt) = self.attempt.filter(|attempt| *attempt < self.min || *attempt > self.max) {
            let allowed = format!("from min = {:?} to max = {:?}, with which it begins", self.min, self.max);
            error.require(false, "attempt", attempt, allowed);
        }
    }

    /// What calls go by: no limits where the timeout is switched off.
    pub(super) fn in_force(&self) -> std::borrow::Cow<'_, Self> {
        if self.enabled {
            return std::borrow::Cow::Borrowed(self);
        }
        let off = self.clone().total(None).attempt(None).connect(None).read(None);
        std::borrow::Cow::Owned(off.adaptive(false))
    }

    /// The time whose attempts are looked at.
    pub(super) fn rolling_window(&self) -> Duration {
        self.window.unwrap_or_else(|| Duration::from_mins(1).max(self.max.saturating_mul(2)))
    }

    /// How many attempts there must be.
    pub(super) fn least_samples(&self) -> u64 {
        // Of a hundred attempts none takes as long as only one in a thousand does.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 2 to 1000
        let needed = (100.0 / (100.0 - self.percentile)).round() as u64;
        needed.max(u64::from(self.min_samples))
    }
}
