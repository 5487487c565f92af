//! The golden numbers of one operation: an annotated function, or a pipeline.

use std::sync::Arc;

use serde::Serialize;

use super::{Latencies, LatencyStats, Striped};

/// How a call ended. Every call that was started ends in exactly one of these ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Succeeded,
    Failed,
    Ignored,
    Rejected,
    TimedOut,
    FellBack,
    Cancelled,
    Panicked,
}

const STARTED: usize = 8;

/// Counts calls by their ending, and how long they took.
#[derive(Debug)]
pub(crate) struct Operation {
    name: Arc<str>,
    /// By [`Ending`], then the calls started; one stripe is two cache lines.
    calls: Striped<9>,
    latencies: Latencies,
}

impl Operation {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name, calls: Striped::new(), latencies: Latencies::default() }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    #[inline]
    pub(crate) fn started(&self) {
        self.calls.add(STARTED);
    }

    #[inline]
    pub(crate) fn ended(&self, ending: Ending, nanos: u64) {
        self.calls.add(ending as usize);
        self.latencies.record(nanos);
    }

    pub(crate) fn stats(&self) -> OperationStats {
        // Endings first: a call that ends in between is then seen as in flight, never as ended twice.
        let [succeeded, failed, ignored, rejected, timed_out, fell_back, cancelled, panicked, _] =
            self.calls.sums();
        let calls = self.calls.sum(STARTED);
        let ended = succeeded + failed + ignored + rejected + timed_out + fell_back + cancelled + panicked;
        OperationStats {
            calls,
            in_flight: calls.saturating_sub(ended),
            succeeded,
            failed,
            ignored,
            rejected,
            timed_out,
            fell_back,
            cancelled,
            panicked,
            latency: self.latencies.stats(),
        }
    }
}

/// The golden numbers of one operation. `calls` is the sum of `in_flight` and all the endings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OperationStats {
    /// Calls started.
    pub calls: u64,
    /// Calls that have not ended yet.
    pub in_flight: u64,
    /// Calls that succeeded, at whichever attempt.
    pub succeeded: u64,
    /// Calls that failed, with all their attempts.
    pub failed: u64,
    /// Calls that ended in an error that is the caller's own affair.
    pub ignored: u64,
    /// Calls that were refused.
    pub rejected: u64,
    /// Calls that were cut off.
    pub timed_out: u64,
    /// Calls that a fallback answered.
    pub fell_back: u64,
    /// Calls whose future was dropped.
    pub cancelled: u64,
    /// Calls that panicked.
    pub panicked: u64,
    /// How long the calls took, whatever their ending.
    pub latency: LatencyStats,
}
