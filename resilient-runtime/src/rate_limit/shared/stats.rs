//! Counters and statistics of a shared limit.

use std::sync::Arc;

use serde::Serialize;

use super::Shared;
use crate::observe::Counter;
use crate::rate_limit::config::Mode;
use crate::sync::{AtomicU32, Ordering};

#[derive(Debug)]
pub(super) struct Counters {
    pub(super) requests: Counter,
    pub(super) failures: Counter,
    pub(super) would_reject: Counter,
    pub(super) waited: Counter,
    /// Tokens that were available at the last response.
    remaining: AtomicU32,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: Counter::default(),
            failures: Counter::default(),
            would_reject: Counter::default(),
            waited: Counter::default(),
            remaining: AtomicU32::new(0),
        }
    }
}

impl Counters {
    pub(super) fn remaining(&self) -> u32 {
        self.remaining.load(Ordering::Relaxed)
    }

    pub(super) fn set_remaining(&self, remaining: u32) {
        self.remaining.store(remaining, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        for counter in [&self.requests, &self.failures, &self.would_reject, &self.waited] {
            counter.reset();
        }
    }
}

/// A snapshot of a limit that all instances share.
///
/// ```
/// use resilient_runtime::{Component, Registry, rate_limit::{Config, MemoryStore, Rate}};
///
/// let registry = Registry::new();
/// registry.use_store("shared", MemoryStore::new(registry.clock().clone(), 10));
/// let api = registry.rate_limiter("api");
/// api.reconfigure(Config::default().rate("9/min".parse::<Rate>().unwrap()).store("shared")).unwrap();
/// assert!(api.check().allowed);
/// let shared = api.stats().shared.unwrap();
/// assert_eq!((&*shared.store, shared.mode, shared.degraded, shared.store_calls), ("shared", "exact", false, 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SharedStats {
    /// The name of the store.
    pub store: Arc<str>,
    /// `exact`, `lease` or `observe`.
    pub mode: &'static str,
    /// Whether the store failed, so that `on_store_failure` applies.
    pub degraded: bool,
    /// Number of tokens that were taken in advance and not used yet.
    pub leased: u64,
    /// Number of requests to the store.
    pub store_calls: u64,
    /// Number of requests to the store that failed or were not sent.
    pub store_failures: u64,
    /// With `observe`: the number of calls that the limit would have rejected.
    pub would_reject: u64,
    /// Whether another instance has other settings for this limit.
    pub settings_differ: bool,
    /// Number of running instances that share the store, with this one.
    pub instances: u32,
}

impl Shared {
    /// Calls that had to wait for their tokens.
    pub(in crate::rate_limit) fn waited(&self) -> u64 {
        self.counters.waited.get()
    }

    /// Tokens that were available at the last response, or are in the pool.
    pub(in crate::rate_limit) fn remaining(&self) -> u32 {
        let leased = u32::try_from(self.pool.tokens()).unwrap_or(u32::MAX);
        self.counters.remaining().saturating_add(leased)
    }

    pub(in crate::rate_limit) fn stats(&self) -> Option<SharedStats> {
        let plan = self.plan()?;
        let mode = match plan.mode {
            Mode::Exact => "exact",
            Mode::Lease => "lease",
            Mode::Observe => "observe",
        };
        Some(SharedStats {
            store: Arc::clone(&plan.store),
            mode,
            degraded: self.is_degraded.load(Ordering::Relaxed),
            leased: self.pool.tokens(),
            store_calls: self.counters.requests.get(),
            store_failures: self.counters.failures.get(),
            would_reject: self.counters.would_reject.get(),
            settings_differ: self.differs.load(Ordering::Relaxed),
            instances: self.guard(&plan).map_or(1, |guard| guard.live_instances()),
        })
    }
}
