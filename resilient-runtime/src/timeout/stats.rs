//! What a timeout counts.

use std::time::Duration;

use serde::Serialize;

use crate::observe::optional_seconds;

/// A snapshot of a [`Timeout`](crate::Timeout); times are in seconds when serialised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// The time of a whole call.
    #[serde(serialize_with = "optional_seconds")]
    pub total: Option<Duration>,
    /// The time of one attempt.
    #[serde(serialize_with = "optional_seconds")]
    pub attempt: Option<Duration>,
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
