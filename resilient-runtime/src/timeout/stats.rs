//! Statistics of a timeout.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::observe::{Describe, Family, counts};
use crate::seconds::optional_seconds;

/// A snapshot of a [`Timeout`](crate::Timeout). Times are serialized in seconds.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Component, Registry};
///
/// let stats = Registry::new().timeout("report").stats();
/// assert_eq!((stats.total, stats.connect), (Some(Duration::from_mins(1)), Some(Duration::from_secs(3))));
/// assert_eq!((stats.total_timeouts, stats.queue_timeouts), (0, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The total timeout.
    #[serde(serialize_with = "optional_seconds")]
    pub total: Option<Duration>,
    /// The current attempt timeout.
    #[serde(serialize_with = "optional_seconds")]
    pub attempt: Option<Duration>,
    /// The data of an adaptive attempt timeout.
    pub adaptive: Option<AdaptiveTimeoutStats>,
    /// The connect timeout.
    #[serde(serialize_with = "optional_seconds")]
    pub connect: Option<Duration>,
    /// The read timeout.
    #[serde(serialize_with = "optional_seconds")]
    pub read: Option<Duration>,
    /// Calls that exceeded the total timeout.
    pub total_timeouts: u64,
    /// Attempts that exceeded the attempt timeout.
    pub attempt_timeouts: u64,
    /// Calls whose deadline passed before they began.
    pub queue_timeouts: u64,
    /// Times that connecting exceeded the connect timeout.
    pub connect_timeouts: u64,
    /// Times that reading exceeded the read timeout.
    pub read_timeouts: u64,
}

/// Statistics of the attempts in the rolling window. Times are serialized in seconds.
///
/// A percentile is `None` if it cannot be computed: there are no attempts, or so many timed out that the percentile is
/// longer than the attempt timeout.
///
/// ```
/// use resilient_runtime::{Component, Registry, timeout::Config};
///
/// let timeout = Registry::new().timeout("search");
/// timeout.reconfigure(Config::default().adaptive(true)).unwrap();
/// let adaptive = timeout.stats().adaptive.unwrap();
/// assert_eq!((adaptive.is_learned, adaptive.samples, adaptive.p95), (false, 0, None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdaptiveTimeoutStats {
    /// Whether the limit was computed from attempts. If not, it is the initial limit.
    pub is_learned: bool,
    /// Attempts that succeeded, timed out or were cancelled.
    pub samples: u64,
    /// Attempts that timed out or were cancelled. Each would have taken longer than the time that it ran.
    pub censored: u64,
    /// The median duration of the attempts.
    #[serde(serialize_with = "optional_seconds")]
    pub p50: Option<Duration>,
    /// The 95th percentile.
    #[serde(serialize_with = "optional_seconds")]
    pub p95: Option<Duration>,
    /// The 99th percentile.
    #[serde(serialize_with = "optional_seconds")]
    pub p99: Option<Duration>,
    /// The 99.9th percentile.
    #[serde(serialize_with = "optional_seconds")]
    pub p999: Option<Duration>,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::counter("resilient_timeout_total", "Calls and attempts that timed out.", |timeout, to| {
            to.by(
                "kind",
                [
                    ("total", timeout.total_timeouts),
                    ("attempt", timeout.attempt_timeouts),
                    ("queue", timeout.queue_timeouts),
                    ("connect", timeout.connect_timeouts),
                    ("read", timeout.read_timeouts),
                ],
            );
        }),
        Family::<Self>::gauge(
            "resilient_timeout_current_seconds",
            "Current time limits; 0 if there is no limit.",
            |timeout, to| {
                to.by(
                    "kind",
                    [
                        ("total", timeout.total.unwrap_or_default()),
                        ("attempt", timeout.attempt.unwrap_or_default()),
                        ("connect", timeout.connect.unwrap_or_default()),
                        ("read", timeout.read.unwrap_or_default()),
                    ],
                );
            },
        )
        .seconds(),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |span: Option<Duration>| span.map_or_else(|| "-".to_owned(), |span| format!("{span:?}"));
        let (total, attempt) = (limit(self.total), limit(self.attempt));
        let (totals, attempts) = (self.total_timeouts, self.attempt_timeouts);
        write!(f, "total {total} expired {totals}, attempt {attempt} expired {attempts}")?;
        let others = [
            ("queue", self.queue_timeouts),
            ("connect", self.connect_timeouts),
            ("read", self.read_timeouts),
        ];
        counts(f, ", ", &others, |f, place, fired| write!(f, "{place} expired {fired}"))?;
        if let Some(adaptive) = &self.adaptive {
            let (samples, censored) = (adaptive.samples, adaptive.censored);
            let at =
                |span: Option<Duration>| span.map_or_else(|| "-".to_owned(), |span| format!("{span:.1?}"));
            let [p50, p95, p99, p999] = [adaptive.p50, adaptive.p95, adaptive.p99, adaptive.p999].map(at);
            write!(f, ", adapted to {samples} attempts, {censored} censored:")?;
            write!(f, " p50 {p50}  p95 {p95}  p99 {p99}  p99.9 {p999}")?;
        }
        Ok(())
    }
}
