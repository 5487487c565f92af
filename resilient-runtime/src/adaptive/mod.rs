//! Finds out how many calls at once a dependency can take, from how long they take and how they end.
//!
//! The limit wanted is the knee: the concurrency beyond which more calls bring no more throughput, and only wait for
//! each other. By Little's law, at `n` calls in flight that take `r` each, of which `b` is work and the rest is
//! waiting, `n * b / r` of them are worked on. That, and a little more, is the limit:
//!
//! ```text
//! limit = n * min(1.1 * b / r, 1.1) + max(1, sqrt(n) / 2)
//! ```
//!
//! - `r`, the **latency**, is the geometric mean of a window of at least 250 ms, 5 latencies and 50 calls. A call counts
//!   for at most four times and at least a quarter of the mean before: one that hung weighs no more than one that was slow.
//! - `b`, the **baseline**, is what calls take when they do not wait for each other. It follows a lower latency
//!   down. At low demand and at the minimum it follows a higher one slowly; else it rises only by a **probe**: every 2 windows at first, every 32 once probes agree, and at once when the latency
//!   would have the limit cut, the limit is lowered by about a quarter for one window. If the latency falls as the concurrency does, the calls
//!   had waited for each other: the limit comes down. If it does not, the dependency itself has become slower, and what it takes
//!   now is the new baseline. So the limit neither drifts up on its own queue nor falls to the minimum with each slowdown.
//! - The limit only grows while it is in use: while there are more calls in flight than a probe would let in.
//! - More than 5 % **overloaded** calls (told so by the other side, or cut off in spite of having had the usual time)
//!   lower it by their share, at most by half, once a window.
//! - **Failed** calls count when they took at least as long as usual: failing fast is no proof of capacity.
//!
//! A call pays for it with a few additions to counters of its own thread; a window is evaluated by the call that
//! finds it over.
//!
//! What it cannot know: whether a latency that does not depend on the own calls is that of the dependency, or of
//! many other clients waiting there. It takes it for the dependency's. Where many clients share one, let that one say
//! when it is overloaded, and give the limit a maximum.
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
//! - The gradient, and the allowance by which it still grows: Netflix `concurrency-limits` (`Gradient2Limit`,
//!   `VegasLimit`) and Envoy's `gradient_controller`; the estimate by Little's law is Vegas's.
//! - To look at the latency at a lower concurrency every now and then: `ProbeRTT` of BBR (Cardwell et al., ACM Queue
//!   2016), Envoy's minRTT. They go down to almost nothing; here it is a quarter, and the answer is a slope.
//! - That throughput has to follow concurrency: failsafe-go's `adaptivelimiter`, which correlates the two.

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

/// How a call ended, for the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    /// It did what it should; its time counts.
    Success,
    /// It failed; its time counts if it is not less than usual.
    Failed,
    /// It was cut off, by time or by a broken connection; a sign of overload if it had had the usual time.
    CutOff,
    /// The other side has too much to do.
    Overloaded,
    /// No evidence: cancelled, or an answer that has nothing to do with load.
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

/// A limit of concurrency that finds its own value. See the [module](self).
#[derive(Debug)]
pub(crate) struct AdaptiveLimit {
    limit: AtomicU32,
    /// What calls took in the last window, as a [`window::Log`]; 0 if there was none.
    usual: AtomicU64,
    /// When the window is over, in nanoseconds of the clock; 0 before the first sample.
    until: AtomicU64,
    totals: Totals,
    control: Mutex<Control>,
}

impl AdaptiveLimit {
    /// A limit from `min` to `max`, both at least 1, that begins at `initial`.
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

    /// How many calls may be in flight.
    #[inline]
    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Takes note of a call that has ended, with the number in flight before it left. Whether that has changed the limit.
    #[inline]
    pub(crate) fn sample(&self, started: Instant, now: Instant, in_flight: u32, sample: Sample) -> bool {
        if sample == Sample::Ignored {
            return false;
        }
        let took = window::log(now.nanos_since(started));
        // Relaxed, here and below: hints that order nothing.
        let usual = self.usual.load(Ordering::Relaxed);
        match sample {
            Sample::Success => self.totals.measured(took, usual, in_flight),
            Sample::Failed if usual > 0 && took >= usual => self.totals.measured(took, usual, in_flight),
            Sample::Overloaded => self.totals.overloaded(in_flight),
            Sample::CutOff if took >= usual => self.totals.overloaded(in_flight),
            _ => return false,
        }
        // Over, or further away than any window reaches: then the clock went back.
        let left = self.until.load(Ordering::Relaxed).wrapping_sub(now.as_nanos());
        left.wrapping_sub(1) >= LONGEST_NANOS && self.evaluate(now)
    }

    /// The window may be over. Whoever comes while another is at it goes on.
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

    /// Other bounds; the limit is kept as far as they let it.
    pub(crate) fn set_bounds(&self, min: u32, max: u32) {
        let mut control = self.control.lock();
        control.set_bounds(min, max);
        self.publish(&control);
    }

    /// Forgets all it has found out.
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
