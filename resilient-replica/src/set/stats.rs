//! Statistics of a replica set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Statistics of a replica set, since it was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The names of the members.
    pub members: Vec<Arc<str>>,
    /// Members that are degraded at the moment.
    pub degraded: Vec<Arc<str>>,
    /// Reads that were answered.
    pub reads: u64,
    /// Answered reads that may be stale.
    pub stale_reads: u64,
    /// Writes that were accepted.
    pub writes: u64,
    /// Accepted writes that fewer members have than their level needs.
    pub weak_writes: u64,
    /// Operations that were refused, because too few members were reached.
    pub refused: u64,
    /// Writes that were repeated, because another one came first.
    pub conflicts: u64,
    /// Records that a read, a hint or a sweep wrote to a member that did not have them.
    pub repairs: u64,
    /// Reads that asked one more member because another one was slow.
    pub hedges: u64,
    /// Writes that are kept for members that missed them.
    pub hints: usize,
    /// The size of these writes in bytes.
    pub hint_bytes: usize,
    /// The age of the oldest of them.
    pub oldest_hint: Option<Duration>,
    /// Writes that were not kept for a member, because there was no space. A sweep delivers them.
    pub dropped_hints: u64,
    /// Writes that are kept in memory only, because the file of hints could not be written.
    pub unsaved_hints: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Relaxed: only shown.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reads: Count,
    pub(crate) stale_reads: Count,
    pub(crate) writes: Count,
    pub(crate) weak_writes: Count,
    pub(crate) refused: Count,
    pub(crate) conflicts: Count,
    pub(crate) repairs: Count,
    pub(crate) hedges: Count,
    pub(crate) dropped_hints: Count,
    pub(crate) unsaved_hints: Count,
}
