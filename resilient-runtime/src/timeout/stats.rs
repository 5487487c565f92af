//! What a timeout counts.

use std::time::Duration;

use serde::Serialize;

use crate::observe::optional_seconds;

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
