//! Circuit breaker: stops calls to a failing dependency until it recovers.
//!
//! ```text
//!            too many failed or slow               open period over
//!  closed ───────────────────────────▶ open ───────────────────────────▶ half-open
//!    ▲                                  ▲                                   │  │
//!    │                                  └───────── probes failed ───────────┘  │
//!    └──────────────────────────────── probes succeeded ───────────────────────┘
//! ```
//!
//! **Closed.** Calls pass. After each failed or slow call, the circuit opens if
//! - the `window` holds at least `min_calls` calls and at least `failure_rate` of them failed (a slow call counts as
//!   failed, unless `slow_rate` is set), or
//! - the window holds fewer calls and the last `low_volume_failures` calls all failed, or
//! - `failure_threshold` is set and the last `failure_threshold` calls all failed.
//!
//! A limit is reached when the value is equal or greater. `failure_threshold`, `success_threshold` and `open_for`
//! alone make the classic circuit breaker: if `failure_threshold` is set and `failure_rate` is not, only consecutive
//! failures count.
//!
//! **Open.** Calls are rejected at once. The rejection contains the reason, and the remaining time as `retry_after`.
//! The open period starts at `open_for` and doubles each time the probes fail, up to `open_max`. A random share of it
//! (`open_jitter`) is subtracted, so that the instances of a service do not probe at the same time. If the dependency
//! returns a longer `retry_after`, that value is used, up to 1 h, plus the same random share.
//!
//! **Half-open.** At most `half_open_calls` probes pass, and all other calls are rejected at once. By default
//! `failure_rate` decides as soon as the outcome is certain. If `success_threshold` is set, that many successes close
//! the circuit and one failure reopens it. A slow probe counts as failed. A probe without a result (cancelled,
//! rejected by an inner component, or an ignored error) releases its slot for another probe. The slot of a probe that
//! never ends is released after `probe_lease`.
//!
//! A result counts only in the period that admitted the call. A result that arrives after the state has changed is
//! counted as late and does not affect the state.
//!
//! ```
//! use std::time::Duration;
//! use resilient_runtime::{Component, Registry, Rejection, circuit_breaker::State, clock::ManualClock};
//!
//! let time = ManualClock::new();
//! let breaker = Registry::with_clock(time.clock()).circuit_breaker("payment");
//! breaker.reconfigure(breaker.config().as_ref().clone().failure_threshold(2)).unwrap();
//!
//! let charge = |answer: Result<u32, std::io::Error>| breaker.call(|| answer);
//! for _ in 0..2 {
//!     charge(Err(std::io::ErrorKind::ConnectionRefused.into())).unwrap_err();
//! }
//! assert_eq!(breaker.state(), State::Open);
//! assert!(charge(Ok(1)).unwrap_err().to_string().contains("2 failures in a row"));
//!
//! time.advance(Duration::from_secs(5));
//! assert_eq!(breaker.state(), State::HalfOpen);
//! assert_eq!((charge(Ok(1)).unwrap(), charge(Ok(2)).unwrap()), (1, 2));
//! assert_eq!(breaker.state(), State::Closed);
//! ```
//!
//! The pattern comes from Michael Nygard (*Release It!*, 2007). The sliding windows and slow calls come from
//! resilience4j. This implementation evaluates the rules only after failed or slow calls, and takes no lock on the
//! success path.

mod config;
mod control;
mod half_open;
mod in_flight;
mod opening;
mod permit;
mod rules;
pub mod shared;
mod state;
mod stats;
mod transition;
mod window;

use std::sync::OnceLock;
use std::time::Duration;

pub use crate::outage::{LastProbe, Outage};
pub use config::{Config, Coordinate};
pub use permit::Permit;
pub use state::State;
pub(crate) use state::Ticket;
pub use stats::{ProbeStats, Stats, WindowStats};
pub use window::Window;

