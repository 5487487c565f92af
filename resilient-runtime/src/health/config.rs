//! The settings of a health check and their defaults.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::settings::{ConfigError, settings, words};

/// What a failing check means.
///
/// ```
/// use resilient_runtime::{Component, Registry, health::{CheckKind, Config}};
///
/// let migrations = Registry::new().health("migrations");
/// migrations.reconfigure(Config::default().kind(CheckKind::Startup)).unwrap();
/// assert_eq!(migrations.stats().kind, CheckKind::Startup);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum CheckKind {
    /// The process is still starting: nothing else is asked before these have passed once. Then they are not asked again.
    Startup,
    /// The process is beyond help: start it anew. Only for what a restart mends; never for what others owe us.
    Liveness,
    /// Calls should go elsewhere for a while.
    #[default]
    Readiness,
    /// A sample of the real work, such as a query: asked for by people and slow monitors only.
    Deep,
}

words! {
    CheckKind {
        "startup" = Startup,
        "liveness" = Liveness,
        "readiness" = Readiness,
        "deep" = Deep,
    }
}

impl CheckKind {
    /// The name in settings and in JSON.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::health::CheckKind::Liveness.as_str(), "liveness");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Deep => "deep",
        }
    }
}

settings! {
    /// The settings of a [`HealthCheck`](crate::HealthCheck).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{health::Config, settings::Settings};
    ///
    /// let config = Config::default().failures(2u32).cache(Duration::from_secs(5));
    /// assert!(config.validate().is_ok());
    /// assert!(config.failures(0u32).validate().is_err());
    /// ```
    pub struct Config {
        /// What it means when it fails.
        pub kind: CheckKind = CheckKind::Readiness,
        /// How long the probe may take; more than 0, at most 1 h. By default less than the second that those who ask wait, as
        /// kubelet does.
        pub timeout: Duration = Duration::from_millis(800),
        /// How long an answer is good for, so that many who ask cost one probe; 0 to 1 h.
        pub cache: Duration = Duration::from_secs(1),
        /// How often [`Registry::watch_health`](crate::Registry::watch_health) probes it; 1 s to 1 h. An answer older than
        /// three times this is [`Unknown`](crate::health::Status::Unknown).
        pub interval: Duration = Duration::from_secs(10),
        /// Failures in a row before the check counts as failed; 1 to 1000.
        pub failures: u32 = 3,
        /// Successes in a row before it counts as passed again; 1 to 1000.
        pub successes: u32 = 1,
        /// How long a probe may take to count as a success; more than 0, at most `timeout`. None: as long as `timeout`.
        pub max_response: Option<Duration> = None,
        /// Whether its failure degrades the whole only, and does not end it.
        pub degrades_only: bool = false,
        /// The group it can be asked for with. None: it is in none.
        pub group: Option<Arc<str>> = None,
    }
}

impl Config {
    /// The age from which on an answer says nothing: a few answers late, or cached for longer than that.
    pub(super) fn oldest(&self) -> Duration {
        self.interval.saturating_mul(3).saturating_add(self.timeout).max(self.cache)
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        const HOUR: Duration = Duration::from_hours(1);
        const SHORTEST: Duration = Duration::from_secs(1);
        const RANGE: &str = "1 to 1000 in a row";
        let timeout = !self.timeout.is_zero() && self.timeout <= HOUR;
        error.require(timeout, "timeout", self.timeout, "more than 0, at most 1 h");
        error.require(self.cache <= HOUR, "cache", self.cache, "0 to 1 h");
        let interval = (SHORTEST..=HOUR).contains(&self.interval);
        error.require(interval, "interval", self.interval, "1 s to 1 h");
        error.require((1..=1000).contains(&self.failures), "failures", self.failures, RANGE);
        error.require((1..=1000).contains(&self.successes), "successes", self.successes, RANGE);
        let response = self.max_response.is_none_or(|span| !span.is_zero() && span <= self.timeout);
        let allowed = format!("more than 0, at most timeout = {:?}", self.timeout);
        error.require(response, "max_response", self.max_response, allowed);
    }
}
