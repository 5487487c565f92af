//! What a timeout counts.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::observe::{Describe, Family, counts};
use crate::seconds::optional_seconds;

/// A snapshot of a [`Timeout`](crate::Timeout); times are in seconds when serialised.
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
    /// The time of a whole call.
    #[serde(serialize_with = "optional_seconds")]
    pub total: Option<Duration>,
    /// The time of one attempt, as it is now.
    #[serde(serialize_with = "optional_seconds")]
    pub attempt: Option<Duration>,
    /// What an adaptive one is taken from.
    pub adaptive: Option<AdaptiveTimeoutStats>,
    /// The time to connect.
    #[serde(serialize_with = "optional_seconds")]
    pub connect: Option<Duration>,
    /// The time to read.
    #[serde(serialize_with = "optional_seconds")]
    pub read: Option<Duration>,
    /// Calls that ran out of their total time.
    pub total_timeouts: u64,
    /// Attempts that ran out of theirs.
    pub attempt_timeouts: u64,
    /// Calls whose time was over before they began.
    pub queue_timeouts: u64,
    /// Bodies that ran out of the time to connect.
    pub connect_timeouts: u64,
    /// Bodies that ran out of the time to read.
    pub read_timeouts: u64,
}

/// The attempts of the last window, and what follows from them; times are in seconds when serialised.
///
/// A percentile is none where it cannot be told: there are no attempts, or more were cut off than it leaves, so that it
/// is beyond what attempts may take.
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
    /// Whether the limit was taken from attempts. Else it is the one to begin with.
    pub is_learned: bool,
    /// Attempts that succeeded, or were ended before they did.
    pub samples: u64,
    /// Those of them that were cut off or cancelled: each would have taken longer.
    pub censored: u64,
    /// Half of the attempts took no longer.
    #[serde(serialize_with = "optional_seconds")]
    pub p50: Option<Duration>,
    /// 95 % of the attempts took no longer.
    #[serde(serialize_with = "optional_seconds")]
    pub p95: Option<Duration>,
    /// 99 % of the attempts took no longer.
    #[serde(serialize_with = "optional_seconds")]
    pub p99: Option<Duration>,
    /// 99.9 % of the attempts took no longer.
    #[serde(serialize_with = "optional_seconds")]
    pub p999: Option<Duration>,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::counter(
            "resilient_timeout_total",
            "Calls and attempts that ran out of their time.",
            |timeout, to| {
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
            },
        ),
        Family::<Self>::gauge(
            "resilient_timeout_current_seconds",
            "How long is given now; 0 where there is no limit.",
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
        write!(f, "total {total} fired {totals}, attempt {attempt} fired {attempts}")?;
        let others = [
            ("queue", self.queue_timeouts),
            ("connect", self.connect_timeouts),
            ("read", self.read_timeouts),
        ];
        counts(f, ", ", &others, |f, place, fired| write!(f, "{place} fired {fired}"))?;
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
