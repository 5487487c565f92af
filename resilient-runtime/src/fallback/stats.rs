//! Statistics of a fallback.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{DistributedCacheStats, Level};
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
    /// Statistics of each level.
    pub levels: BTreeMap<Level, LevelStats>,
    /// Calls for which every level failed.
    pub all_failed: u64,
    /// Levels that are running and count towards `max_concurrent`.
    pub in_flight: u64,
    /// Statistics of the built-in local cache.
    pub cache: CacheStats,
    /// Statistics of the built-in distributed cache. `None` if it was not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distributed_cache: Option<DistributedCacheStats>,
}

/// Statistics of one level.
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
    /// Times the level ran.
    pub asked: u64,
    /// Times the level succeeded.
    pub served: u64,
    /// Times the level timed out.
    pub timed_out: u64,
    /// Times the level was skipped because of `max_concurrent`.
    pub refused: u64,
    /// Times the level was skipped because the call had no time left.
    pub skipped: u64,
    /// Times the level panicked.
    pub panicked: u64,
}

/// Statistics of the built-in local cache.
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
    /// Entries in the cache.
    pub entries: u64,
    /// Values stored.
    pub stored: u64,
    /// Entries evicted.
    pub evicted: u64,
    /// Lookups that found a value that was too old.
    pub stale: u64,
}

/// The counters of a level.
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
        Family::counter("resilient_fallback_total", "Calls served by a fallback level.", |fallback, to| {
            let served = |level: Level| fallback.levels.get(&level).map_or(0, |level| level.served);
            to.by("level", Level::ALL.map(|level| (level.as_str(), served(level))));
        }),
        Family::counter(
            "resilient_fallback_failed_total",
            "Calls for which every fallback level failed.",
            |fallback, to| {
                to.add(fallback.all_failed);
            },
        ),
        Family::counter(
            "resilient_fallback_cache_reads_total",
            "Lookups in the built-in distributed cache.",
            |fallback, to| {
                let cache = fallback.distributed_cache.unwrap_or_default();
                to.by(
                    "result",
                    [
                        ("hit", cache.hits),
                        ("near_hit", cache.near_hits),
                        ("miss", cache.misses + cache.absent_hits),
                        ("unreadable", cache.unreadable),
                        ("failed", cache.failed_reads),
                    ],
                );
            },
        ),
        Family::counter(
            "resilient_fallback_cache_writes_total",
            "Values for the store of the built-in distributed cache.",
            |fallback, to| {
                let cache = fallback.distributed_cache.unwrap_or_default();
                to.by(
                    "result",
                    [
                        ("written", cache.written),
                        ("replaced", cache.replaced_writes),
                        ("dropped", cache.dropped_writes),
                        ("failed", cache.failed_writes),
                        ("not_stored", cache.not_stored),
                    ],
                );
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
        if let Some(cache) = &self.distributed_cache {
            let numbers = [
                ("hits", cache.hits),
                ("from memory", cache.near_hits),
                ("failed", cache.failed_reads),
                ("written", cache.written),
                ("not written", cache.dropped_writes + cache.failed_writes + cache.not_stored),
            ];
            f.write_str("cache")?;
            counts(f, " ", &numbers, |f, what, count| write!(f, "{count} {what}"))?;
            f.write_str(", ")?;
        }
        write!(f, "all failed {}", self.all_failed)
    }
}
