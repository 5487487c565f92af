//! Applies the shared state to the local circuit, under its lock. Calls see only the local state.

use std::time::Duration;

use super::guarded::lasting;
use crate::circuit_breaker::CircuitBreaker;
use crate::circuit_breaker::config::{Config, Coordinate};
use crate::circuit_breaker::state::State;
use crate::circuit_breaker::transition::{Change, Inner};
use crate::clock::Instant;
use crate::outage::OpenReason;
use crate::store::circuits::{Ended, ProbeRequest, Shared, SharedState};

/// The part of the local state that follows from the shared circuit.
#[derive(Debug)]
pub(in crate::circuit_breaker) struct Governed {
    pub(in crate::circuit_breaker) hold: Hold,
    /// When the circuit opened by its own evidence, so that this instance votes.
    pub(in crate::circuit_breaker) evidence: Option<Instant>,
    /// End of the open period that follows from its own evidence.
    pub(in crate::circuit_breaker) own_until: Instant,
    /// The result of a probe that was not sent yet.
    probed: Option<bool>,
    /// An operator has reset this instance: it ignores the shared circuit until that closes.
    is_dismissed: bool,
    /// Whether the shared circuit was open or half-open in the last answer.
    is_open: bool,
    /// Votes and instances, while one failure opens the circuit.
    advised: Option<(u32, u32)>,
    /// When the advice ends without another answer.
    advised_until: Instant,
    /// Whether calls waited for the probe slot that the last report requested.
    is_asked: bool,
    /// How long the hold lasts without another answer.
    span: Duration,
}

/// Why a local circuit that is open or half-open does not continue by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::circuit_breaker) enum Hold {
    #[default]
    None,
    /// It waits for a probe slot, or for the shared circuit to close.
    Waiting,
    /// It has a probe slot.
    Probing,
    /// Its probe succeeded. It waits for the shared circuit to close.
    Passed,
}

impl Default for Governed {
    fn default() -> Self {
        Self {
            hold: Hold::None,
            evidence: None,
            own_until: Instant::from_nanos(0),
            probed: None,
            is_dismissed: false,
            is_open: false,
            advised: None,
            advised_until: Instant::from_nanos(0),
            is_asked: false,
            span: Duration::ZERO,
        }
    }
}

impl Governed {
    pub(in crate::circuit_breaker) fn is_held(&self) -> bool {
        self.hold != Hold::None
    }

    /// Whether all calls are rejected, also in the half-open state.
    pub(in crate::circuit_breaker) fn rejects(&self) -> bool {
        matches!(self.hold, Hold::Waiting | Hold::Passed)
    }

    /// The local circuit has closed, or an operator controls it.
    pub(in crate::circuit_breaker) fn forget(&mut self) {
        self.hold = Hold::None;
        self.evidence = None;
        self.probed = None;
    }

    /// An operator has reset the circuit.
    pub(in crate::circuit_breaker) fn dismiss(&mut self) {
        self.is_dismissed = self.is_open;
    }

    /// Why the circuit opens: if the failures alone were too few, the shared circuit is the reason.
    pub(in crate::circuit_breaker) fn reason(&self, reason: OpenReason, config: &Config) -> OpenReason {
        match (self.advised, reason) {
            (Some((votes, instances)), OpenReason::Consecutive { failures })
                if config.failure_threshold.is_none_or(|threshold| failures < threshold) =>
            {
                OpenReason::Shared { votes, instances }
            }
            _ => reason,
        }
    }

    /// Whether the circuit would open only because of an advice that has ended.
    pub(in crate::circuit_breaker) fn is_outdated(
        &self,
        reason: OpenReason,
        config: &Config,
        now: Instant,
    ) -> bool {
        now >= self.advised_until && matches!(self.reason(reason, config), OpenReason::Shared { .. })
    }

    /// Whether a circuit that is open or half-open is a vote.
    ///
    /// An instance without calls stays open, so its evidence counts only until its own open period ends, and one report
    /// later. After that, only a probe in flight or calls that wait for one show that it still matters.
    pub(in crate::circuit_breaker) fn votes(&self, poll: Duration, is_probing: bool, now: Instant) -> bool {
        let is_recent = now < self.own_until.after(poll);
        self.evidence.is_some() && (is_recent || (self.is_held() && (is_probing || self.is_asked)))
    }

    /// Whether the shared circuit is applied to the local one.
    pub(in crate::circuit_breaker) fn is_applied(&self) -> bool {
        self.is_held() || self.advised.is_some()
    }

    fn pass(&mut self) {
        if self.hold == Hold::Probing {
            self.probed = Some(true);
        }
        self.hold = Hold::Passed;
    }

    /// The probes of the local circuit have failed.
    pub(in crate::circuit_breaker) fn fail(&mut self) {
        if self.hold == Hold::Probing {
            self.probed = Some(false);
        }
        if self.is_held() {
            self.hold = Hold::Waiting;
        }
    }
}

impl CircuitBreaker {
    /// Returns the vote, the request for a probe slot, and the result of a probe. `is_asked`: calls were rejected since
    /// the last report.
    pub(super) fn own_state(&self, is_asked: bool, poll: Duration) -> (bool, ProbeRequest, Option<bool>) {
        let now = self.core.clock().now();
        let mut inner = self.inner.lock();
        let is_open = matches!(self.word().state(), State::Open | State::HalfOpen);
        let in_flight = inner.probes.out() > 0;
        let is_probing = inner.probes.in_flight(now);
        let governed = &mut inner.governed;
        let request = if !governed.is_held() || now < governed.own_until {
            ProbeRequest::None
        } else if in_flight || is_asked {
            ProbeRequest::Waiting
        } else {
            ProbeRequest::Idle
        };
        governed.is_asked = is_asked;
        (is_open && governed.votes(poll, is_probing, now), request, governed.probed.take())
    }

