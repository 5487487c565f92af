//! What a health check knows.

use std::time::Duration;

use serde::Serialize;

use super::CheckKind;
use crate::observe::optional_seconds;

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is.
    Pass,
    /// Calls are served, some of them worse than they should be.
    Warn,
    /// It is not.
    Fail,
}

impl Status {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// A snapshot of a [`HealthCheck`](crate::HealthCheck).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// What it means when it fails.
    pub kind: CheckKind,
    /// How it stands, after three failures in a row or one success.
    pub status: Status,
    /// Probes made.
    pub probes: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// How long the last probe took, in seconds when serialised.
    #[serde(serialize_with = "optional_seconds")]
    pub took: Option<Duration>,
    /// What the last probe said, where it failed.
    pub output: Option<String>,
}
