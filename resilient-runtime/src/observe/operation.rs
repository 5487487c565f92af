//! Statistics of an operation: an annotated function or a pipeline.

use std::fmt;

use histogram::SparseHistogram;
use serde::Serialize;

use super::{Describe, DurationHistogram, Family, Latencies, LatencyStats, Striped, counts};
use crate::clock::Instant;
use crate::last_error::{Cause, ErrorSlot, LastError};
use crate::ratio::Ratio;
use crate::rejection::Rejection;

/// The outcome of a call. Every call has exactly one.
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

impl Ending {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "success",
            Self::Failed => "error",
            Self::Ignored => "ignored",
            Self::Rejected => "rejected",
            Self::TimedOut => "timeout",
            Self::FellBack => "fallback",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panic",
        }
    }

    /// Returns the outcome of a call that was rejected or timed out.
    pub(crate) fn of(rejection: &Rejection) -> Self {
        #[cfg(feature = "chaos")]
        if rejection.kind() == crate::rejection::RejectionKind::Injected {
            return Self::Failed;
        }
        if rejection.is_timeout() { Self::TimedOut } else { Self::Rejected }
    }
}

const STARTED: usize = 8;
const BUDGET_DENIED: usize = 9;

/// Counts calls by outcome, and records their durations.
#[derive(Debug)]
pub(crate) struct Operation {
    name: &'static str,
    /// Calls by [`Ending`], then calls started, then calls denied by a budget. A stripe takes two cache lines.
    calls: Striped<10>,
    latencies: Latencies,
    /// Durations of failed calls, separate because fast failures would hide the latency of successes.
    error_latencies: Latencies,
    last_error: ErrorSlot,
    #[cfg(feature = "chaos")]
    faults: super::injected::Injected,
    #[cfg(feature = "chaos")]
    injected_calls: super::injected::InjectedCalls,
}