    /// Applies the shared state. `known` is the epoch before.
    pub(super) fn govern(
        &self,
        shared: &Shared,
        known: Option<u64>,
        config: &Config,
        now: Instant,
    ) -> Option<Change> {
        let mut inner = self.inner.lock();
        inner.governed.is_open = shared.state != SharedState::Closed;
        let state = self.word().state();
        if state.is_forced() {
            self.stop_advising(&mut inner, config);
            return None;
        }
        if shared.state == SharedState::Closed {
            inner.governed.is_dismissed = false;
            self.stop_advising(&mut inner, config);
            let is_new = known.is_some_and(|known| shared.epoch > known);
            if shared.ended == Ended::Recovered && (is_new || known.is_none()) {
                // The probes know more than the failures before them.
                let is_newer = |found: &Instant| now.since(*found) <= shared.unchanged_for;
                inner.governed.evidence = inner.governed.evidence.filter(is_newer);
            }
            let ends = match shared.ended {
                Ended::Reset => true,
                Ended::Recovered => inner.governed.is_held(),
                Ended::Lapsed => false,
            };
            if is_new && ends && state != State::Closed {
                return Some(self.change(&mut inner, State::Closed, None, None, now));
            }
            return self.release(&mut inner, now);
        }
        if inner.governed.is_dismissed || !config.coordinate.applies() {
            self.stop_advising(&mut inner, config);
            return self.release(&mut inner, now);
        }
        self.apply_opening(&mut inner, shared, config, now)
    }

    /// Applies a shared circuit that is open or half-open.
    fn apply_opening(
        &self,
        inner: &mut Inner,
        shared: &Shared,
        config: &Config,
        now: Instant,
    ) -> Option<Change> {
        // If the background thread stops, the hold ends by itself.
        inner.governed.span = shared.left.max(lasting(config.poll)).min(config.max_shared_open);
        let (votes, instances) = (shared.votes, shared.instances);
        if config.coordinate == Coordinate::Advise {
            inner.governed.advised = Some((votes, instances));
            inner.governed.advised_until = now.after(inner.governed.span);
            self.rules.open_at_first_failure();
        } else {
            self.stop_advising(inner, config);
        }
        let mut change = None;
        match self.word().state() {
            State::Closed if config.coordinate == Coordinate::Enforce => {
                inner.governed.hold = Hold::Waiting;
                change = Some(self.change_to_open(
                    inner,
                    OpenReason::Shared { votes, instances },
                    None,
                    None,
                    now,
                ));
            }
            State::Open => {}
            State::HalfOpen if inner.governed.is_held() => {}
            // A local half-open period continues: its result is evidence of this instance.
            _ => return None,
        }
        let may_probe = shared.state == SharedState::HalfOpen && shared.may_probe;
        match inner.governed.hold {
            Hold::Probing if may_probe => {}
            _ if may_probe => {
                inner.governed.hold = Hold::Probing;
                inner.probes.restart();
                self.opening.open_gate();
            }
            Hold::Passed => self.opening.close_gate(now, inner.governed.span),
            _ => {
                inner.governed.hold = Hold::Waiting;
                let own = inner.governed.own_until.since(now);
                self.opening.close_gate(now, inner.governed.span.max(own));
            }
        }
        change
    }

    /// The local circuit continues by itself.
    pub(in crate::circuit_breaker) fn release(&self, inner: &mut Inner, now: Instant) -> Option<Change> {
        let hold = std::mem::take(&mut inner.governed.hold);
        inner.governed.probed = None;
        if hold == Hold::None {
            return None;
        }
        match self.word().state() {
            // Its own probe has succeeded.
            State::HalfOpen if hold == Hold::Passed => {
                Some(self.change(inner, State::Closed, None, None, now))
            }
            State::HalfOpen => {
                inner.probes.restart();
                self.opening.open_gate();
                None
            }
            State::Open => {
                // All instances are released at the same time, and must not probe at the same time (T27).
                let config = self.core.config();
                let share = self.core.environment.random.share() * config.open_jitter.get();
                let own = inner.governed.own_until.since(now);
                self.opening.close_gate(now, own.max(config.open_for.mul_f64(share)));
                None
            }
            _ => None,
        }
    }

    /// The circuit was open or half-open without another answer of the store for too long.
    pub(in crate::circuit_breaker) fn expire_hold(&self, inner: &mut Inner, now: Instant) -> Option<Change> {
        match self.word().state() {
            State::Open => {
                inner.governed.hold = Hold::None;
                None
            }
            _ => self.release(inner, now),
        }
    }

    /// The probes of a held circuit have succeeded: the shared circuit decides.
    pub(in crate::circuit_breaker) fn pass_hold(&self, inner: &mut Inner, now: Instant) {
        inner.governed.pass();
        self.opening.close_gate(now, inner.governed.span);
        self.wake();
    }

    pub(in crate::circuit_breaker) fn stop_advising(&self, inner: &mut Inner, config: &Config) {
        if inner.governed.advised.take().is_some() {
            self.rules.apply_limits(config);
        }
    }
}
