//! What a rate limiter counts.

use serde::Serialize;

/// A snapshot of a [`RateLimiter`](crate::RateLimiter).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Calls that came.
    pub calls: u64,
}
