//! Counters and statistics of a rate limiter.

use std::fmt;

use serde::Serialize;

use super::{Rate, SharedStats};
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
    /// The rate. `None` if nothing is limited.
    pub rate: Option<Rate>,
    /// Maximum number of calls at once, or in a window.
    pub limit: u32,
    /// Number of calls without a key that would be admitted now.
    pub remaining: u32,
    /// Number of calls that wait now.
    pub queued: u64,
    /// Number of calls that had to wait, whatever their outcome.
    pub waited: u64,
    /// Number of rejected calls.
    pub rejected: u64,
    /// Number of keys that have their own limit.
    pub keys: u64,
    /// How often a key had no slot and shared a limit with other keys.
    pub overflows: u64,
    /// The state of a limit that all instances share. `None` without a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedStats>,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::gauge(
            "resilient_rate_limit_remaining",
            "Calls that would be admitted now, without the limits by key.",
            |limit, to| to.add(limit.remaining),
        ),
        Family::gauge("resilient_rate_limit_queued", "Calls that wait for a token.", |limit, to| {
            to.add(limit.queued);
        }),
        Family::gauge("resilient_rate_limit_keys", "Keys with their own limit.", |limit, to| {
            to.add(limit.keys);
        }),
        Family::counter(
            "resilient_rate_limit_decisions_total",
            "Calls that waited or were rejected.",
            |limit, to| {
                to.by("decision", [("waited", limit.waited), ("rejected", limit.rejected)]);
            },
        ),
        Family::counter(
            "resilient_rate_limit_overflows_total",
            "Lookups of keys that had to share a limit with other keys.",
            |limit, to| to.add(limit.overflows),
        ),
        Family::gauge(
            "resilient_rate_limit_degraded",
            "Whether the store of a shared limit failed: 1 if `on_store_failure` applies.",
            |limit, to| to.add(u64::from(limit.shared.as_ref().is_some_and(|shared| shared.degraded))),
        ),
        Family::counter(
            "resilient_rate_limit_store_calls_total",
            "Requests of a shared limit to its store.",
            |limit, to| {
                let calls = |count: fn(&SharedStats) -> u64| limit.shared.as_ref().map_or(0, count);
                let failed = calls(|shared| shared.store_failures);
                let answered = calls(|shared| shared.store_calls).saturating_sub(failed);
                to.by("result", [("answered", answered), ("failed", failed)]);
            },
        ),
        Family::counter(
            "resilient_rate_limit_would_reject_total",
            "Calls that a shared limit with `observe` would have rejected.",
            |limit, to| to.add(limit.shared.as_ref().map_or(0, |shared| shared.would_reject)),
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
        write!(f, ", {} queued, {} rejected", self.queued, self.rejected)?;
        match &self.shared {
            Some(shared) if shared.degraded => write!(f, ", store `{}` failed", shared.store),
            Some(shared) => write!(f, ", shared by `{}` ({})", shared.store, shared.mode),
            None => Ok(()),
        }
    }
}
