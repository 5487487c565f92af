//! What a fallback counts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Level;

/// A snapshot of a [`Fallback`](crate::Fallback).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// What each level did.
    pub levels: BTreeMap<Level, LevelStats>,
    /// Calls for which no level had an answer.
    pub all_failed: u64,
}

/// What one level did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LevelStats {
    /// Times it was asked.
    pub asked: u64,
    /// Times it answered.
    pub served: u64,
}
