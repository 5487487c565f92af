//! Why a failed call was not repeated.

use std::cell::Cell;
use std::fmt;

use serde::Serialize;

/// Why a failed call was not repeated.
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
    /// The failure is not worth a retry: another attempt would meet it again, or the call may have had its effect.
    NotRetryable,
    /// It may have had an effect, and the call is not idempotent.
    MayHaveRun,
    /// All retries were used.
    Exhausted,
    /// A call around it is being repeated already.
    Nested,
    /// The next attempt would not fit the deadline, `max_elapsed` or `max_retry_after`.
    OutOfTime,
    /// The server asks for a longer wait than `max_retry_after`.
    HintTooLong,
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
            Self::NotRetryable => "the failure is not worth a retry",
            Self::MayHaveRun => "the attempt may have had an effect, and the call is not idempotent",
            Self::Exhausted => "all retries were used",
            Self::Nested => "a call around it is being repeated",
            Self::OutOfTime => "no time was left for another attempt",
            Self::HintTooLong => "the server asks for a longer wait than `max_retry_after`",
            Self::CircuitOpen => "an open circuit would refuse another attempt",
            Self::Budget => "the retry budget was used up",
            Self::NoTimer => "there is no timer for the pause",
        })
    }
}

/// A call that failed and was not repeated. See [`stopped`].
///
/// ```
/// use resilient_runtime::{Registry, retry};
///
/// let retry = Registry::with_clock(resilient_runtime::clock::ManualClock::new().clock()).retry("mail");
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
/// use resilient_runtime::{Component, Registry, retry::{self, Config, Stop}};
///
/// let gateway = Registry::with_clock(resilient_runtime::clock::ManualClock::new().clock()).retry("gateway");
/// gateway.reconfigure(Config::default().budget_ratio(resilient_runtime::Ratio::ZERO).budget_reserve(0)).unwrap();
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
