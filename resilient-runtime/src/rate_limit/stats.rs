//! What a rate limiter counts.

use std::fmt;

use serde::Serialize;

use super::Rate;
use crate::observe::{Describe, Family};
use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Counters {
    refused: AtomicU64,
    waited: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { refused: AtomicU64::new(0), waited: AtomicU64::new(0) }
    }
}

impl Counters {
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn waited(&self) {
        self.waited.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.refused.store(0, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> (u64, u64) {
        (self.refused.load(Ordering::Relaxed), self.waited.load(Ordering::Relaxed))
    }
}

/// A snapshot of a [`RateLimiter`](crate::RateLimiter).
///
/// ```
/// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
/// # let login = Registry::new().rate_limiter("login");
/// login.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
/// assert!(login.check_key("ada").allowed && !login.check_key("ada").allowed);
/// assert_eq!((login.stats().keys, login.stats().rejected), (1, 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The rate. None: nothing is limited.
    pub rate: Option<Rate>,
    /// Calls that may come at once, or in a window.
    pub limit: u32,
    /// Calls without a key that would be admitted now.
    pub remaining: u32,
    /// Calls that wait for their turn.
    pub queued: u64,
    /// Calls that had to wait, whatever became of them.
    pub waited: u64,
    /// Calls refused.
    pub rejected: u64,
    /// Keys that have a place in the table.
    pub keys: u64,
    /// How often a key found none, and shared with others.
    pub overflows: u64,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::gauge(
            "resilient_rate_limit_remaining",
            "Calls that may begin now; not of a limit by key.",
            |limit, to| to.add(limit.remaining),
        ),
        Family::gauge("resilient_rate_limit_queued", "Calls that wait for their turn.", |limit, to| {
            to.add(limit.queued);
        }),
        Family::gauge("resilient_rate_limit_keys", "Keys with a limit of their own.", |limit, to| {
            to.add(limit.keys);
        }),
        Family::counter(
            "resilient_rate_limit_decisions_total",
            "Calls that did not just pass.",
            |limit, to| {
                to.by("decision", [("waited", limit.waited), ("rejected", limit.rejected)]);
            },
        ),
        Family::counter(
            "resilient_rate_limit_overflows_total",
            "Keys that had to share a limit with others.",
            |limit, to| to.add(limit.overflows),
        ),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(rate) => write!(f, "{rate}, {} at once", self.limit)?,
            None => f.write_str("no limit")?,
        }
        if self.keys > 0 {
            write!(f, ", {} keys", self.keys)?;
        }
        write!(f, ", {} queued, {} rejected", self.queued, self.rejected)
    }
}
