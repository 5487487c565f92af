//! Adaptive concurrency limits, derived from the latency and outcome of calls.
//!
//! The target is the knee of the throughput curve: the concurrency beyond which more calls bring no more
//! throughput, because they only wait for each other. Assume `n` calls in flight that take `r` each: `b` is work
//! and the rest is waiting. By Little's law, `n * b / r` of them are being worked on. The limit is that number and
//! a small allowance:
//!
//! ```text
//! limit = n * min(1.1 * b / r, 1.1) + max(1, sqrt(n) / 2)
//! ```
//!
//! - The **latency** `r` is the geometric mean of a window of at least 250 ms, 5 latencies and 50 calls. The
//!   contribution of a single call is clamped to between a quarter and four times the previous mean, so a call that
//!   hung weighs no more than a slow one.
//! - The **baseline** `b` is the latency of calls that do not wait for each other. It follows a lower latency down.
//!   At low demand and at the minimum limit, it also follows a higher latency slowly. Otherwise it rises only by a
//!   **probe**, which lowers the limit by about a quarter for one window. Probes run every 2 windows at first,
//!   every 32 windows once they agree, and immediately when the latency would cut the limit. If the latency falls
//!   with the concurrency, calls were waiting for each other, and the limit is lowered. If it does not, the
//!   dependency itself has become slower, and its current latency is the new baseline. The limit therefore
//!   does not drift up because of its own queue, and does not fall to the minimum with each slowdown.
//! - The limit grows only while it is in use, which means that more calls are in flight than a probe would admit.
//! - If more than 5 % of the calls are **overloaded**, the limit is lowered by their share, at most by half, once
//!   per window. A call is overloaded if the dependency reports overload, or if a timeout or a broken
//!   connection ended it after at least the usual time.
//! - **Failed** calls count if they took at least as long as usual. Fast failures are no evidence of capacity.
//!
//! A call pays for this with a few additions to counters of its own thread. The call that finds the window over
//! evaluates it.
//!
//! The algorithm cannot distinguish a slow dependency from one that other clients overload: it attributes latency
//! that does not depend on its own calls to the dependency. If many clients share a dependency,
//! let the dependency report overload, and set a maximum limit.
//!
//! ```
//! use resilient_runtime::{Component, Registry, Rejection, adaptive::LimitReason, bulkhead::Config};
//!
//! let bulkhead = Registry::new().bulkhead("gateway");
//! bulkhead.reconfigure(Config::default().adaptive(true).adaptive_max(100)).unwrap();
//! let answer: Result<u32, Rejection> = bulkhead.call(|| Ok(42));
//! let found = bulkhead.stats().adaptive.unwrap();
//! assert_eq!((answer, found.limit, found.reason), (Ok(42), 20, LimitReason::Initial));
//! ```
//!
//! # Sources
//! - The gradient and the allowance for growth: Netflix `concurrency-limits` (`Gradient2Limit`, `VegasLimit`) and
//!   Envoy's `gradient_controller`. The estimate by Little's law is from Vegas.
//! - Measuring the latency at a lower concurrency from time to time: `ProbeRTT` of BBR (Cardwell et al., ACM Queue
//!   2016) and Envoy's minRTT. They lower the concurrency to almost nothing. This implementation lowers it by a
//!   quarter and evaluates the slope.
//! - Requiring throughput to follow concurrency: failsafe-go's `adaptivelimiter`, which correlates the two.

mod control;
mod stats;
mod window;

#[cfg(all(test, not(resilient_loom)))]
mod simulation;
#[cfg(all(test, not(resilient_loom)))]
mod tests;

pub use stats::{AdaptiveLimitStats, LimitReason};

use crate::classify::Verdict;
use crate::clock::Instant;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use control::Control;
use window::Totals;

const LONGEST_NANOS: u64 = crate::clock::nanos(control::LONGEST);

