//! What a idempotency counts.

use serde::Serialize;

/// A snapshot of a [`Idempotency`](crate::Idempotency).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Calls that came.
    pub calls: u64,
}
