//! Statistics of a health check.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::CheckKind;
use crate::observe::{Describe, Family};
use crate::seconds::optional_seconds;

/// The status of a check or of the whole report.
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
    /// It works.
    Pass,
    /// Not probed yet, or not recently.
    Unknown,
    /// Degraded: calls are still served.
    Warn,
    /// It does not work.
    Fail,
}

impl Status {
    /// Returns the name used in JSON.
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
    /// The kind of the check.
    pub kind: CheckKind,
    /// The current status.
    ///
    /// By default it becomes `Fail` after three consecutive failures and `Pass` after one success. It is `Unknown`
    /// before the first result, and when the last result is older than three times `interval` plus `timeout`.
    pub status: Status,
    /// The number of probes run.
    pub probes: u64,
    /// The number of probes that failed.
    pub failed: u64,
    /// The duration of the last probe, serialized in seconds.
    #[serde(serialize_with = "optional_seconds")]
    pub took: Option<Duration>,
    /// The age of the last result, serialized in seconds.
    #[serde(serialize_with = "optional_seconds")]
    pub age: Option<Duration>,
    /// The error text of the last probe, if it failed.
    pub output: Option<String>,
}

impl Describe for Stats {
    const LABEL: &str = "check";
    const METRICS: &[Family<Self>] = &[Family::gauge(
        "resilient_health_status",
        "1 for the current status of the check, 0 for the other statuses.",
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
