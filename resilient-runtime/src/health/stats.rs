//! What a health check knows.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::CheckKind;
use crate::observe::{Describe, Family};
use crate::seconds::optional_seconds;

/// Whether all is well.
///
/// ```
/// use resilient_runtime::health::Status;
///
/// assert_eq!([Status::Warn, Status::Pass, Status::Fail].into_iter().max(), Some(Status::Fail));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It is.
    Pass,
    /// Nobody has asked yet, or not for a long time.
    Unknown,
    /// Calls are served, some of them worse than they should be.
    Warn,
    /// It is not.
    Fail,
}

impl Status {
    /// The name in JSON.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::health::Status::Warn.as_str(), "warn");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// A snapshot of a [`HealthCheck`](crate::HealthCheck).
///
/// ```
/// use resilient_runtime::{Registry, health::Status};
///
/// let database = Registry::new().health("database");
/// database.probe(|| async { Err("too many connections") });
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let stats = database.check().await;
/// assert_eq!((stats.probes, stats.failed), (1, 1));
/// assert_eq!(stats.status, Status::Fail, "it has never passed");
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// What it means when it fails.
    pub kind: CheckKind,
    /// How it stands: fails after three failures in a row, passes after one success. Unknown before the first answer, and
    /// when the last one is older than three times `interval`.
    pub status: Status,
    /// Probes made.
    pub probes: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// How long the last probe took, in seconds when serialised.
    #[serde(serialize_with = "optional_seconds")]
    pub took: Option<Duration>,
    /// How old the last answer is, in seconds when serialised.
    #[serde(serialize_with = "optional_seconds")]
    pub age: Option<Duration>,
    /// What the last probe said, where it failed.
    pub output: Option<String>,
}

impl Describe for Stats {
    const LABEL: &str = "check";
    const METRICS: &[Family<Self>] = &[Family::gauge(
        "resilient_health_status",
        "1 for how the check stands, 0 for the others.",
        |check, to| {
            let all = [Status::Pass, Status::Warn, Status::Fail, Status::Unknown];
            let all = all.map(|status| (status.as_str(), status == check.status));
            to.by_with(("kind", check.kind.as_str()), "status", all);
        },
    )];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, status, probes, failed, .. } = self;
        write!(f, "{} ({}), {failed} of {probes} probes failed", status.as_str(), kind.as_str())?;
        self.output.as_ref().map_or(Ok(()), |output| write!(f, ": {output}"))
    }
}