/// The outcome of a call, as the limit classifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    /// It succeeded. Its latency counts.
    Success,
    /// It failed. Its latency counts unless it is shorter than usual.
    Failed,
    /// A timeout or a broken connection ended it. This indicates overload if the call had taken at least the usual
    /// time.
    CutOff,
    /// The dependency reported overload.
    Overloaded,
    /// No evidence: the call was cancelled, or its result is unrelated to load.
    Ignored,
}

impl From<Verdict> for Sample {
    #[inline]
    fn from(verdict: Verdict) -> Self {
        use crate::classify::Class;
        match verdict {
            Verdict::Success => Self::Success,
            Verdict::Failure(Class::Overload { .. }) => Self::Overloaded,
            Verdict::Failure(Class::Uncertain { .. }) => Self::CutOff,
            Verdict::Failure(Class::Ignored | Class::NotExecuted { .. }) => Self::Ignored,
            Verdict::Failure(_) => Self::Failed,
        }
    }
}

/// A concurrency limit that adjusts itself. See the [module documentation](self).
#[derive(Debug)]
pub(crate) struct AdaptiveLimit {
    limit: AtomicU32,
    /// The mean latency of the last window, as a [`window::Log`]; 0 if there was none.
    usual: AtomicU64,
    /// The end of the window, in nanoseconds of the clock; 0 before the first sample.
    until: AtomicU64,
    totals: Totals,
    control: Mutex<Control>,
}

impl AdaptiveLimit {
    /// Creates a limit between `min` and `max`, both at least 1, that starts at `initial`.
    pub(crate) fn new(initial: u32, min: u32, max: u32) -> Self {
        let control = Control::new(initial, min, max);
        Self {
            limit: AtomicU32::new(control.limit()),
            usual: AtomicU64::new(0),
            until: AtomicU64::new(0),
            totals: Totals::new(),
            control: Mutex::new(control),
        }
    }

    /// Returns the number of calls that can be in flight.
    #[inline]
    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Records a call that has ended, with the number of calls in flight including it. Returns whether the limit
    /// changed.
    #[inline]
    pub(crate) fn sample(&self, started: Instant, now: Instant, in_flight: u32, sample: Sample) -> bool {
        if sample == Sample::Ignored {
            return false;
        }
        let took = window::log(now.nanos_since(started));
        // Relaxed, here and below: these are hints that order nothing.
        let usual = self.usual.load(Ordering::Relaxed);
        match sample {
            Sample::Success => self.totals.measured(took, usual, in_flight),
            Sample::Failed if usual > 0 && took >= usual => self.totals.measured(took, usual, in_flight),
            Sample::Overloaded => self.totals.overloaded(in_flight),
            Sample::CutOff if took >= usual => self.totals.overloaded(in_flight),
            _ => return false,
        }
        // The window is over, or its end is further away than any window reaches. In the latter case the clock
        // moved back.
        let left = self.until.load(Ordering::Relaxed).wrapping_sub(now.as_nanos());
        left.wrapping_sub(1) >= LONGEST_NANOS && self.evaluate(now)
    }

    /// Evaluates the window if it is over. Returns at once if another thread is evaluating it.
    #[cold]
    fn evaluate(&self, now: Instant) -> bool {
        let Some(mut control) = self.control.try_lock() else { return false };
        let before = control.limit();
        let until = control.evaluate(now, &self.totals);
        self.publish(&control);
        self.until.store(until.as_nanos(), Ordering::Relaxed);
        control.limit() != before
    }

    fn publish(&self, control: &Control) {
        self.limit.store(control.limit(), Ordering::Relaxed);
        self.usual.store(control.usual(), Ordering::Relaxed);
    }

    /// Sets new bounds. The limit does not change if it is within the bounds.
    pub(crate) fn set_bounds(&self, min: u32, max: u32) {
        let mut control = self.control.lock();
        control.set_bounds(min, max);
        self.publish(&control);
    }

    /// Discards everything learned so far.
    pub(crate) fn restart(&self, initial: u32, min: u32, max: u32) {
        let mut control = self.control.lock();
        *control = Control::new(initial, min, max);
        self.publish(&control);
        self.until.store(0, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> AdaptiveLimitStats {
        self.control.lock().stats()
    }
}
