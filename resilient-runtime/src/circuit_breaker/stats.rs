//! Statistics of a circuit breaker.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::shared::{SharedState, SharedStats};
use super::state::State;
use super::transition::Inner;
use super::window::{Grade, Window};
use super::{CircuitBreaker, IGNORED, LATE, PROBED, REJECTED};
use crate::last_error::LastError;
use crate::observe::{Describe, Family};
use crate::outage::{OpenReason, Outage};
use crate::ratio::Ratio;
use crate::seconds::{optional_seconds, seconds};

/// A snapshot of a [`CircuitBreaker`]. Times are serialized in seconds.
///
/// ```
/// use resilient_runtime::{Component, Registry, circuit_breaker::State};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.force_open();
/// breaker.call(|| Some(995));
/// let stats = breaker.stats();
/// assert_eq!((stats.state, stats.transitions, stats.rejected), (State::ForcedOpen, 1, 1));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The current state.
    ///
    /// An open circuit whose open period has ended is reported as half-open.
    pub state: State,
    /// Time since the last change of state.
    #[serde(serialize_with = "seconds")]
    pub unchanged_for: Duration,
    /// Why the circuit opened, while it is open, half-open or forced open.
    pub reason: Option<OpenReason>,
    /// The current outage.
    pub outage: Option<Outage>,
    /// The last outage that has ended.
    pub last_outage: Option<Outage>,
    /// The last recorded error whose text is known.
    ///
    /// Annotated functions and pipelines provide the text.
    pub last_error: Option<LastError>,
    /// Remaining time of the open period.
    #[serde(serialize_with = "optional_seconds")]
    pub retry_after: Option<Duration>,
    /// The window of calls that the rules evaluate.
    pub window: WindowStats,
    /// Number of consecutive failed calls.
    pub failures_in_a_row: u32,
    /// The probes of a half-open circuit.
    pub probes: ProbeStats,
    /// The circuit that other instances share. `None` without `store`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedStats>,
    /// Number of changes of state.
    pub transitions: u64,
    /// Number of times that each state was entered.
    pub entered: BTreeMap<State, u64>,
    /// Number of successful calls.
    pub successful: u64,
    /// Number of failed calls.
    pub failed: u64,
    /// Number of slow calls, both successful and failed.
    pub slow: u64,
    /// Number of calls without a result.
    ///
    /// These calls were cancelled, rejected by an inner component, or failed with an ignored error.
    pub ignored: u64,
    /// Number of calls that ended after the state that admitted them.
    ///
    /// The rules do not evaluate them.
    pub late: u64,
    /// Number of rejected calls.
    pub rejected: u64,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::gauge(
            "resilient_circuit_breaker_state",
            "1 for the current state, 0 for the others.",
            |breaker, to| {
                to.by("state", State::ALL.map(|state| (state.as_str(), state == breaker.state)));
            },
        ),
        Family::counter(
            "resilient_circuit_breaker_calls_total",
            "Admitted calls that ended, by result.",
            |breaker, to| {
                to.by(
                    "kind",
                    [
                        ("successful", breaker.successful),
                        ("failed", breaker.failed),
                        ("ignored", breaker.ignored),
                        ("late", breaker.late),
                    ],
                );
            },
        ),
        Family::counter("resilient_circuit_breaker_slow_calls_total", "Slow calls.", |breaker, to| {
            to.add(breaker.slow);
        }),
        Family::counter("resilient_circuit_breaker_rejected_total", "Rejected calls.", |breaker, to| {
            to.add(breaker.rejected);
        }),
        Family::gauge(
            "resilient_circuit_breaker_window_calls",
            "Calls in the window, by kind.",
            |breaker, to| {
                let window = &breaker.window;
                to.by("kind", [("all", window.calls), ("failed", window.failed), ("slow", window.slow)]);
            },
        ),
        Family::gauge(
            "resilient_circuit_breaker_failure_rate",
            "Share of failed calls in the window, from 0 to 1.",
            |breaker, to| to.add(breaker.window.failure_rate.get()),
        ),
        Family::gauge(
            "resilient_circuit_breaker_slow_call_rate",
            "Share of slow calls in the window, from 0 to 1.",
            |breaker, to| to.add(breaker.window.slow_rate.get()),
        ),
        Family::counter(
            "resilient_circuit_breaker_transitions_total",
            "State changes, by the new state.",
            |breaker, to| {
                to.by("to", breaker.entered.iter().map(|(state, entered)| (state.as_str(), *entered)));
            },
        ),
        Family::gauge(
            "resilient_circuit_breaker_shared_state",
            "1 for the state of the circuit that the instances share, 0 for the others.",
            |breaker, to| {
                if let Some(shared) = &breaker.shared {
                    let states = [SharedState::Closed, SharedState::Open, SharedState::HalfOpen];
                    let unknown = ("unknown", shared.state.is_none());
                    to.by("state", states.map(|state| (state.as_str(), shared.state == Some(state))));
                    to.by("state", [unknown]);
                }
            },
        ),
        Family::gauge(
            "resilient_circuit_breaker_shared_votes",
            "Instances whose own circuit is open.",
            |breaker, to| {
                if let Some(shared) = &breaker.shared {
                    to.add(u64::from(shared.votes));
                }
            },
        ),
        Family::gauge(
            "resilient_circuit_breaker_shared_instances",
            "Instances that share the circuit.",
            |breaker, to| {
                if let Some(shared) = &breaker.shared {
                    to.add(u64::from(shared.instances));
                }
            },
        ),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WindowStats { calls, failed, slow, .. } = self.window;
        write!(f, "{}, {failed} failed and {slow} slow of {calls} in the window", self.state)?;
        if let Some(span) = self.retry_after {
            write!(f, ", next probe in {span:.1?}")?;
        }
        if let Some(outage) = &self.outage {
            write!(f, " (opened by: {outage})")?;
        } else if let Some(outage) = &self.last_outage {
            write!(f, " (last outage: {outage})")?;
        }
        if let Some(shared) = &self.shared {
            write!(f, ", shared by {shared}")?;
        }
        write!(f, ", {} rejected", self.rejected)
    }
}

