//! What a fallback counts.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Level;
use crate::observe::{Describe, Family, counts};
use crate::sync::{AtomicU64, Ordering};

/// A snapshot of a [`Fallback`](crate::Fallback).
///
/// ```
/// use resilient_runtime::{Component, Level, Registry, fallback::Chain};
///
/// let fallback = Registry::new().fallback("rates");
/// assert_eq!(fallback.call(|| None::<f64>, || Chain::of(Level::Replica, |_| None)), None);
/// let stats = fallback.stats();
/// assert_eq!((stats.all_failed, stats.in_flight, stats.levels[&Level::Replica].asked), (1, 0, 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
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
///
/// ```
/// use resilient_runtime::{Component, Level, Registry, fallback::Chain};
///
/// let mail = Registry::new().fallback("mail");
/// mail.call(|| None, || Chain::of(Level::Backup, |_| Some("queued")));
/// let backup = &mail.stats().levels[&Level::Backup];
/// assert_eq!((backup.asked, backup.served, backup.timed_out), (1, 1, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
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
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let fallback = Registry::new().fallback("rates");
/// fallback.keep("EUR", 1.1);
/// fallback.keep("EUR", 1.2);
/// let cache = fallback.stats().cache;
/// assert_eq!((cache.entries, cache.stored), (1, 2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
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

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::counter("resilient_fallback_total", "Calls that a level answered.", |fallback, to| {
            let served = |level: Level| fallback.levels.get(&level).map_or(0, |level| level.served);
            to.by("level", Level::ALL.map(|level| (level.as_str(), served(level))));
        }),
        Family::counter(
            "resilient_fallback_failed_total",
            "Calls that no level answered.",
            |fallback, to| {
                to.add(fallback.all_failed);
            },
        ),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, stats) in &self.levels {
            let missed = [
                ("timed out", stats.timed_out),
                ("refused", stats.refused),
                ("skipped", stats.skipped),
                ("panicked", stats.panicked),
            ];
            if stats.asked == 0 && missed.iter().all(|(_, count)| *count == 0) {
                continue;
            }
            write!(f, "{level} {} of {}", stats.served, stats.asked)?;
            counts(f, " ", &missed, |f, what, count| write!(f, "({count} {what})"))?;
            f.write_str(", ")?;
        }
        write!(f, "all failed {}", self.all_failed)
    }
}
