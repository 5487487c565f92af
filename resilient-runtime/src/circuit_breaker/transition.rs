//! State changes, one at a time, under one lock.
//!
//! The event is placed in the event order under the lock, before the new state is visible. It is delivered and logged
//! after the lock is released.

use std::sync::Arc;
use std::time::Duration;

use super::config::Config;
use super::half_open::{Decision, Probes};
use super::in_flight::InFlight;
use super::shared::Governed;
use super::state::{Lease, NO_LEASE, State, Ticket, Word};
use super::stats::Totals;
use super::window::Grade;
use super::{CircuitBreaker, IGNORED, LATE, PROBED, REJECTED};
use crate::clock::Instant;
use crate::component::Component;
use crate::last_error::Cause;
use crate::observe::EventKind;
use crate::outage::{Met, OpenReason};
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::Ordering;

/// A counter for each state.
pub(super) type Entered = [u64; State::ALL.len()];

/// Data that only state changes, probes and watched calls need.
#[derive(Debug)]
pub(super) struct Inner {
    /// When the state last changed.
    pub(super) since: Instant,
    /// Counters that do not affect decisions.
    counted: Option<Box<Counted>>,
    /// How often the probes failed since the circuit was last closed.
    pub(super) reopened: u32,
    pub(super) probes: Probes,
    pub(super) in_flight: InFlight,
    pub(super) governed: Governed,
    last_lease: Lease,
}

/// Not allocated before the first state change.
#[derive(Debug, Default)]
struct Counted {
    /// Indexed by the new state.
    transitions: Entered,
    /// The totals at the last reset.
    baseline: Totals,
}

/// A state change that has not been reported yet.
#[must_use]
#[derive(Debug)]
pub(super) struct Change {
    from: State,
    to: State,
    reason: Option<OpenReason>,
    error: Option<Arc<str>>,
    /// Log lines can appear in another order than the changes. The epoch gives their order.
    epoch: u32,
}

/// Target of the log records.
pub(super) const TARGET: &str = "resilient_runtime::circuit_breaker";

/// Maximum `retry_after` of a server that lengthens the open period.
const LONGEST_HINT: Duration = Duration::from_hours(1);

impl Inner {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            counted: None,
            reopened: 0,
            probes: Probes::default(),
            in_flight: InFlight::default(),
            governed: Governed::default(),
            last_lease: NO_LEASE,
        }
    }

    /// Returns how often each state was entered since the last reset.
    pub(super) fn entered(&self) -> Entered {
        self.counted.as_ref().map(|counted| counted.transitions).unwrap_or_default()
    }

    /// Starts counting from these totals.
    pub(super) fn count_from(&mut self, baseline: Totals) {
        self.counted = Some(Box::new(Counted { transitions: Entered::default(), baseline }));
    }

    /// Returns the totals at the last reset.
    pub(super) fn baseline(&self) -> Totals {
        self.counted.as_ref().map(|counted| counted.baseline).unwrap_or_default()
    }

    fn next_lease(&mut self) -> Lease {
        self.last_lease = self.last_lease.saturating_add(1);
        self.last_lease
    }
}

impl CircuitBreaker {
    /// Changes the state and places the event in the event order.
    ///
    /// The caller holds the lock, and [reports](Self::tell) the change after releasing it.
    pub(super) fn change(
        &self,
        inner: &mut Inner,
        to: State,
        reason: Option<OpenReason>,
        error: Option<Arc<str>>,
        now: Instant,
    ) -> Change {
        let from = self.word().state();
        self.note_outage(from, to, reason, error.as_ref(), now);
        // Before the state is visible: a rejection that follows from it must be reported later.
        self.core.put(Self::KIND, || {
            let (from, to, error) = (from.as_str(), to.as_str(), error.clone());
            EventKind::Transition { from, to, reason, error }
        });
        self.enter(inner, to, now);
        Change { from, to, reason, error, epoch: self.word().epoch() }
    }

