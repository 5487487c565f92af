//! Computes the value of a signal from the statistics of operations.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::{Config, Signal};
use super::longest_gap;
use crate::clock::Instant;
use crate::observe::OperationStats;

/// The input of an alert evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Whether the operation exists.
    pub(crate) exists: bool,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) degraded: u64,
    pub(crate) p50: Duration,
    pub(crate) p95: Duration,
    pub(crate) p99: Duration,
    /// The number of recent calls whose latency was measured.
    pub(crate) measured: u64,
    pub(crate) saturation: f64,
}

impl Reading {
    /// Adds the statistics of an operation. With several operations, the highest latency counts.
    pub(crate) fn add(&mut self, stats: &OperationStats) {
        self.exists = true;
        self.calls += stats.calls.saturating_sub(stats.in_flight);
        self.errors += stats.failed + stats.rejected + stats.timed_out + stats.panicked;
        self.degraded += stats.fell_back;
        self.p50 = self.p50.max(stats.latency.p50);
        self.p95 = self.p95.max(stats.latency.p95);
        self.p99 = self.p99.max(stats.latency.p99);
        self.measured += stats.latency.measured;
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    at: Instant,
    calls: u64,
    errors: u64,
    degraded: u64,
}

/// Past counts, from which rates are computed.
#[derive(Debug, Default)]
pub(super) struct Past(VecDeque<Count>);

/// Maximum number of counts stored, however often an alert is evaluated.
const MAX_COUNTS: usize = 256;

impl Past {
    /// Returns the current value of the signal, or `None` if there is too little data.
    pub(super) fn observe(&mut self, now: Instant, reading: &Reading, config: &Config) -> Option<f64> {
        let Reading { calls, errors, degraded, .. } = *reading;
        let count = Count { at: now, calls, errors, degraded };
        let is_more = |last: &Count| last.calls > calls || last.errors > errors || last.degraded > degraded;
        if self.0.back().is_some_and(is_more) {
            // The statistics were reset in between.
            self.0.clear();
        }
        let is_past = |count: &Count| now.since(count.at) >= config.window;
        while self.0.get(1).is_some_and(is_past) {
            self.0.pop_front();
        }
        // Drop counts from before a gap between evaluations. A rate over the gap would be outdated.
        let oldest = config.window + longest_gap(config.window);
        while self.0.front().is_some_and(|count| now.since(count.at) > oldest) {
            self.0.pop_front();
        }
        let before = self.0.front().copied();
        let step = config.window / u32::try_from(MAX_COUNTS).unwrap_or(1);
        if self.0.back().is_none_or(|last| now.since(last.at) >= step) {
            self.0.push_back(count);
        }
        let enough = |samples: u64| samples >= u64::from(config.min_samples);
        let share = |part: u64, seen: u64| (enough(seen) && seen > 0).then(|| part as f64 / seen as f64);
        let time = |span: Duration| enough(reading.measured).then_some(span.as_secs_f64());
        match config.signal {
            Signal::ErrorRate => before.and_then(|before| {
                share(errors.saturating_sub(before.errors), calls.saturating_sub(before.calls))
            }),
            Signal::DegradedRate => before.and_then(|before| {
                share(degraded.saturating_sub(before.degraded), calls.saturating_sub(before.calls))
            }),
            Signal::LatencyP50 => time(reading.p50),
            Signal::LatencyP95 => time(reading.p95),
            Signal::LatencyP99 => time(reading.p99),
            Signal::Saturation => Some(reading.saturation),
            Signal::Traffic => {
                let before = before?;
                let seen = calls.saturating_sub(before.calls);
                let span = now.since(before.at).as_secs_f64();
                let whole = now.since(before.at) >= config.window;
                // A low rate counts only after a whole window.
                (span > 0.0 && (whole || !config.below)).then(|| seen as f64 / span)
            }
            Signal::BurnRate => None,
        }
    }
}
