//! How an attempt, and at last the call, ends: what goes back, what is counted, whether to try again.

use super::Call;
use super::call::{Next, Repeats};
use crate::classify::{Class, Classify};
use crate::clock::{Delay, Instant};
use crate::idempotency::{self, Effect, Idempotency};
use crate::load_shed::End;
use crate::observe::Ending;
use crate::outcome::Verdict;
use crate::rejection::{Rejection, RejectionKind};
use crate::retry::Situation;
use crate::scope::{self, Scope};

impl Call<'_> {
    /// Takes note of how an attempt ended: the second reading of the clock, if it matters.
    ///
    /// ```
    /// use resilient::{Class, Component, Registry, Verdict, pipeline::{Call, Next}};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("user").circuit_breaker("users").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.enter_blocking().unwrap();
    /// assert_eq!(call.finish(Verdict::Failure(Class::Ignored)), Next::Return, "an answer like any other");
    /// assert_eq!(registry.circuit_breaker("users").stats().failed, 0);
    /// ```
    #[inline]
    pub fn finish(&mut self, verdict: Verdict) -> Next {
        // Once read, before a retry or behind the queue, the time of before the body must not be that of its end.
        let token = self.now;
        if self.now != Instant::NEVER || verdict != Verdict::Success {
            self.now = self.pipeline.clock.now();
        }
        if verdict != Verdict::Success {
            return self.finish_failed(verdict, token);
        }
        if self.is_watched {
            self.completed();
        }
        self.settle(Some(verdict));
        self.ending = Ending::Succeeded;
        if self.progress.retries > 0 {
            self.recovered();
        }
        Next::Return
    }

    #[cold]
    fn recovered(&self) {
        if let (Some(retry), false) = (&self.pipeline.retry, self.is_flight()) {
            retry.recovered();
        }
    }

    #[cold]
    fn finish_failed(&mut self, verdict: Verdict, token: Instant) -> Next {
        if let (Verdict::Failure(Class::NotExecuted { .. }), Some(limiter)) =
            (verdict, &self.pipeline.rate_limit)
            && self.is_attempt()
        {
            // Refused further in: what was paid for the attempt goes back.
            limiter.give_back(self.request(), token);
        }
        let evidence = self.evidence(verdict);
        self.settle(evidence);
        match verdict {
            Verdict::Success => Next::Return,
            Verdict::Failure(Class::Ignored) => {
                self.ending = Ending::Ignored;
                Next::Return
            }
            Verdict::Failure(class) => {
                self.ending = Ending::Failed;
                self.note(Effect::of(verdict));
                let next = self.repeat(class);
                if next == Next::Fail {
                    self.leave_shedder(evidence.map_or(End::Unknown, End::Judged));
                }
                next
            }
        }
    }

    /// What the end of an attempt says about the dependency: nothing where it ended only because the time of the calls
    /// around it was over. Those of a caller with little patience must not open the circuit of all others.
    ///
    /// It does say something where the call's own limits were reached as well, or the attempt was slow by then. And an error
    /// that cannot come from a deadline (refused, overloaded, permanent) is the dependency's own, however late.
    #[cold]
    pub(super) fn evidence(&self, verdict: Verdict) -> Option<Verdict> {
        match verdict {
            Verdict::Failure(class) if class.may_be_cut_short() && self.is_cut_short() => None,
            verdict => Some(verdict),
        }
    }

    /// The same of an attempt that is being cut off now.
    #[cold]
    pub(super) fn evidence_of_time(&mut self) -> Option<Verdict> {
        self.now = self.pipeline.clock.now();
        self.evidence(Verdict::Failure(Class::UNCERTAIN))
    }

    /// Whether the time of the calls around is over, and none of the own limits is reached.
    #[cold]
    fn is_cut_short(&self) -> bool {
        if !self.is_late() {
            return false;
        }
        let started = self.attempt_started;
        let own = self.pipeline.timeout.as_ref().map(|timeout| {
            let total = timeout.deadline(self.started, Instant::NEVER);
            timeout.limit(started, total).at
        });
        let breaker = self.pipeline.circuit_breaker.as_ref().filter(|_| self.is_attempt());
        let is_slow = breaker.is_some_and(|breaker| breaker.is_slow(started, self.now));
        own.is_none_or(|own| self.now < own) && !is_slow
    }

    /// Takes note of an attempt that was cut off. It may have had its effect (T33).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use resilient::{Registry, clock::Clock, pipeline::{Call, Next}};
    ///
    /// let pipeline = Registry::with_clock(Clock::tokio()).pipeline("order").timeout("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// assert!(call.enter());
    /// let late = call.attempt(std::future::pending::<()>()).await.unwrap_err();
    /// assert_eq!(call.timed_out(&late), Next::Fail);
    /// drop(call);
    /// assert_eq!(pipeline.stats().timed_out, 1);
    /// # }
    /// ```
    #[cold]
    pub fn timed_out(&mut self, rejection: &Rejection) -> Next {
        self.now = self.pipeline.clock.now();
        // Its body was pending, but the call is polled.
        self.suspended = false;
        let class = Class::Uncertain { retry_after: None };
        let evidence = self.evidence(Verdict::Failure(class));
        if rejection.is_timeout() && evidence.is_some() {
            self.ended_early();
        }
        let may_have_run = matches!(rejection.classify(), Class::Uncertain { .. })
            || rejection.kind() == RejectionKind::NoTimer;
        if may_have_run {
            self.note(Effect::Unknown);
        }
        let next = match rejection.kind() {
            RejectionKind::AttemptTimeout => {
                self.settle(Some(Verdict::Failure(class)));
                self.ending = Ending::TimedOut;
                self.repeat(class)
            }
            RejectionKind::TotalTimeout => {
                self.settle(evidence);
                self.ending = Ending::TimedOut;
                Next::Fail
            }
            _ => {
                self.settle(None);
                self.refused(rejection)
            }
        };
        if next == Next::Fail {
            let is_cut_off = rejection.is_timeout() && evidence.is_some();
            self.leave_shedder(if is_cut_off { End::CutOff } else { End::Unknown });
        }
        next
    }

    /// What a failed attempt did. Where that is not known of one, no later one makes it known.
    fn note(&mut self, effect: Effect) {
        if self.effect == Effect::Unknown {
            return;
        }
        self.effect = effect;
        if effect == Effect::Unknown && self.pipeline.idempotency.is_some() {
            idempotency::has_begun();
        }
    }

    /// Gives back what the attempt held and tells the breaker what it was worth.
    #[inline]
    pub(super) fn settle(&mut self, verdict: Option<Verdict>) {
        if self.holds_token {
            self.pay_back();
        }
        if self.holds_slot {
            self.holds_slot = false;
            if let Some(bulkhead) = &self.pipeline.bulkhead {
                // A call that began before the bulkhead was adaptive may not know when.
                if let (Some(verdict), true) = (verdict, self.attempt_started != Instant::NEVER) {
                    bulkhead.learn(verdict, self.attempt_started, || self.time());
                }
                bulkhead.release();
            }
        }
        if let (Some(ticket), Some(breaker)) = (self.ticket.take(), &self.pipeline.circuit_breaker) {
            breaker.settle(ticket, verdict, self.attempt_started, || self.time());
        }
        self.attempt_started = Instant::NEVER;
    }

    /// The attempt was cut off or cancelled: its work would have taken longer.
    #[cold]
    fn ended_early(&self) {
        if let (Some(timeout), true) = (&self.pipeline.timeout, self.is_watched && self.is_attempt()) {
            timeout.ended_early(self.attempt_started, self.now);
        }
    }

    /// Apart from the way of all the calls that nobody watches.
    #[inline(never)]
    fn completed(&self) {
        if let (Some(retry), false) = (&self.pipeline.retry, Scope::current().standing_back().is_empty()) {
            scope::stand_back_no_longer(retry.bit());
        }
        if let (Some(timeout), true) = (&self.pipeline.timeout, self.is_attempt()) {
            timeout.completed(self.attempt_started, self.now);
        }
    }

    /// The call around several attempts at a time is none itself; and who still holds a token has not begun.
    #[inline]
    fn is_attempt(&self) -> bool {
        self.attempt_started != Instant::NEVER && !self.holds_token
    }

    /// The attempt that had a place in the rate was not made.
    #[cold]
    fn pay_back(&mut self) {
        self.holds_token = false;
        if let Some(limiter) = &self.pipeline.rate_limit {
            limiter.give_back(self.request(), self.attempt_started);
        }
    }

    fn may_run_twice(&self) -> bool {
        let once = self.pipeline.idempotency.as_deref();
        match self.repeats {
            Repeats::AsPipeline => self.pipeline.idempotent || once.is_some_and(Idempotency::reexecutes),
            Repeats::Safe => true,
            Repeats::Unsafe | Repeats::Flight | Repeats::Hedge => false,
        }
    }

    pub(super) fn repeat(&mut self, class: Class) -> Next {
        let Some(retry) = self.pipeline.retry.as_ref().filter(|_| !self.is_flight()) else {
            return Next::Fail;
        };
        let breaker = self.pipeline.circuit_breaker.as_deref();
        let situation = Situation {
            started: self.started,
            now: self.now,
            deadline: self.deadline,
            idempotent: self.may_run_twice(),
            // The scope around the call: that of its body has been left.
            standing_back: Scope::current().standing_back(),
            inside: self.standing_back(),
            // With the circuit open, the error in hand says more than the refusal that would follow it.
            refused: &|at| breaker.is_some_and(|breaker| breaker.would_refuse(at)),
        };
        let pause = if self.asynchronous { Delay::timer_in } else { Delay::blocking_in };
        let clock = &self.pipeline.clock;
        let Ok((delay, standing_back)) =
            retry.next(&mut self.progress, class, &situation, |span| pause(clock, span))
        else {
            return Next::Fail;
        };
        // Not ended after all: dropped from here on, it is cancelled.
        self.ending = Ending::Cancelled;
        self.set_pause(delay);
        if !standing_back.is_empty() {
            self.rare.get_or_insert_default().standing_back = standing_back;
        }
        Next::Retry
    }

    /// Time has passed since the attempt: in a pause, a predicate, an expression for the priority, or a fallback.
    #[cold]
    fn end_later(&mut self) {
        if self.is_timed() {
            self.now = self.pipeline.clock.now();
        }
        if self.ending == Ending::Cancelled && !self.suspended && std::thread::panicking() {
            self.ending = Ending::Panicked;
        }
    }

    /// Not inline: away from the calls that succeed.
    #[inline(never)]
    fn settle_the_rest(&mut self) {
        let is_attempt = self.is_watched && self.is_attempt();
        if self.in_body || is_attempt || self.holds_slot || self.holds_token || self.ticket.is_some() {
            self.abandon();
        }
        if self.holds_load {
            self.leave_shedder_at_end();
        }
        if !self.is_flight() && matches!(self.ending, Ending::Cancelled | Ending::FellBack) {
            self.end_later();
        }
    }

    /// Dropped while it holds something: a panic in the body, or a cancellation.
    #[cold]
    fn abandon(&mut self) {
        self.now = self.pipeline.clock.now();
        if self.in_body {
            self.ending = Ending::Panicked;
            self.settle(Some(Verdict::Failure(Class::TRANSIENT)));
        } else {
            if !self.is_cut_short() {
                self.ended_early();
            }
            self.settle(None);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // What succeeded has settled with all that concerns a single attempt.
        if self.ending != Ending::Succeeded || self.holds_load {
            self.settle_the_rest();
        }
        if self.is_flight() {
            return;
        }
        if self.rare.is_some() {
            self.record_end();
        }
        self.pipeline.operation.ended(self.ending);
        // What was refused at once says nothing about how long calls take.
        let is_refused = matches!(self.ending, Ending::Rejected | Ending::TimedOut);
        let at_once = is_refused && self.now == self.started;
        if self.is_timed() && !at_once {
            self.pipeline.operation.took(self.now.nanos_since(self.started), self.ending);
        }
    }
}