    /// An outage begins when the circuit opens, but not when probes reopen it. It ends when the circuit admits all
    /// calls.
    fn note_outage(
        &self,
        from: State,
        to: State,
        reason: Option<OpenReason>,
        error: Option<&Arc<str>>,
        now: Instant,
    ) {
        match (from, to, reason) {
            (State::HalfOpen, State::Open, _) => self.opening.outages().reopened(),
            (_, State::Open | State::ForcedOpen, Some(reason)) => {
                self.about_to_change();
                let number = self.opening.outages().begin(reason, error.cloned(), now);
                self.opening.remember(reason, number);
            }
            (_, State::HalfOpen, _) => {}
            _ => {
                if let Some(outages) = self.opening.known_outages() {
                    outages.end(now);
                }
            }
        }
    }

    /// The only function that stores a new state.
    pub(super) fn enter(&self, inner: &mut Inner, to: State, now: Instant) {
        let word = self.word();
        inner.since = now;
        inner.counted.get_or_insert_default().transitions[to as usize] += 1;
        inner.probes.restart();
        inner.in_flight.clear();
        if !matches!(to, State::Open | State::HalfOpen) {
            inner.governed.forget();
        }
        if matches!(to, State::Closed | State::ForcedClosed) {
            inner.reopened = 0;
            self.clear_window(now);
        }
        let watched = to == State::Closed && self.core.config().slow_in_flight;
        // Release: a thread that reads the new state also reads the data that belongs to it.
        self.word.store(word.next(to).watched(watched).bits(), Ordering::Release);
    }

    fn clear_window(&self, now: Instant) {
        self.time_window.clear(now, &self.counters);
        if let Some(window) = self.count_window.get() {
            window.clear();
        }
        self.row.store(0, Ordering::Relaxed);
    }

    /// Opens the circuit that admitted the call, if it is still closed (T15).
    #[cold]
    pub(super) fn open(
        &self,
        ticket: Ticket,
        reason: OpenReason,
        hint: Option<Duration>,
        error: Option<Cause<'_>>,
        now: Instant,
    ) {
        let change = {
            let mut inner = self.inner.lock();
            let word = self.word();
            let same = ticket.is_of(word.epoch()) && word.state() == State::Closed;
            let config = self.core.config();
            if !same {
                None
            } else if inner.governed.is_outdated(reason, &config, now) {
                self.stop_advising(&mut inner, &config);
                None
            } else {
                let reason = inner.governed.reason(reason, &config);
                let error = error.map(|cause| cause.text.into());
                Some(self.change_to_open(&mut inner, reason, hint, error, now))
            }
        };
        self.tell(change.as_ref());
    }

    pub(super) fn change_to_open(
        &self,
        inner: &mut Inner,
        reason: OpenReason,
        hint: Option<Duration>,
        error: Option<Arc<str>>,
        now: Instant,
    ) -> Change {
        let period = self.open_period(inner.reopened, hint);
        self.about_to_change();
        self.opening.close_gate(now, period);
        let is_own = !matches!(reason, OpenReason::Shared { .. });
        inner.governed.evidence = is_own.then_some(now);
        inner.governed.own_until = if is_own { now.after(period) } else { now };
        self.change(inner, State::Open, Some(reason), error, now)
    }

    /// Must be called before the reason is replaced.
    ///
    /// Relaxed: the Release stores of the new reason publish it to all readers of the reason.
    pub(super) fn about_to_change(&self) {
        self.word.store(self.word().changing().bits(), Ordering::Relaxed);
    }

    /// Doubles with each failed half-open period, minus the random share (T27).
    fn open_period(&self, reopened: u32, hint: Option<Duration>) -> Duration {
        let config = self.core.config();
        let doublings = 1_u32.checked_shl(reopened).unwrap_or(u32::MAX);
        let full = config.open_for.saturating_mul(doublings).min(config.longest_open());
        let chance = full.mul_f64(self.core.environment.random.share() * config.open_jitter.get());
        let period = full.saturating_sub(chance);
        // Not before the time that the server asked for, and not at the same moment in all instances.
        hint.map_or(period, |hint| period.max(hint.min(LONGEST_HINT).saturating_add(chance)))
    }

