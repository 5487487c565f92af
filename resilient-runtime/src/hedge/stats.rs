//! Statistics of a hedge.

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

/// A snapshot of a [`Hedge`](crate::Hedge). Times are serialized in seconds.
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
    /// The delay before another attempt is sent. `None` until enough attempts are recorded.
    #[serde(serialize_with = "optional_seconds")]
    pub delay: Option<Duration>,
    /// The durations of attempts. An attempt that lost counts with the time that it ran. Empty if `after` is set.
    pub attempts: LatencyStats,
    /// Attempts sent in addition to the first.
    pub sent: u64,
    /// Additional attempts whose result was returned.
    pub won: u64,
    /// Additional attempts that were not sent because the budget was exhausted.
    pub denied_by_budget: u64,
    /// The budget of the hedge. In a pipeline with a retry, the budget of the retry is used instead.
    pub budget: budget::Stats,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] =
        &[Family::counter("resilient_hedge_total", "Additional attempts by outcome.", |hedge, to| {
            to.by("kind", [("sent", hedge.sent), ("won", hedge.won), ("budget", hedge.denied_by_budget)]);
        })];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, won, denied_by_budget, .. } = self;
        write!(f, "{sent} sent, {won} won, {denied_by_budget} denied by the budget")
    }
}