impl Operation {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            calls: Striped::new(),
            latencies: Latencies::new(),
            error_latencies: Latencies::new(),
            last_error: ErrorSlot::default(),
            #[cfg(feature = "chaos")]
            faults: super::injected::Injected::default(),
            #[cfg(feature = "chaos")]
            injected_calls: super::injected::InjectedCalls::default(),
        }
    }

    /// Records the error of a failed attempt.
    pub(crate) fn failed_with(&self, cause: Cause<'_>, now: Instant) {
        self.last_error.set(cause, now);
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Counts a call. Returns for how many calls its duration counts if no stage needs the time, or 0 if it is not
    /// measured.
    #[inline]
    pub(crate) fn started(&self) -> u8 {
        sample(self.calls.fetch_add(STARTED))
    }

    #[inline]
    pub(crate) fn ended(&self, ending: Ending) {
        self.calls.add(ending as usize);
    }

    /// Counts an attempt that a fault affected.
    #[cfg(feature = "chaos")]
    #[cold]
    pub(crate) fn injected(&self, kind: super::FaultKind) {
        self.faults.count(kind);
    }

    /// Counts a call that a fault affected, besides [`ended`](Self::ended). `latency` is its duration in nanoseconds and
    /// the number of calls for which it counts.
    #[cfg(feature = "chaos")]
    #[cold]
    pub(crate) fn injected_call(&self, ending: Ending, latency: Option<(u64, u64)>) {
        let returned = matches!(ending, Ending::Succeeded | Ending::Ignored | Ending::FellBack);
        self.injected_calls.add(ending as usize, latency.filter(|_| returned));
    }

    /// Returns the statistics without the calls that faults affected.
    #[cfg(feature = "chaos")]
    pub(crate) fn stats_without_injected(&self, now: Instant) -> OperationStats {
        // First, so that a call that ends in between counts rather than being subtracted twice.
        let injected = self.injected_calls.read(now);
        let mut stats = self.stats(now);
        let Some((ended, durations)) = injected else { return stats };
        stats.calls = stats.calls.saturating_sub(ended.iter().sum());
        let of = |ending: Ending| ended[ending as usize];
        for (count, ending) in [
            (&mut stats.succeeded, Ending::Succeeded),
            (&mut stats.failed, Ending::Failed),
            (&mut stats.ignored, Ending::Ignored),
            (&mut stats.rejected, Ending::Rejected),
            (&mut stats.timed_out, Ending::TimedOut),
            (&mut stats.fell_back, Ending::FellBack),
            (&mut stats.cancelled, Ending::Cancelled),
            (&mut stats.panicked, Ending::Panicked),
        ] {
            *count = count.saturating_sub(of(ending));
        }
        if let (Some(all), Some(durations)) = (self.latencies.minute(now), durations) {
            // The windows begin at different reads, so that one can have calls that the other does not have.
            stats.latency = LatencyStats::of(&all.checked_sub(&durations).unwrap_or(all));
        }
        stats
    }

    /// Counts a failed call that was not retried because the retry budget was exhausted.
    #[cold]
    pub(crate) fn budget_denied(&self) {
        self.calls.add(BUDGET_DENIED);
    }

    /// Records the duration of a call that counts for `calls` calls.
    #[inline]
    pub(crate) fn took(&self, nanos: u64, ending: Ending, calls: u8) {
        let calls = u64::from(calls);
        match ending {
            Ending::Succeeded | Ending::Ignored | Ending::FellBack => {
                self.latencies.record_for(nanos, calls);
            }
            Ending::Failed | Ending::Rejected | Ending::TimedOut | Ending::Panicked => {
                self.error_latencies.record_for(nanos, calls);
            }
            // The duration depends only on when the caller gave up.
            Ending::Cancelled => {}
        }
    }

    pub(crate) fn stats(&self, now: Instant) -> OperationStats {
        self.stats_into(now, &mut Total::default())
    }

    /// Returns the statistics, and adds them to the total.
    pub(crate) fn stats_into(&self, now: Instant, total: &mut Total) -> OperationStats {
        // Read the outcomes first: a call that ends in between is then counted as in flight, never twice.
        let [
            succeeded,
            failed,
            ignored,
            rejected,
            timed_out,
            fell_back,
            cancelled,
            panicked,
            _,
            budget_denied,
        ] = self.calls.sums();
        let calls = self.calls.sum(STARTED);
        let ended = succeeded + failed + ignored + rejected + timed_out + fell_back + cancelled + panicked;
        let times = [self.latencies.minute(now), self.error_latencies.minute(now)];
        let [latency, error_latency] =
            times.each_ref().map(|times| times.as_ref().map(LatencyStats::of).unwrap_or_default());
        let stats = OperationStats {
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
            budget_denied,
            latency,
            error_latency,
            saturation: Ratio::ZERO,
            last_error: self.last_error.get(now),
            #[cfg(feature = "chaos")]
            injected: self.faults.counts(),
            durations: self.latencies.durations(),
            error_durations: self.error_latencies.durations(),
        };
        total.add(&stats, times);
        stats
    }
}

/// The sum of several operations.
#[derive(Debug, Default)]
pub(crate) struct Total {
    stats: OperationStats,
    times: [Option<SparseHistogram>; 2],
}

impl Total {
    fn add(&mut self, one: &OperationStats, times: [Option<SparseHistogram>; 2]) {
        let all = &mut self.stats;
        all.calls += one.calls;
        all.in_flight += one.in_flight;
        all.succeeded += one.succeeded;
        all.failed += one.failed;
        all.ignored += one.ignored;
        all.rejected += one.rejected;
        all.timed_out += one.timed_out;
        all.fell_back += one.fell_back;
        all.cancelled += one.cancelled;
        all.panicked += one.panicked;
        all.durations += one.durations;
        all.error_durations += one.error_durations;
        let newer = |last: &LastError| all.last_error.as_ref().is_none_or(|known| last.age < known.age);
        if let Some(last) = one.last_error.as_ref().filter(|last| newer(last)) {
            all.last_error = Some(last.clone());
        }
        all.budget_denied += one.budget_denied;
        #[cfg(feature = "chaos")]
        for (kind, count) in &one.injected {
            *all.injected.entry(*kind).or_default() += count;
        }
        for (all, one) in self.times.iter_mut().zip(times) {
            let Some(one) = one else { continue };
            // All histograms have the same buckets, so they can be added.
            *all = match all.take() {
                Some(sum) => sum.checked_add(&one).ok().or(Some(sum)),
                None => Some(one),
            };
        }
    }

