//! What a coalescer counts.

use serde::Serialize;

/// A snapshot of a [`Coalesce`](crate::Coalesce).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Calls that came.
    pub calls: u64,
}
