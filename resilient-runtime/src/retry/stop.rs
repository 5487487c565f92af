//! Why a failed call was not repeated.

use std::cell::Cell;
use std::fmt;

use serde::Serialize;

use crate::clock::Instant;
use crate::sync::{AtomicU64, Ordering};

/// Why a failed call was not repeated.
///
/// ```
/// use resilient::{Registry, retry::{self, Stop}};
///
/// let retry = Registry::with_clock(resilient::clock::ManualClock::new().clock()).retry("stock");
/// retry.call(|| None::<u32>);
/// assert_eq!(retry::stopped().unwrap().why, Stop::Exhausted);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stop {
    /// The failure is not worth a retry: another attempt would meet it again, or the call may have had its effect.
    NotRetryable,
    /// All retries were used.
    Exhausted,
    /// A call around it is being repeated already.
    Nested,
    /// The next attempt would not fit the deadline, `max_elapsed` or `max_retry_after`.
    OutOfTime,
    /// An open circuit would refuse the next attempt.
    CircuitOpen,
    /// The budget had no token left.
    Budget,
    /// The pause needs a timer, and there is none here.
    NoTimer,
}

impl Stop {
    /// The name used in spans and JSON.
    ///
    /// ```
    /// assert_eq!(resilient::retry::Stop::OutOfTime.as_str(), "out_of_time");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRetryable => "not_retryable",
            Self::Exhausted => "exhausted",
            Self::Nested => "nested",
            Self::OutOfTime => "out_of_time",
            Self::CircuitOpen => "circuit_open",
            Self::Budget => "budget",
            Self::NoTimer => "no_timer",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRetryable => "the failure is not worth a retry",
            Self::Exhausted => "all retries were used",
            Self::Nested => "a call around it is being repeated",
            Self::OutOfTime => "no time was left for another attempt",
            Self::CircuitOpen => "an open circuit would refuse another attempt",
            Self::Budget => "the retry budget was used up",
            Self::NoTimer => "there is no timer for the pause",
        })
    }
}

/// A call that failed and was not repeated. See [`stopped`].
///
/// ```
/// use resilient::{Registry, retry};
///
/// let retry = Registry::with_clock(resilient::clock::ManualClock::new().clock()).retry("mail");
/// retry.call(|| None::<u32>);
/// assert_eq!(retry::stopped().unwrap().to_string(), "retry `mail`: all retries were used");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stopped {
    /// The name of the retry.
    pub retry: &'static str,
    /// Why it did not repeat the call.
    pub why: Stop,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry `{}`: {}", self.retry, self.why)
    }
}

thread_local! {
    static LAST: Cell<Option<Stopped>> = const { Cell::new(None) };
}

/// Why the call that has just failed was not repeated.
///
/// To be asked by the code that gets the error, before it makes or awaits another call: it is the last failed call with a
/// retry that ended on this thread. A call that succeeds does not change it.
///
/// ```
/// use resilient::{Component, Registry, retry::{self, Config, Stop}};
///
/// let gateway = Registry::with_clock(resilient::clock::ManualClock::new().clock()).retry("gateway");
/// gateway.reconfigure(Config::default().budget_ratio(resilient::Ratio::ZERO).budget_reserve(0)).unwrap();
/// gateway.budget().reset(); // not even what it began with
/// if gateway.call(|| None::<u32>).is_none() {
///     let stopped = retry::stopped().unwrap();
///     assert_eq!((stopped.retry, stopped.why), ("gateway", Stop::Budget));
/// }
/// ```
pub fn stopped() -> Option<Stopped> {
    LAST.try_with(Cell::get).ok().flatten()
}

pub(super) fn note(retry: &'static str, why: Stop) {
    // Where the thread ends, nobody asks any more.
    let _ = LAST.try_with(|last| last.set(Some(Stopped { retry, why })));
}

/// A line of the log that comes once a second at most.
#[derive(Debug)]
pub(super) struct Warning {
    /// In nanoseconds.
    next: AtomicU64,
    /// Since the last one.
    left_out: AtomicU64,
}

impl Default for Warning {
    fn default() -> Self {
        Self { next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }
}

impl Warning {
    /// If it is time for one, how many calls it is about.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        const SECOND: u64 = 1_000_000_000;
        let calls = self.left_out.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let (now, next) = (now.as_nanos(), self.next.load(Ordering::Relaxed));
        // Far in the future: the clock has stepped back.
        let is_due = now >= next || next.saturating_sub(now) > SECOND;
        let claimed = is_due
            && self
                .next
                .compare_exchange(next, now.saturating_add(SECOND), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if claimed {
            self.left_out.store(0, Ordering::Relaxed);
        }
        claimed.then_some(calls)
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_warning_a_second_counts_the_calls_since_the_last_one() {
        let warning = Warning::default();
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        assert_eq!(warning.due(at(5000)), Some(1));
        assert!((0..99).all(|_| warning.due(at(5999)).is_none()));
        assert_eq!(warning.due(at(6000)), Some(100));
        assert_eq!(warning.due(at(1)), Some(1), "the clock has stepped back");
    }
}
