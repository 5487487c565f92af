//! The settings of a timeout and their defaults.

use std::time::Duration;

use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Timeout`](crate::Timeout).
    ///
    /// The defaults are 3 s to connect, 30 s to read and 60 s for the whole call.
    ///
    /// A timeout always has a total unless it is removed: `timeout(attempt = "5s")` also limits the call, with all its
    /// attempts and pauses, to 60 s. To remove the total, write `total = none` in the attribute, `total = "none"` in a
    /// file, or `None` here. A call without a timeout has no limit except an inherited deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{settings::Settings, timeout::Config};
    ///
    /// let config = Config::default().total(Duration::from_secs(10)).attempt(Duration::from_secs(2));
    /// assert!(config.validate().is_ok());
    /// assert!(config.attempt(Duration::from_secs(11)).validate().is_err(), "longer than the total");
    /// ```
    pub struct Config: timeout, check {
        total: Option<Duration>,
        attempt: Option<Duration>,
        connect: Option<Duration>,
        read: Option<Duration>,
        adaptive: bool,
        percentile: f64,
        factor: f64,
        min: Duration,
        max: Duration,
        window: Option<Duration>,
        min_samples: u32,
        enabled: bool,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        let usual = Self::default();
        let parts = [
            ("attempt", self.attempt, usual.attempt),
            ("connect", self.connect, usual.connect),
            ("read", self.read, usual.read),
        ];
        for (field, limit, usual) in parts {
            // A default is not an error, because the time left of the total limits it anyway.
            if let (Some(total), Some(part), true) = (self.total, limit, limit != usual) {
                let allowed =
                    format!("must be at most total = {total:?}, because a longer timeout can never expire");
                error.require(part <= total, field, part, allowed);
            }
        }
        self.check_adaptive(error);
    }

    fn check_adaptive(&self, error: &mut ConfigError) {
        if self.min > self.max {
            error.require(false, "min", self.min, format!("must be at most max = {:?}", self.max));
        }
        if self.adaptive {
            self.check_together(error);
        }
    }

    fn check_together(&self, error: &mut ConfigError) {
        if let Some(window) = self.window.filter(|window| *window < self.max.saturating_mul(2)) {
            let allowed = format!("must be at least twice max = {:?}", self.max);
            error.require(false, "window", window, allowed);
        }
        if let Some(total) = self.total.filter(|total| *total < self.min) {
            error.require(
                false,
                "min",
                self.min,
                format!("must be at most total = {total:?}, because a longer timeout can never expire"),
            );
        }
        if let Some(attempt) = self.attempt.filter(|attempt| *attempt < self.min || *attempt > self.max) {
            let allowed = format!(
                "must be from min = {:?} to max = {:?}, because it is the initial value of the adaptive timeout",
                self.min, self.max
            );
            error.require(false, "attempt", attempt, allowed);
        }
    }

    /// Returns the effective settings. A disabled timeout has no limits.
    pub(super) fn in_force(&self) -> std::borrow::Cow<'_, Self> {
        if self.enabled {
            return std::borrow::Cow::Borrowed(self);
        }
        let off = self.clone().total(None).attempt(None).connect(None).read(None);
        std::borrow::Cow::Owned(off.adaptive(false))
    }

    /// The rolling window of recorded attempts.
    pub(super) fn rolling_window(&self) -> Duration {
        self.window.unwrap_or_else(|| Duration::from_mins(1).max(self.max.saturating_mul(2)))
    }

    /// Number of recorded attempts from which the percentile is used.
    pub(super) fn least_samples(&self) -> u64 {
        // A high percentile needs more attempts: p99.9 needs a thousand.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 2 to 1000
        let needed = (100.0 / (100.0 - self.percentile)).round() as u64;
        needed.max(u64::from(self.min_samples))
    }
}
