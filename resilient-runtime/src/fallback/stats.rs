//! What a fallback counts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Level;
use crate::sync::{AtomicU64, Ordering};

/// A snapshot of a [`Fallback`](crate::Fallback).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// What each level did.
    pub levels: BTreeMap<Level, LevelStats>,
    /// Calls for which no level had an answer.
    pub all_failed: u64,
    /// Levels that are being asked, of those that `max_concurrent` bounds.
    pub in_flight: u64,
    /// The built-in local cache.
    pub cache: CacheStats,
}

/// What one level did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LevelStats {
    /// Times it was asked.
    pub asked: u64,
    /// Times it answered.
    pub served: u64,
    /// Times it was cut off.
    pub timed_out: u64,
    /// Times it was passed over, because too many levels were being asked already.
    pub refused: u64,
    /// Times it was passed over, because nothing was left of the call's time.
    pub skipped: u64,
    /// Times it panicked.
    pub panicked: u64,
}

/// What the built-in local cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheStats {
    /// Answers it holds.
    pub entries: u64,
    /// Answers it was given.
    pub stored: u64,
    /// Answers that had to go for others.
    pub evicted: u64,
    /// Times it had an answer that was too old.
    pub stale: u64,
}

/// What a level may come to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Asked,
    Served,
    TimedOut,
    Refused,
    Skipped,
    Panicked,
}

/// By [`Count`].
#[derive(Debug)]
pub(super) struct Counters([AtomicU64; 6]);

impl Counters {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(super) fn add(&self, count: Count) {
        self.0[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.0.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    pub(super) fn snapshot(&self) -> LevelStats {
        let [asked, served, timed_out, refused, skipped, panicked] =
            self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        LevelStats { asked, served, timed_out, refused, skipped, panicked }
    }
}
