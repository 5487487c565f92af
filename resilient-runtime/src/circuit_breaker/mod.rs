//! Stops calling what does not answer, and finds out gently when it does again.
//!
//! ```text
//!            too many failed or slow               open period over
//!  closed ───────────────────────────▶ open ───────────────────────────▶ half-open
//!    ▲                                  ▲                                   │  │
//!    │                                  └───────── probes failed ───────────┘  │
//!    └──────────────────────────────── probes succeeded ───────────────────────┘
//! ```
//!
//! **Closed.** Calls pass. When one has failed or was slow, the circuit opens if
//! - at least `failure_rate` of the calls in the `window` failed, and the window holds `min_calls`
//!   (a slow call counts as failed, unless `slow_rate` judges slowness separately), or
//! - the window holds fewer, and the last `low_volume_failures` calls all failed, or
//! - the last `failure_threshold` calls all failed, where that is given.
//!
//! All limits are reached by "at least". `failure_threshold`, `success_threshold` and `open_for` alone make
//! the classic circuit breaker: where `failure_threshold` is given and `failure_rate` is not, only the row
//! of failures counts.
//!
//! **Open.** Calls are refused at once, with the time that is left as `retry_after`, and with the reason.
//! The open period is `open_for`, twice as long each time the probes fail, up to `open_max`; a part of it
//! (`open_jitter`) is left to chance, so that the instances of a service do not probe in step. A longer
//! `retry_after` of the dependency wins, up to 1 h, and is spread by the same chance.
//!
//! **Half-open.** At most `half_open_calls` probes pass, everybody else is refused at once. Either they are
//! judged by `failure_rate` as soon as the outcome is certain, or, where `success_threshold` is given, so
//! many successes close the circuit and one failure opens it again. A probe that was slow has failed. A
//! probe that says nothing (cancelled, refused further in, an ignored error) makes place for another; one
//! that is lost does so when its `probe_lease` is over.
//!
//! A result counts only in the period that admitted the call: what comes late from before the last change
//! of state is counted as late, and decides nothing.
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
//! The pattern is Michael Nygard's (*Release It!*, 2007); the sliding windows and the slow calls are those
//! of resilience4j; the evaluation on failures only, and the success path without a lock, are our own.

mod config;
mod control;
mod half_open;
mod in_flight;
mod opening;
mod permit;
mod rules;
mod state;
mod stats;
mod transition;
mod window;

use std::sync::OnceLock;
use std::time::Duration;

pub use crate::outage::{LastProbe, Outage};
pub use config::Config;
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
use state::{NO_LEASE, Word};
use transition::Inner;
use window::{Content, CountWindow, Grade, TimeWindow};

/// Stops calls to what does not answer. See the [module](self).
///
/// New settings keep the state, the window, the probes and the running open period; only a change between a window of time
/// and one of calls begins with an empty window.
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
    /// Switched off by its settings.
    is_off: AtomicBool,
    /// The bits of a [`Word`]; written under the lock.
    word: AtomicU64,
    /// Bad calls in a row.
    row: AtomicU32,
    rules: Rules,
    opening: Opening,
    /// First those of the window, by [`Grade`], then those below. Never reset.
    counters: Striped<11>,
    time_window: TimeWindow,
    count_window: OnceLock<Box<CountWindow>>,
    inner: Mutex<Inner>,
}

const IGNORED: usize = 4;
const REJECTED: usize = 5;
const LATE: usize = 6;
/// The first of four, by [`Grade`]: results of probes are no part of the window.
const PROBED: usize = 7;

impl CircuitBreaker {
    #[inline]
    fn word(&self) -> Word {
        // Acquire: with a state one sees the window, the gate and the reason that belong to it.
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    /// Whether a success in the closed circuit is a matter of time.
    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        !self.rules.counts_calls() || self.rules.times_calls()
    }

    /// Lets a call pass or refuses it. The clock is read only if it matters.
    #[inline]
    pub(crate) fn admit(&self, now: impl FnOnce() -> Instant) -> Result<Ticket, Rejection> {
        let word = self.word();
        if word.is_plainly_closed() {
            return Ok(word.ticket(NO_LEASE));
        }
        self.admit_otherwise(word, now)
    }

    /// Lets a call pass if the circuit is closed and nothing is to be watched; counts nothing.
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
            // Who is told of refusals is told in the order of the changes of state, which the lock has.
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

    /// How long nobody can be admitted, as far as can be told without the lock.
    #[inline]
    fn refused_for(&self, now: Instant) -> Option<u64> {
        let left = self.opening.left(now);
        // Longer than it ever was: the clock went back, and the gate must be set anew (T10).
        (left > 0 && left <= self.opening.span()).then_some(left)
    }

    /// Refuses a call that found this state, if it still is the state: else what was read of the gate and
    /// the reason may belong to two of them.
    #[inline]
    fn refuse_as(&self, word: Word, left: u64, now: Instant) -> Result<Ticket, Rejection> {
        let (reason, outage) = (self.opening.reason(), self.opening.met(now));
        if self.word() != word {
            return self.admit_locked(now);
        }
        let retry_after = (word.state() == State::Open).then_some(Duration::from_nanos(left));
        Err(self.refuse(retry_after, reason, outage))
    }

    /// The end of an admitted call. `None` is no evidence at all: cancelled, refused further in, or never
    /// executed. `error` is the text of a failure; `started` and `ended` are compared with `slow_call`.
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

    #[allow(clippy::inline_always)] // not inlined, it costs 30 more instructions
    #[inline(always)]
    fn settle_success(&self, ticket: Ticket, started: Instant, ended: impl FnOnce() -> Instant) {
        // Neither watched nor a probe, and still in its epoch.
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
                // Known from the window.
                return;
            }
        } else {
            self.time_window.touch(now, &self.counters);
        }
        self.counters.add(grade as usize);
    }

    #[inline]
    fn end_row(&self) {
        // Written only if there is something to end, so that the line stays shared among the cores.
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

    /// Whether a call is slow that began at `started` and ends now.
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

    /// The call has its answer, and goes on: it does not hang. A probe keeps its place.
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

    /// Counts a call of the present epoch, and opens the circuit if it was the one too many.
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
        // Of two failures at once that are enough together, one at least sees the other: each has counted before
        // it looks. Without this each could look before its own count is seen.
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

    /// Whether a call would be refused now. Changes nothing.
    pub(crate) fn would_refuse(&self, now: Instant) -> bool {
        match self.word().state() {
            State::Closed | State::ForcedClosed | State::Disabled => false,
            State::ForcedOpen => true,
            State::Open => self.opening.left(now) > 0,
            State::HalfOpen => self.refused_for(now).is_some(),
        }
    }

    /// Where it stands now. An open circuit whose open period is over is half-open already, though no probe
    /// has been asked for yet.
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
