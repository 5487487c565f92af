//! What a hedge counts.

use serde::Serialize;

/// A snapshot of a [`Hedge`](crate::Hedge).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Calls that came.
    pub calls: u64,
}
