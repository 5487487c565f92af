//! What a load shedder counts.

use serde::Serialize;

/// A snapshot of a [`LoadShedder`](crate::LoadShedder).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Calls that came.
    pub calls: u64,
}