/// The window of a circuit breaker.
///
/// ```
/// use resilient_runtime::{Component, Ratio, Registry};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.call(|| Some(995));
/// breaker.call(|| None::<u32>);
/// let window = breaker.stats().window;
/// assert_eq!((window.calls, window.failed, window.failure_rate), (2, 1, Ratio::HALF));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WindowStats {
    /// Size of the window.
    pub size: Window,
    /// Minimum number of calls in the window before rates are evaluated.
    pub min_calls: u32,
    /// Number of calls in the window.
    pub calls: u64,
    /// Number of failed calls in the window.
    pub failed: u64,
    /// Number of slow calls in the window, whether they failed or not.
    pub slow: u64,
    /// Share of failed calls.
    pub failure_rate: Ratio,
    /// Share of slow calls.
    pub slow_rate: Ratio,
}

/// The probes of a half-open circuit. All zero in other states.
///
/// ```
/// use resilient_runtime::{Component, Registry, circuit_breaker::Config, clock::ManualClock};
///
/// let time = ManualClock::new();
/// let breaker = Registry::with_clock(time.clock()).circuit_breaker("payment");
/// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
/// breaker.call(|| None::<u32>);
/// time.advance(breaker.stats().retry_after.unwrap());
/// let probe = breaker.try_acquire().unwrap();
/// let probes = breaker.stats().probes;
/// assert_eq!((probes.in_flight, probes.successful, probes.failed), (1, 0, 0));
/// # drop(probe);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProbeStats {
    /// Number of probes in flight.
    pub in_flight: u32,
    /// Number of successful probes.
    pub successful: u32,
    /// Number of probes that failed or were slow.
    pub failed: u32,
}

/// Indexed by [`Grade`], then [`IGNORED`], [`REJECTED`] and [`LATE`].
pub(super) type Totals = [u64; PROBED];

impl CircuitBreaker {
    pub(super) fn snapshot(&self) -> Stats {
        let now = self.core.clock().now();
        let config = self.core.config();
        let inner = self.inner.lock();
        let state = self.word().state();
        let left = self.opening.left(now);
        let waits = state == State::Open && left > 0;
        let voted = matches!(state, State::Open | State::HalfOpen)
            && inner.governed.votes(config.poll, inner.probes.in_flight(now), now);
        let content = self.content(now);
        let totals = self.totals(&inner);
        let outages = self.opening.known_outages();
        let (outage, last_outage) = outages.map(|outages| outages.seen(now)).unwrap_or_default();
        let mut snapshot = Stats {
            state: if state == State::Open && !waits { State::HalfOpen } else { state },
            unchanged_for: now.since(inner.since),
            reason: outage.as_ref().map(|outage| outage.reason),
            outage,
            last_outage,
            last_error: outages.and_then(|outages| outages.last_error.get(now)),
            retry_after: waits.then_some(Duration::from_nanos(left)),
            window: WindowStats {
                size: config.window,
                min_calls: config.fewest_calls(),
                calls: content.calls,
                failed: content.failed,
                slow: content.slow,
                failure_rate: content.failure_rate(),
                slow_rate: content.slow_rate(),
            },
            failures_in_a_row: self.row.load(crate::sync::Ordering::Relaxed),
            probes: ProbeStats {
                in_flight: inner.probes.out(),
                successful: inner.probes.good(),
                failed: inner.probes.bad(),
            },
            shared: None,
            transitions: inner.entered().iter().sum(),
            entered: State::ALL.into_iter().zip(inner.entered()).collect(),
            successful: totals[Grade::Good as usize] + totals[Grade::Slow as usize],
            failed: totals[Grade::Failed as usize] + totals[Grade::FailedSlow as usize],
            slow: totals[Grade::Slow as usize] + totals[Grade::FailedSlow as usize],
            ignored: totals[IGNORED],
            late: totals[LATE],
            rejected: totals[REJECTED],
        };
        let is_applied = inner.governed.is_applied();
        drop(inner);
        snapshot.shared = self.shared_stats(voted, is_applied);
        snapshot
    }

    /// Returns the totals since the last reset.
    fn totals(&self, inner: &Inner) -> Totals {
        let mut totals = self.lifetime();
        let since = totals.iter_mut().zip(inner.baseline());
        since.for_each(|(total, before)| *total = total.saturating_sub(before));
        totals
    }

    /// Returns the totals since creation: the counters, the probe results, and the good calls of a count window,
    /// which only the window counts.
    pub(super) fn lifetime(&self) -> Totals {
        let mut totals = std::array::from_fn(|index| self.counters.sum(index));
        for grade in Grade::ALL {
            totals[grade as usize] += self.counters.sum(PROBED + grade as usize);
        }
        totals[Grade::Good as usize] += self.count_window.get().map_or(0, |window| window.good());
        totals
    }
}
