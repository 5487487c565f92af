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
#[non_exhaustive]
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
    /// The age from which on an answer says nothing: a few answers late, or cached for longer than that.
    pub(super) fn oldest(&self) -> Duration {
        self.interval.saturating_mul(3).saturating_add(self.timeout).max(self.cache)
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        let response = self.max_response.is_none_or(|span| span <= self.timeout);
        let allowed = format!("more than 0, at most timeout = {:?}", self.timeout);
        error.require(response, "max_response", self.max_response, allowed);
    }
}