    pub(crate) fn stats(self, saturation: Ratio) -> OperationStats {
        let [latency, error_latency] =
            self.times.each_ref().map(|times| times.as_ref().map(LatencyStats::of).unwrap_or_default());
        OperationStats { latency, error_latency, saturation, ..self.stats }
    }
}

/// The number of calls measured at first if no stage needs the time. After that, one in eight is measured.
const FIRST: u64 = 1024;

/// Returns for how many calls the duration of this call counts: itself and the calls before it that were not
/// measured.
#[inline]
fn sample(number: u64) -> u8 {
    if number < FIRST {
        1
    } else if is_sampled(number) {
        counts_for(number)
    } else {
        0
    }
}

/// Selects one call in eight. Not every eighth call, which could always hit the same kind of call: the multiples of
/// the golden ratio are distributed evenly over even and odd numbers alike (Weyl's theorem).
#[inline]
fn is_sampled(number: u64) -> bool {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    number.wrapping_mul(GOLDEN) < u64::MAX / 8
}

/// Returns the distance to the previous sampled call: 5, 8 or 13 (the three-gap theorem).
#[inline(never)]
fn counts_for(number: u64) -> u8 {
    const GAPS: [u8; 3] = [5, 8, 13];
    let is_gap = |gap: &u8| {
        let before = number.wrapping_sub((*gap).into());
        before < FIRST || is_sampled(before)
    };
    let gap = GAPS.into_iter().find(is_gap).unwrap_or(GAPS[2]);
    // The first `FIRST` calls count for themselves.
    u8::try_from(number - FIRST + 1).map_or(gap, |since| gap.min(since))
}

/// Statistics of an operation.
///
/// `calls` is the sum of `in_flight` and all outcomes.
///
/// ```
/// use resilient_runtime::Registry;
///
/// let pipeline = Registry::new().pipeline("order").build();
/// pipeline.call(|| Some(pipeline.stats().in_flight));
/// let stats = pipeline.stats();
/// assert_eq!((stats.calls, stats.in_flight, stats.succeeded, stats.panicked), (1, 0, 1, 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OperationStats {
    /// The number of calls started.
    pub calls: u64,
    /// The number of calls that have not ended yet.
    pub in_flight: u64,
    /// The number of calls that succeeded, on any attempt.
    pub succeeded: u64,
    /// The number of calls whose attempts all failed.
    pub failed: u64,
    /// The number of calls that ended in an ignored error, such as one of the caller.
    pub ignored: u64,
    /// The number of calls rejected by a component.
    pub rejected: u64,
    /// The number of calls that timed out.
    pub timed_out: u64,
    /// The number of calls served by a fallback.
    pub fell_back: u64,
    /// The number of calls whose future was dropped.
    pub cancelled: u64,
    /// The number of calls that panicked.
    pub panicked: u64,
    /// The number of calls that were not retried because the retry budget was exhausted.
    ///
    /// These calls are also counted by outcome.
    pub budget_denied: u64,
    /// The latency of calls that returned a result.
    pub latency: LatencyStats,
    /// The latency of calls that failed, timed out, panicked, or waited and were rejected.
    pub error_latency: LatencyStats,
    /// The highest saturation of its bulkhead, load shedder and rate limiter.
    ///
    /// It is 0 without such components.
    pub saturation: Ratio,
    /// The error of the last failed attempt, even if it was retried.
    pub last_error: Option<LastError>,
    /// How often faults were injected into its attempts, by kind of fault.
    #[cfg(feature = "chaos")]
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub injected: std::collections::BTreeMap<super::FaultKind, u64>,
    /// The histogram of `latency` since the start. Not serialized.
    #[serde(skip)]
    pub durations: DurationHistogram,
    /// The histogram of `error_latency` since the start. Not serialized.
    #[serde(skip)]
    pub error_durations: DurationHistogram,
}

