//! Counters and statistics of a bulkhead.

use std::fmt;

use serde::Serialize;

use super::config::Config;
use super::gate::Gate;
use super::pool::PoolStats;
use crate::adaptive::AdaptiveLimitStats;
use crate::observe::{Describe, Family};
use crate::priority::Priority;
use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Counters {
    rejected: AtomicU64,
    queued: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { rejected: AtomicU64::new(0), queued: AtomicU64::new(0) }
    }
}

impl Counters {
    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.rejected.store(0, Ordering::Relaxed);
        self.queued.store(0, Ordering::Relaxed);
    }

    pub(super) fn snapshot(
        &self,
        config: &Config,
        (permits, held): (u32, u32),
        gate: &Gate,
        pool: Option<PoolStats>,
    ) -> Stats {
        // Calls that were admitted before permits were held can still run.
        let in_use = gate.in_use().saturating_add(held).min(permits.max(gate.in_use()));
        Stats {
            in_use,
            limit: permits,
            available: permits.saturating_sub(in_use),
            queued: gate.waiting() + pool.map_or(0, |pool| u64::from(pool.queued)),
            max_queue: config.max_queue,
            limits: ClassLimits {
                normal: config.limit_of(permits, Priority::Normal),
                high: config.limit_of(permits, Priority::High),
                critical: config.limit_of(permits, Priority::Critical),
            },
            rejected: self.rejected.load(Ordering::Relaxed),
            waited: self.queued.load(Ordering::Relaxed),
            pool,
            adaptive: None,
            #[cfg(feature = "chaos")]
            held,
        }
    }
}

/// A snapshot of a [`Bulkhead`](crate::Bulkhead).
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let stats = Registry::new().bulkhead("gateway").stats();
/// assert_eq!((stats.limit, stats.available, stats.in_use, stats.queued), (64, 64, 0, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Number of calls in flight, and of permits that faults hold.
    pub in_use: u32,
    /// Maximum number of calls in flight.
    pub limit: u32,
    /// Number of free permits, for a critical call.
    pub available: u32,
    /// Number of calls that wait now.
    pub queued: u64,
    /// Maximum number of waiting calls.
    pub max_queue: u32,
    /// Number of calls in flight below which each class is admitted.
    pub limits: ClassLimits,
    /// Number of rejected calls.
    pub rejected: u64,
    /// Number of calls that had to wait, whatever their outcome.
    pub waited: u64,
    /// State of the thread pool. `None` if the bulkhead has no threads.
    pub pool: Option<PoolStats>,
    /// State of the adaptive limit. `None` if the limit is fixed.
    pub adaptive: Option<AdaptiveLimitStats>,
    /// Number of permits that faults hold. Part of `in_use`.
    #[cfg(feature = "chaos")]
    #[serde(skip_serializing_if = "is_zero")]
    pub held: u32,
}

#[cfg(feature = "chaos")]
#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::gauge("resilient_bulkhead_in_flight", "Calls that hold a permit.", |bulkhead, to| {
            to.add(bulkhead.in_use);
        }),
        Family::gauge("resilient_bulkhead_limit", "Maximum number of permits.", |bulkhead, to| {
            to.add(bulkhead.limit);
        }),
        Family::gauge("resilient_bulkhead_queued", "Calls that wait for a permit.", |bulkhead, to| {
            to.add(bulkhead.queued);
        }),
        Family::gauge(
            "resilient_bulkhead_queue_limit",
            "Maximum number of waiting calls.",
            |bulkhead, to| {
                to.add(bulkhead.max_queue);
            },
        ),
        Family::counter("resilient_bulkhead_rejected_total", "Rejected calls.", |bulkhead, to| {
            to.add(bulkhead.rejected);
        }),
        Family::counter("resilient_bulkhead_waited_total", "Calls that waited.", |bulkhead, to| {
            to.add(bulkhead.waited);
        }),
        Family::gauge(
            "resilient_bulkhead_threads_running",
            "Calls that run on threads of the bulkhead.",
            |bulkhead, to| to.add(bulkhead.pool.map_or(0, |pool| pool.running)),
        ),
        Family::gauge(
            "resilient_bulkhead_threads_abandoned",
            "Calls on its threads whose caller no longer waits.",
            |bulkhead, to| to.add(bulkhead.pool.map_or(0, |pool| pool.abandoned)),
        ),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} in use", self.in_use, self.limit)?;
        if self.max_queue > 0 {
            write!(f, ", {} of {} queued, {} waited", self.queued, self.max_queue, self.waited)?;
        }
        write!(f, ", {} rejected", self.rejected)?;
        if let Some(AdaptiveLimitStats { reason, latency, baseline, .. }) = self.adaptive {
            write!(f, "; adaptive: {reason}")?;
            if let (Some(latency), Some(baseline)) = (latency, baseline) {
                write!(f, ", latency {latency:.1?} (baseline {baseline:.1?})")?;
            }
        }
        Ok(())
    }
}

/// Number of calls in flight below which each class is admitted.
///
/// ```
/// use resilient_runtime::{Component, Registry, bulkhead::Config};
///
/// let ledger = Registry::new().bulkhead("ledger");
/// let config = Config::default().max_concurrent(10).reserve_critical(2).reserve_high(3);
/// ledger.reconfigure(config).unwrap();
/// let limits = ledger.stats().limits;
/// assert_eq!((limits.normal, limits.high, limits.critical), (5, 8, 10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClassLimits {
    /// Limit for low and normal calls.
    pub normal: u32,
    /// Limit for high calls.
    pub high: u32,
    /// Limit for critical calls.
    pub critical: u32,
}