use crate::classify::{Class, Verdict};
use crate::clock::Instant;
use crate::component::Core;
use crate::last_error::Cause;
use crate::observe::Striped;
use crate::rejection::Rejection;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, fence};
use opening::Opening;
use rules::Rules;
use shared::{Coordination, Home};
use state::{NO_LEASE, Word};
use transition::Inner;
use window::{Content, CountWindow, Grade, TimeWindow};

/// Stops calls to a failing dependency. See the [module](self).
///
/// New settings keep the state, the window, the probes and the current open period. A change between a time window
/// and a count window starts with an empty window.
///
/// ```
/// use resilient_runtime::{CircuitBreaker, circuit_breaker::{Config, State}};
///
/// let breaker = CircuitBreaker::new(Config::default().failure_threshold(1))?;
/// assert_eq!(breaker.call(|| None::<u32>), None);
/// assert_eq!(breaker.state(), State::Open);
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct CircuitBreaker {
    core: Core<Config>,
    /// Disabled in the settings.
    is_off: AtomicBool,
    /// The bits of a [`Word`]. Written with the lock held.
    word: AtomicU64,
    /// Number of consecutive bad calls.
    row: AtomicU32,
    rules: Rules,
    opening: Opening,
    /// The counters of the window, by [`Grade`], then those below. Never reset.
    counters: Striped<11>,
    time_window: TimeWindow,
    count_window: OnceLock<Box<CountWindow>>,
    inner: Mutex<Inner>,
    home: Home,
    coordination: OnceLock<Box<Coordination>>,
}

const IGNORED: usize = 4;
const REJECTED: usize = 5;
const LATE: usize = 6;
/// The first of four counters, by [`Grade`]. Probe results are not part of the window.
const PROBED: usize = 7;

impl CircuitBreaker {
    #[inline]
    fn word(&self) -> Word {
        // Acquire: a thread that reads a state also reads the window, the gate and the reason that belong to it.
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    /// Whether a success in the closed circuit needs the time.
    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        !self.rules.counts_calls() || self.rules.times_calls()
    }

    /// Admits or rejects a call. Reads the clock only if needed.
    #[inline]
    pub(crate) fn admit(&self, now: impl FnOnce() -> Instant) -> Result<Ticket, Rejection> {
        let word = self.word();
        if word.is_plainly_closed() {
            return Ok(word.ticket(NO_LEASE));
        }
        self.admit_otherwise(word, now)
    }

    /// Admits a call if the circuit is closed and not watched. Does not count a rejection.
    #[inline]
    pub(crate) fn admit_plainly(&self) -> Option<Ticket> {
        let word = self.word();
        word.is_plainly_closed().then(|| word.ticket(NO_LEASE))
    }

    #[cold]
    #[inline(never)]
    fn admit_otherwise(&self, word: Word, now: impl FnOnce() -> Instant) -> Result<Ticket, Rejection> {
        let state = word.state();
        match state {
            State::ForcedClosed | State::Disabled => Ok(word.ticket(NO_LEASE)),
            State::Closed => self.admit_locked(now()),
            // Event listeners must receive rejections in order with the state changes, so they are made under the
            // lock.
            _ if word.is_changing() || self.core.events().are_wanted() => self.admit_locked(now()),
            State::ForcedOpen => Err(self.refuse_forced()),
            State::Open | State::HalfOpen => {
                let now = now();
                match self.refused_for(now) {
                    Some(left) => self.refuse_as(word, left, now),
                    None => self.admit_locked(now),
                }
            }
        }
    }

    /// Returns how long no call can be admitted, as far as this is known without the lock.
    #[inline]
    fn refused_for(&self, now: Instant) -> Option<u64> {
        let left = self.opening.left(now);
        // Longer than the whole period: the clock stepped back, and the gate must be set again (T10).
        (left > 0 && left <= self.opening.span()).then_some(left)
    }

