//! The settings of a health check and their defaults.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::settings::{ConfigError, settings, words};

/// The meaning of a failing check for the process.
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
#[non_exhaustive]
pub enum CheckKind {
    /// The process is still starting. No other check is probed until all startup checks have passed once. After
    /// that they are not probed again.
    Startup,
    /// The process is broken and must be restarted. Use it only for faults that a restart fixes, never for the
    /// state of dependencies.
    Liveness,
    /// The process should receive no calls for now.
    #[default]
    Readiness,
    /// A sample of the real work, such as a query. Probed only on request, for operators and slow monitors.
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
    /// Returns the name used in settings and JSON.
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
    /// let config = Config::default().failures(2).cache(Duration::from_secs(5));
    /// assert!(config.validate().is_ok());
    /// assert!(config.failures(0).validate().is_err());
    /// ```
    pub struct Config: health, check {
        kind: CheckKind,
        timeout: Duration,
        cache: Duration,
        interval: Duration,
        failures: u32,
        successes: u32,
        max_response: Option<Duration>,
        degrades_only: bool,
        group: Option<Arc<str>>,
    }
}

impl Config {
    /// Returns the age from which a result is outdated: several missed intervals, or longer than `cache`.
    pub(super) fn oldest(&self) -> Duration {
        self.interval.saturating_mul(3).saturating_add(self.timeout).max(self.cache)
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        let response = self.max_response.is_none_or(|span| span <= self.timeout);
        let allowed = format!("must be more than 0, at most timeout = {:?}", self.timeout);
        error.require(response, "max_response", self.max_response, allowed);
    }
}
