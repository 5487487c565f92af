//! What a hedge counts.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::budget;
use crate::observe::{Describe, Family, LatencyStats};
use crate::seconds::optional_seconds;
use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Counters {
    sent: AtomicU64,
    won: AtomicU64,
    denied: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { sent: AtomicU64::new(0), won: AtomicU64::new(0), denied: AtomicU64::new(0) }
    }
}

impl Counters {
    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn won(&self) {
        self.won.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        for counter in [&self.sent, &self.won, &self.denied] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(
        &self,
        delay: Option<Duration>,
        attempts: LatencyStats,
        budget: budget::Stats,
    ) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (sent, won, denied) = (read(&self.sent), read(&self.won), read(&self.denied));
        Stats { delay, attempts, sent, won, denied_by_budget: denied, budget }
    }
}

/// A snapshot of a [`Hedge`](crate::Hedge); times are in seconds when serialised.
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let stats = Registry::new().hedge("search").stats();
/// assert_eq!((stats.sent, stats.won, stats.attempts.measured), (0, 0, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// How long an attempt may take before another is sent. None: too few were seen to say so.
    #[serde(serialize_with = "optional_seconds")]
    pub delay: Option<Duration>,
    /// How long the attempts took; of one that lost, how long it had run by then. None where `after` is given.
    pub attempts: LatencyStats,
    /// Attempts sent besides the first.
    pub sent: u64,
    /// Those of them whose answer was taken.
    pub won: u64,
    /// Those that were not sent, because the budget had nothing left.
    pub denied_by_budget: u64,
    /// The hedge's own budget; where there is a retry, its budget is used.
    pub budget: budget::Stats,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] =
        &[Family::counter("resilient_hedge_total", "Attempts besides the first.", |hedge, to| {
            to.by("kind", [("sent", hedge.sent), ("won", hedge.won), ("budget", hedge.denied_by_budget)]);
        })];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, won, denied_by_budget, .. } = self;
        write!(f, "{sent} sent, {won} won, {denied_by_budget} denied by the budget")
    }
}