    /// Admits or rejects a call under the lock.
    ///
    /// Calls become probes or watched calls only here. Rejections that are reported as events are also made here, so
    /// that they stay in order with the state changes.
    #[cold]
    pub(super) fn admit_locked(&self, now: Instant) -> Result<Ticket, Rejection> {
        let mut change = None;
        let admitted = {
            let mut inner = self.inner.lock();
            let admitted = self.admit_under(&mut inner, now, &mut change);
            admitted.map_err(|retry_after| {
                let rejection = RejectionKind::CircuitOpen;
                self.core.put(Self::KIND, || EventKind::Rejected { rejection, retry_after });
                match self.word().state() {
                    State::ForcedOpen => self.refuse_forced(),
                    _ => self.refuse(retry_after, self.opening.reason(), self.opening.met(now)),
                }
            })
        };
        self.tell(change.as_ref());
        admitted
    }

    /// Returns a ticket, or the time to wait.
    fn admit_under(
        &self,
        inner: &mut Inner,
        now: Instant,
        change: &mut Option<Change>,
    ) -> Result<Ticket, Option<Duration>> {
        let word = self.word();
        let state = word.state();
        match state {
            State::Closed if word.is_watched() => self.admit_watched(inner, word, now, change),
            State::Closed | State::ForcedClosed | State::Disabled => Ok(word.ticket(NO_LEASE)),
            State::ForcedOpen => Err(None),
            State::Open => {
                let left = self.time_left(now);
                if left > 0 {
                    return Err(Some(Duration::from_nanos(left)));
                }
                if inner.governed.rejects() {
                    let _ = self.expire_hold(inner, now);
                }
                *change = Some(self.change(inner, State::HalfOpen, None, None, now));
                self.admit_probe(inner, now)
            }
            State::HalfOpen if inner.governed.rejects() => {
                if self.time_left(now) > 0 {
                    return Err(None);
                }
                *change = self.expire_hold(inner, now);
                if change.is_some() { Ok(self.word().ticket(NO_LEASE)) } else { self.admit_probe(inner, now) }
            }
            State::HalfOpen => self.admit_probe(inner, now),
        }
    }

    /// Returns the remaining open period. Restarts it if the clock stepped back before its start (T10).
    fn time_left(&self, now: Instant) -> u64 {
        let span = self.opening.span();
        if self.opening.left(now) > span {
            self.opening.close_gate(now, Duration::from_nanos(span));
        }
        self.opening.left(now)
    }

    fn admit_probe(&self, inner: &mut Inner, now: Instant) -> Result<Ticket, Option<Duration>> {
        let lease = inner.next_lease();
        let granted = inner.probes.grant(lease, now, &self.probe_config(inner));
        self.set_gate(inner, now);
        if granted && inner.governed.is_held() {
            // The store must not give the slot to another instance.
            self.wake();
        }
        if granted { Ok(self.word().ticket(lease)) } else { Err(None) }
    }

    /// While no probe slot is free, all calls are rejected without the lock (T9).
    pub(super) fn set_gate(&self, inner: &Inner, now: Instant) {
        if inner.governed.rejects() {
            return;
        }
        match inner.probes.full_for(now, &self.probe_config(inner)) {
            Some(span) => self.opening.close_gate(now, span),
            None => self.opening.open_gate(),
        }
    }

    /// The settings that apply to probes. A slot of a shared circuit is for one probe.
    fn probe_config(&self, inner: &Inner) -> Arc<Config> {
        let config = self.core.config();
        if inner.governed.is_held() { Arc::new(config.as_ref().clone().half_open_calls(1)) } else { config }
    }

    fn admit_watched(
        &self,
        inner: &mut Inner,
        word: Word,
        now: Instant,
        change: &mut Option<Change>,
    ) -> Result<Ticket, Option<Duration>> {
        let hanging = self.rules.slow_call().map_or(0, |limit| inner.in_flight.slow(now, limit));
        let row = self.row.load(Ordering::Relaxed);
        // T22
        if let Some(reason) = self.rules.judge_hanging(hanging, row, || self.content(now)) {
            *change = Some(self.change_to_open(inner, reason, None, None, now));
            return Err(Some(Duration::from_nanos(self.opening.left(now))));
        }
        let lease = inner.next_lease();
        inner.in_flight.begin(lease, now);
        Ok(word.ticket(lease))
    }

