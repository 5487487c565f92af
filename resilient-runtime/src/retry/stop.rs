//! The reason why a failed call was not retried.

use std::cell::Cell;
use std::fmt;

use serde::Serialize;

/// Why a failed call was not retried.
///
/// ```
/// use resilient_runtime::{Registry, retry::{self, Stop}};
///
/// let retry = Registry::with_clock(resilient_runtime::clock::ManualClock::new().clock()).retry("stock");
/// retry.call(|| None::<u32>);
/// assert_eq!(retry::stopped().unwrap().why, Stop::Exhausted);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stop {
    /// The failure is not retryable: another attempt would fail in the same way.
    NotRetryable,
    /// It may have had an effect, and the call is not idempotent.
    MayHaveRun,
    /// No retries are left, or retries are disabled.
    Exhausted,
    /// An outer call already retries.
    Nested,
    /// The next attempt would exceed the deadline or `max_elapsed`. In a blocking call also: the hint of a rejection is
    /// longer than the maximum delay.
    OutOfTime,
    /// The server requests a longer wait than `max_retry_after`.
    HintTooLong,
    /// An open circuit would reject the next attempt.
    CircuitOpen,
    /// The retry budget had no token left.
    Budget,
    /// The pause needs a timer, but none is available.
    NoTimer,
}

impl Stop {
    /// Returns the name used in spans and JSON.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::retry::Stop::OutOfTime.as_str(), "out_of_time");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRetryable => "not_retryable",
            Self::MayHaveRun => "may_have_run",
            Self::Exhausted => "exhausted",
            Self::Nested => "nested",
            Self::OutOfTime => "out_of_time",
            Self::HintTooLong => "hint_too_long",
            Self::CircuitOpen => "circuit_open",
            Self::Budget => "budget",
            Self::NoTimer => "no_timer",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRetryable => "the failure is not retryable",
            Self::MayHaveRun => "the attempt may have had an effect, and the call is not idempotent",
            Self::Exhausted => "no retries are left",
            Self::Nested => "an outer call already retries",
            Self::OutOfTime => "no time was left for another attempt",
            Self::HintTooLong => "the server requests a longer wait than `max_retry_after`",
            Self::CircuitOpen => "an open circuit would reject another attempt",
            Self::Budget => "the retry budget was exhausted",
            Self::NoTimer => "no timer is available for the pause",
        })
    }
}

/// A failed call that was not retried. See [`stopped`].
///
/// ```
/// use resilient_runtime::{Registry, retry};
///
/// let retry = Registry::with_clock(resilient_runtime::clock::ManualClock::new().clock()).retry("mail");
/// retry.call(|| None::<u32>);
/// assert_eq!(retry::stopped().unwrap().to_string(), "retry `mail`: no retries are left");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stopped {
    /// The name of the retry.
    pub retry: &'static str,
    /// Why the call was not retried.
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

/// Returns why the call that just failed was not retried.
///
/// Call it in the code that handles the error, before that code makes or awaits another call. It returns the last
/// failed call with a retry that ended on this thread. A successful call does not change it.
///
/// ```
/// use resilient_runtime::{Component, Registry, retry::{self, Config, Stop}};
///
/// let gateway = Registry::with_clock(resilient_runtime::clock::ManualClock::new().clock()).retry("gateway");
/// gateway.reconfigure(Config::default().budget_ratio(resilient_runtime::Ratio::ZERO).budget_reserve(0)).unwrap();
/// gateway.budget().reset(); // removes the initial tokens too
/// if gateway.call(|| None::<u32>).is_none() {
///     let stopped = retry::stopped().unwrap();
///     assert_eq!((stopped.retry, stopped.why), ("gateway", Stop::Budget));
/// }
/// ```
pub fn stopped() -> Option<Stopped> {
    LAST.try_with(Cell::get).ok().flatten()
}

pub(super) fn note(retry: &'static str, why: Stop) {
    // While the thread is being destroyed, no code reads it any more.
    let _ = LAST.try_with(|last| last.set(Some(Stopped { retry, why })));
}
