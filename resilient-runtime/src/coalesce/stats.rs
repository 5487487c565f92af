//! Counters of coalescing.

use std::fmt;

use serde::Serialize;

use crate::observe::{Describe, Family};
use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Counters {
    shared: AtomicU64,
    handed_over: AtomicU64,
    alone: AtomicU64,
    gave_up: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { shared: zero(), handed_over: zero(), alone: zero(), gave_up: zero() }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn shared(&self) {
        count(&self.shared);
    }

    pub(super) fn handed_over(&self) {
        count(&self.handed_over);
    }

    pub(super) fn alone(&self) {
        count(&self.alone);
    }

    pub(super) fn gave_up(&self) {
        count(&self.gave_up);
    }

    pub(super) fn reset(&self) {
        for counter in [&self.shared, &self.handed_over, &self.alone, &self.gave_up] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// The table provides the other values.
    pub(super) fn snapshot(&self, in_flight: usize, led: u64) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            in_flight: u64::try_from(in_flight).unwrap_or(u64::MAX),
            led,
            shared: read(&self.shared),
            handed_over: read(&self.handed_over),
            alone: read(&self.alone),
            gave_up: read(&self.gave_up),
        }
    }
}

/// A snapshot of the counters of a [`Coalesce`](crate::Coalesce).
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let rates = Registry::new().coalesce("rates");
/// rates.call("EUR", || rates.call("EUR", || Some(1.1)));
/// assert_eq!((rates.stats().led, rates.stats().alone), (1, 1), "the inner call does not wait for itself");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Number of keys with a running call.
    pub in_flight: u64,
    /// Calls that ran their work as the leader for their key.
    pub led: u64,
    /// Calls that returned the result of another call.
    pub shared: u64,
    /// Number of times a waiting call took the lead.
    ///
    /// It does so if the leader was dropped, panicked, was not polled, or did not share its failure.
    pub handed_over: u64,
    /// Calls that ran without coalescing.
    ///
    /// They were nested in a call with their key, exceeded `max_flights`, or coalescing was disabled.
    pub alone: u64,
    /// Calls rejected because their wait timed out.
    pub gave_up: u64,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] =
        &[Family::counter("resilient_coalesce_total", "Coalesced calls, by role.", |coalesce, to| {
            let handed_over = ("handed_over", coalesce.handed_over);
            to.by("kind", [("led", coalesce.led), ("shared", coalesce.shared), handed_over]);
        })];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} led, {} shared, {} in flight", self.led, self.shared, self.in_flight)
    }
}