    /// Rejects a call in this state, if it is still the current state.
    ///
    /// If the state has changed, the gate and the reason might belong to different states.
    #[inline]
    fn refuse_as(&self, word: Word, left: u64, now: Instant) -> Result<Ticket, Rejection> {
        let (reason, outage) = (self.opening.reason(), self.opening.met(now));
        if self.word() != word {
            return self.admit_locked(now);
        }
        let retry_after = (word.state() == State::Open).then_some(Duration::from_nanos(left));
        Err(self.refuse(retry_after, reason, outage))
    }

    /// Ends an admitted call.
    ///
    /// A verdict of `None` is not counted as success or failure: the call was cancelled, rejected by an inner
    /// component, or did not run. `error` is the text of a failure. The time from `started` to `ended` is compared
    /// with `slow_call`.
    #[inline]
    pub(crate) fn settle(
        &self,
        ticket: Ticket,
        verdict: Option<Verdict>,
        error: Option<Cause<'_>>,
        started: Instant,
        ended: impl FnOnce() -> Instant,
    ) {
        match verdict {
            Some(Verdict::Success) => self.settle_success(ticket, started, ended),
            _ => self.settle_otherwise(ticket, verdict, error, started, ended()),
        }
    }

    #[allow(clippy::inline_always)] // saves 30 instructions
    #[inline(always)]
    fn settle_success(&self, ticket: Ticket, started: Instant, ended: impl FnOnce() -> Instant) {
        // The call is not watched and not a probe, and its epoch is current.
        if ticket.word.is_plainly_closed() && ticket.word == self.word() {
            self.succeeded(ticket, started, ended);
        } else {
            self.settle_otherwise(ticket, Some(Verdict::Success), None, started, ended());
        }
    }

    #[allow(clippy::inline_always)] // see `settle_success`
    #[inline(always)]
    fn succeeded(&self, ticket: Ticket, started: Instant, ended: impl FnOnce() -> Instant) {
        match self.calls_window() {
            Some(window) if !self.rules.times_calls() => window.record(Grade::Good),
            window => {
                let ended = ended();
                if self.rules.is_slow(ended.nanos_since(started)) {
                    return self.record(ticket, Grade::Slow, None, None, ended);
                }
                self.count(window, Grade::Good, ended);
            }
        }
        self.end_row();
    }

    #[inline]
    fn count(&self, window: Option<&CountWindow>, grade: Grade, now: Instant) {
        if let Some(window) = window {
            window.record(grade);
            if grade == Grade::Good {
                // The window already counts it.
                return;
            }
        } else {
            self.time_window.touch(now, &self.counters);
        }
        self.counters.add(grade as usize);
    }

    #[inline]
    fn end_row(&self) {
        // Written only if there is something to reset, so that the cache line stays shared among cores.
        if self.row.load(Ordering::Relaxed) != 0 {
            self.row.store(0, Ordering::Relaxed);
        }
    }

    #[inline]
    fn calls_window(&self) -> Option<&CountWindow> {
        if self.rules.counts_calls() { self.count_window.get().map(Box::as_ref) } else { None }
    }

    #[cold]
    fn settle_otherwise(
        &self,
        ticket: Ticket,
        verdict: Option<Verdict>,
        error: Option<Cause<'_>>,
        started: Instant,
        ended: Instant,
    ) {
        if ticket.state() == State::Disabled {
            return;
        }
        let (failed, hint) = match verdict {
            Some(Verdict::Success) => (false, None),
            None | Some(Verdict::Failure(Class::Ignored | Class::NotExecuted { .. })) => {
                return self.settle_neutral(ticket, ended);
            }
            Some(Verdict::Failure(class)) => (true, class.retry_after()),
        };
        let grade = Grade::of(failed, self.rules.is_slow(ended.nanos_since(started)));
        if let Some(error) = error {
            self.opening.outages().last_error.set(error, ended);
        }
        if ticket.state() == State::HalfOpen {
            return self.settle_probe(ticket, grade, hint, error, ended);
        }
        self.stop_watching(ticket);
        if ticket.is_of(self.word().epoch()) {
            self.record(ticket, grade, hint, error, ended);
        } else {
            self.counters.add(LATE);
        }
    }