impl Describe for OperationStats {
    const LABEL: &str = "operation";
    const METRICS: &[Family<Self>] = &[
        Family::counter("resilient_calls_total", "Number of calls by outcome.", |op, to| {
            let endings = [
                (Ending::Succeeded, op.succeeded),
                (Ending::Failed, op.failed),
                (Ending::Ignored, op.ignored),
                (Ending::Rejected, op.rejected),
                (Ending::TimedOut, op.timed_out),
                (Ending::FellBack, op.fell_back),
                (Ending::Cancelled, op.cancelled),
                (Ending::Panicked, op.panicked),
            ];
            to.by("outcome", endings.map(|(ending, calls)| (ending.as_str(), calls)));
        }),
        Family::gauge("resilient_calls_in_flight", "Number of calls in flight.", |op, to| {
            to.add(op.in_flight);
        }),
        #[cfg(feature = "chaos")]
        Family::counter(
            "resilient_chaos_injected_total",
            "Number of faults injected into attempts, by kind of fault.",
            |op, to| to.by("fault", op.injected.iter().map(|(kind, count)| (kind.as_str(), *count))),
        ),
        Family::gauge(
            "resilient_saturation",
            "Highest saturation of the operation's components, from 0 to 1.",
            |op, to| to.add(op.saturation.get()),
        ),
        Family::histogram(
            "resilient_call_duration_seconds",
            "Duration of calls. If no stage needs the time, the first thousand calls and then one in eight are measured.",
            |op, to| {
                to.durations("outcome", "success", &op.durations);
                to.durations("outcome", "error", &op.error_durations);
            },
        ),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls", self.calls)?;
        let endings = [
            ("in flight", self.in_flight),
            ("succeeded", self.succeeded),
            ("failed", self.failed),
            ("ignored", self.ignored),
            ("rejected", self.rejected),
            ("timed out", self.timed_out),
            ("fell back", self.fell_back),
            ("cancelled", self.cancelled),
            ("panicked", self.panicked),
        ];
        counts(f, "\n    ", &endings, |f, ending, count| write!(f, "{ending:<10} {count}"))?;
        if self.calls > 0 {
            let LatencyStats { p50, p95, p99, p999, .. } = self.latency;
            write!(f, "\n    latency    p50 {p50:.1?}  p95 {p95:.1?}  p99 {p99:.1?}  p99.9 {p999:.1?}")?;
        }
        if let Some(LastError { text, age, attempt, .. }) = &self.last_error {
            write!(f, "\n    last error {text} (attempt {attempt}, {age:.1?} ago)")?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_of_the_calls_is_measured_whatever_their_period() {
        for step in [1, 2, 3, 7, 8, 16, 100] {
            let timed = (1_u64..=10_000).filter(|call| sample(2000 + call * step) > 0).count();
            assert!((1200..=1300).contains(&timed), "{timed} of 10 000 with every {step}th");
        }
        assert!((0..FIRST).all(|call| sample(call) == 1));
    }

    #[test]
    fn the_measured_calls_count_for_all_calls_before_them() {
        let mut counted = 0;
        for call in 0..1_000_000_u64 {
            let count = sample(call);
            counted += u64::from(count);
            assert!(count == 0 || counted == call + 1, "{counted} after {call}");
            assert!(call + 1 - counted < 13, "{counted} after {call}");
        }
    }
}