    /// Records the result of a probe, if its lease is still valid.
    pub(super) fn settle_probe(
        &self,
        ticket: Ticket,
        grade: Grade,
        hint: Option<Duration>,
        error: Option<Cause<'_>>,
        now: Instant,
    ) {
        let change = {
            let mut inner = self.inner.lock();
            if !self.take_back(&mut inner, ticket) {
                drop(inner);
                return self.counters.add(LATE);
            }
            self.counters.add(PROBED + grade as usize);
            inner.probes.record(grade != Grade::Good);
            let slow = (grade == Grade::Slow).then_some("it was slow");
            let error = error.map(|cause| cause.text).or(slow).map(Arc::from);
            self.opening.outages().probed(now, grade != Grade::Good, error.clone());
            self.decide(&mut inner, hint, error, now)
        };
        self.tell(change.as_ref());
    }

    /// Releases the slot of a probe without a result (T4, T6, T7).
    pub(super) fn return_probe(&self, ticket: Ticket, now: Instant) {
        let mut inner = self.inner.lock();
        let returned = self.take_back(&mut inner, ticket);
        if returned {
            self.set_gate(&inner, now);
        }
        drop(inner);
        self.counters.add(if returned { IGNORED } else { LATE });
    }

    fn take_back(&self, inner: &mut Inner, ticket: Ticket) -> bool {
        // A lease is never reused, so the lease of an earlier half-open period is not found.
        ticket.is_of(self.word().epoch()) && inner.probes.take_back(ticket.lease)
    }

    /// Ends the half-open state as soon as the outcome of the probes is certain.
    pub(super) fn decide(
        &self,
        inner: &mut Inner,
        hint: Option<Duration>,
        error: Option<Arc<str>>,
        now: Instant,
    ) -> Option<Change> {
        match inner.probes.decide(&self.probe_config(inner)) {
            Some(Decision::Close) if inner.governed.is_held() => {
                self.pass_hold(inner, now);
                None
            }
            Some(Decision::Close) => Some(self.change(inner, State::Closed, None, None, now)),
            Some(Decision::Reopen(reason)) => {
                inner.reopened = inner.reopened.saturating_add(1);
                inner.governed.fail();
                Some(self.change_to_open(inner, reason, hint, error, now))
            }
            None => {
                self.set_gate(inner, now);
                None
            }
        }
    }

    pub(super) fn refuse_forced(&self) -> Rejection {
        self.refuse(None, Some(OpenReason::Forced), None)
    }

    #[allow(clippy::inline_always)] // saves 19 instructions of a rejection
    #[inline(always)]
    pub(super) fn refuse(
        &self,
        retry_after: Option<Duration>,
        reason: Option<OpenReason>,
        outage: Option<Met>,
    ) -> Rejection {
        self.counters.add(REJECTED);
        tracing::debug!(target: TARGET, circuit_breaker = %self.core.name, ?retry_after, "call rejected");
        Rejection::circuit_open(self.core.name, retry_after, reason, outage)
    }

    /// Reports a change without holding a lock: a listener can call back or take a long time (T23).
    pub(super) fn tell(&self, change: Option<&Change>) {
        self.core.events().deliver();
        if change.is_some() {
            self.wake();
        }
        let Some(Change { from, to, reason, error, epoch }) = change else {
            return;
        };
        let (name, from, to) = (self.core.name, from.as_str(), to.as_str());
        if let Some(reason) = reason {
            let error = error.as_deref();
            tracing::warn!(target: TARGET, circuit_breaker = name, from, to, %reason, error, epoch, "circuit opened");
        } else {
            tracing::info!(target: TARGET, circuit_breaker = name, from, to, epoch, "circuit state changed");
        }
    }
}