    /// Whether a call that started at `started` and ends now is slow.
    pub(crate) fn is_slow(&self, started: Instant, now: Instant) -> bool {
        self.rules.is_slow(now.nanos_since(started))
    }

    fn settle_neutral(&self, ticket: Ticket, now: Instant) {
        if ticket.state() == State::HalfOpen {
            self.return_probe(ticket, now);
        } else {
            self.stop_watching(ticket);
            let in_time = ticket.is_of(self.word().epoch());
            self.counters.add(if in_time { IGNORED } else { LATE });
        }
    }

    /// The call has a result but continues, so it is not hanging. A probe keeps its slot.
    pub(crate) fn answered(&self, ticket: &mut Ticket) {
        if ticket.state() != State::HalfOpen {
            self.stop_watching(*ticket);
            ticket.lease = NO_LEASE;
        }
    }

    fn stop_watching(&self, ticket: Ticket) {
        if ticket.lease != NO_LEASE {
            self.inner.lock().in_flight.end(ticket.lease);
        }
    }

    /// Counts a call of the current epoch, and opens the circuit if a limit is reached.
    fn record(
        &self,
        ticket: Ticket,
        grade: Grade,
        hint: Option<Duration>,
        error: Option<Cause<'_>>,
        now: Instant,
    ) {
        self.count(self.calls_window(), grade, now);
        if ticket.state() != State::Closed {
            return;
        }
        let row = if self.rules.is_bad(grade) {
            self.row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
        } else {
            self.end_row();
            0
        };
        if grade == Grade::Good {
            return;
        }
        // If two concurrent failures reach a limit only together, at least one of them must read both: each counts
        // before it reads. Without the fence each could read before its own count is visible.
        fence(Ordering::SeqCst);
        if let Some(reason) = self.rules.judge(row, || self.content(now)) {
            self.open(ticket, reason, hint, error, now);
        }
    }

    fn content(&self, now: Instant) -> Content {
        match self.calls_window() {
            Some(window) => window.content(),
            None => self.time_window.content(now, &self.counters),
        }
    }

    /// Whether a call would be rejected now. Does not change the state.
    pub(crate) fn would_refuse(&self, now: Instant) -> bool {
        match self.word().state() {
            State::Closed | State::ForcedClosed | State::Disabled => false,
            State::ForcedOpen => true,
            State::Open => self.opening.left(now) > 0,
            State::HalfOpen => self.refused_for(now).is_some(),
        }
    }

    /// Returns the current state.
    ///
    /// An open circuit whose open period has ended is reported as half-open, even before the first probe.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, circuit_breaker::{Config, State}, clock::ManualClock};
    /// # let time = ManualClock::new();
    /// # let breaker = Registry::with_clock(time.clock()).circuit_breaker("rates");
    /// let config = Config::default().failure_threshold(1).open_for(std::time::Duration::from_secs(9));
    /// breaker.reconfigure(config).unwrap();
    /// breaker.call(|| None::<u32>);
    /// assert_eq!(breaker.state(), State::Open);
    /// time.advance(breaker.stats().retry_after.unwrap());
    /// assert_eq!(breaker.state(), State::HalfOpen);
    /// ```
    pub fn state(&self) -> State {
        let state = self.word().state();
        // T24
        if state == State::Open && self.opening.left(self.core.clock().now()) == 0 {
            return State::HalfOpen;
        }
        state
    }
}

#[cfg(all(test, resilient_loom))]
mod loom_models;
#[cfg(all(test, not(resilient_loom)))]
mod model_tests;
#[cfg(all(test, not(resilient_loom)))]
mod tests;
