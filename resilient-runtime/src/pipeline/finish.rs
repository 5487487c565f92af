//! How an attempt, and at last the call, ends: what goes back, what is counted, whether to try again.

use super::Call;
use super::call::{Next, Repeats};
use crate::classify::{Class, Classify};
use crate::clock::{Delay, Instant};
use crate::idempotency::{self, Effect, Idempotency};
use crate::load_shed::End;
use crate::observe::{Cause, Ending, Words};
use crate::outcome::{Judgement, Verdict};
use crate::rejection::{Rejection, RejectionKind};
use crate::retry::{Situation, Stop};
use crate::scope::{self, Scope};

impl Call<'_> {
    /// Takes note of how an attempt ended: the second reading of the clock, if it matters.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Verdict, pipeline::{Call, Next}};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("user").circuit_breaker("users").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.enter_blocking().unwrap();
    /// assert_eq!(call.finish(Verdict::Failure(Class::Ignored)), Next::Return, "an answer like any other");
    /// assert_eq!(registry.circuit_breaker("users").stats().failed, 0);
    /// ```
    #[inline]
    pub fn finish(&mut self, judgement: impl Into<Judgement>) -> Next {
        let judgement = judgement.into();
        if judgement == Verdict::Success { self.succeeded() } else { self.finish_failure(judgement, None) }
    }

    #[inline]
    fn succeeded(&mut self) -> Next {
        // Once read, before a retry or behind the queue, the time of before the body must not be that of its end.
        if self.now != Instant::NEVER {
            self.now = self.pipeline.clock.now();
        }
        if self.is_watched {
            self.completed();
        }
        self.settle(Some(Judgement::SUCCESS));
        self.ending = Ending::Succeeded;
        if self.progress.retries > 0 {
            self.recovered();
        }
        Next::Return
    }

    /// The same, with the words of `describe` for the error, which is asked only about a failure: for the statistics, events,
    /// spans, and whoever is refused because of it.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, Verdict, pipeline::{Call, Next}};
    ///
    /// let pipeline = Registry::new().pipeline("user").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.enter_blocking().unwrap();
    /// let failed = Verdict::Failure(Class::Permanent);
    /// assert_eq!(call.finish_with(failed, |words| words.display(&"no such table")), Next::Fail);
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "no such table");
    /// ```
    #[inline]
    pub fn finish_with(
        &mut self,
        judgement: impl Into<Judgement>,
        describe: impl FnOnce(&mut Words),
    ) -> Next {
        let judgement = judgement.into();
        match judgement.verdict() {
            Verdict::Success => self.succeeded(),
            Verdict::Failure(Class::Ignored) => self.finish_failure(judgement, None),
            Verdict::Failure(_) => self.failed(judgement, describe),
        }
    }

    #[cold]
    fn recovered(&self) {
        if let (Some(retry), false) = (&self.pipeline.retry, self.is_flight()) {
            retry.recovered();
        }
    }

    #[cold]
    #[inline(never)]
    fn failed(&mut self, judgement: Judgement, describe: impl FnOnce(&mut Words)) -> Next {
        self.pipeline.texts.capture(describe, |text| self.finish_failure(judgement, text))
    }

    #[cold]
    #[inline(never)]
    fn finish_failure(&mut self, judgement: Judgement, text: Option<&str>) -> Next {
        let token = self.now;
        self.now = self.pipeline.clock.now();
        let cause = self.note_error(text);
        let next = self.finish_failed(judgement, token, cause);
        self.keep_error(next, cause);
        next
    }

    /// What the attempt failed with, where that can be read: the statistics and the spans.
    fn note_error<'t>(&self, text: Option<&'t str>) -> Option<Cause<'t>> {
        let cause = Cause { text: text?, attempt: self.progress.retries + 1 };
        self.pipeline.operation.failed_with(cause, self.now);
        self.record_error(cause.text);
        Some(cause)
    }

    /// The error of an attempt that is repeated is not returned: should the call be refused or cut off later, it is in
    /// the refusal.
    fn keep_error(&mut self, next: Next, cause: Option<Cause<'_>>) {
        if let (Next::Retry, Some(cause)) = (next, cause) {
            self.rare.get_or_insert_default().add_error(cause);
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_failed(&mut self, judgement: Judgement, token: Instant, cause: Option<Cause<'_>>) -> Next {
        let verdict = judgement.verdict();
        if let (true, Some(limiter)) = (judgement.is_unexecuted(), &self.pipeline.rate_limit)
            && self.is_attempt()
        {
            // Refused further in: what was paid for the attempt goes back.
            limiter.give_back(self.request(), token);
        }
        let evidence = self.evidence(verdict);
        self.settle_with(evidence.map(|_| judgement), cause);
        match verdict {
            Verdict::Success => Next::Return,
            Verdict::Failure(Class::Ignored) => {
                self.ending = Ending::Ignored;
                // An answer like any other, unless somebody insists.
                match judgement.again() {
                    Some(true) if self.repeat(judgement, cause) == Next::Retry => Next::Retry,
                    _ => Next::Return,
                }
            }
            Verdict::Failure(_) => {
                self.ending = Ending::Failed;
                self.note(Effect::of(verdict));
                let next = self.repeat(judgement, cause);
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
    /// use resilient_runtime::{Registry, clock::Clock, pipeline::{Call, Next}};
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
        self.timed_out_as(rejection, Judgement::UNKNOWN)
    }

    /// Like [`timed_out`](Self::timed_out), where the error that the rejection becomes was judged: it can say `Permanent` or
    /// `Ignored`, and predicates can say whether to try again and whether the circuit breaker counts it. Otherwise a timeout
    /// is [`Class::Uncertain`], whatever the error says.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use resilient_runtime::{Class, Component, Judgement, Registry, clock::Clock, pipeline::Call};
    ///
    /// let registry = Registry::with_clock(Clock::tokio());
    /// let pipeline = registry.pipeline("order").circuit_breaker("db").timeout("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// assert!(call.enter());
    /// let late = call.attempt(std::future::pending::<()>()).await.unwrap_err();
    /// call.timed_out_as(&late, Judgement::from(Class::Ignored));
    /// assert_eq!(registry.circuit_breaker("db").stats().failed, 0);
    /// # }
    /// ```
    #[cold]
    pub fn timed_out_as(&mut self, rejection: &Rejection, heard: Judgement) -> Next {
        let judgement = heard.of_rejection(rejection);
        self.now = self.pipeline.clock.now();
        // Its body was pending, but the call is polled.
        self.suspended = false;
        let evidence = self.evidence(Verdict::Failure(Class::UNCERTAIN));
        if rejection.is_timeout() && evidence.is_some() {
            self.ended_early();
        }
        if matches!(rejection.classify(), Class::Uncertain { .. }) {
            self.note(Effect::Unknown);
        }
        let next = match rejection.kind() {
            RejectionKind::AttemptTimeout => {
                let words = rejection.words();
                self.pipeline.texts.capture(
                    |text| text.display(&words),
                    |text| {
                        let cause = self.note_error(text);
                        self.settle_with(Some(judgement), cause);
                        self.ending = Ending::TimedOut;
                        let next = self.repeat(judgement, cause);
                        self.keep_error(next, cause);
                        next
                    },
                )
            }
            RejectionKind::TotalTimeout => {
                let words = rejection.words();
                self.pipeline.texts.capture(
                    |text| text.display(&words),
                    |text| {
                        let cause = self.note_error(text);
                        self.settle_with(evidence.map(|_| judgement), cause);
                    },
                );
                self.ending = Ending::TimedOut;
                Next::Fail
            }
            _ => {
                self.settle(None);
                self.repeat_refused(rejection, judgement)
            }
        };
        if next == Next::Fail {
            let is_cut_off = rejection.is_timeout() && evidence.is_some();
            self.leave_shedder(if is_cut_off { End::CutOff } else { End::Unknown });
        }
        next
    }

    /// Takes note of a refusal: whether to ask for admission again, after a pause. `hear` judges the error that the rejection
    /// becomes. A full bulkhead and a spent rate are waited for where they say how long; an open circuit only where a
    /// predicate insists, and until it lets a probe pass.
    ///
    /// ```
    /// use resilient_runtime::{Component, Judgement, Class, Registry, bulkhead::Config, pipeline::{Call, Next}};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("pool").reconfigure(Config::default().max_concurrent(1u32)).unwrap();
    /// let pipeline = registry.pipeline("order").retry("db").bulkhead("pool").build();
    /// let pool = registry.bulkhead("pool");
    /// let held = pool.try_acquire();
    /// let mut call = Call::begin(&pipeline);
    /// let full = call.enter_blocking().unwrap_err();
    /// let unknown = || Judgement::from(Class::UNKNOWN);
    /// assert_eq!(call.refused(&full, unknown), Next::Fail, "it does not say when");
    /// assert_eq!(call.refused(&full, || unknown().retry_when(true)), Next::Retry);
    /// # drop(held);
    /// ```
    #[cold]
    pub fn refused(&mut self, rejection: &Rejection, hear: impl FnOnce() -> Judgement) -> Next {
        if self.pipeline.retry.is_none() || self.is_flight() {
            return Next::Fail;
        }
        let judgement = hear().of_rejection(rejection);
        let (before, at_once) = (self.now, self.progress.retries == 0);
        let next = self.repeat_refused(rejection, judgement);
        if next == Next::Fail && at_once {
            // Only to find out has taken time.
            self.now = before;
        }
        next
    }

    #[cold]
    pub(super) fn repeat_refused(&mut self, rejection: &Rejection, judgement: Judgement) -> Next {
        self.ending = Ending::of(rejection);
        let is_repeated = match rejection.kind() {
            RejectionKind::BulkheadFull | RejectionKind::RateLimited => true,
            RejectionKind::CircuitOpen | RejectionKind::NoTimer | RejectionKind::WeightExceedsLimit => {
                judgement.again() == Some(true)
            }
            // The stages around the retry have refused it, or its time is over.
            _ => false,
        };
        if !is_repeated {
            return Next::Fail;
        }
        self.now = self.pipeline.clock.now();
        self.repeat(judgement, None)
    }

    /// What a failed attempt did. Where that is not known of one, no later one makes it known.
    fn note(&mut self, effect: Effect) {
        if self.effect == Effect::Unknown || self.effect == Effect::Lost && !effect.may_be() {
            return;
        }
        self.effect = effect;
        if effect.may_be() && self.pipeline.idempotency.is_some() {
            idempotency::has_begun();
        }
    }

    /// Gives back what the attempt held and tells the breaker what it was worth.
    #[inline]
    pub(super) fn settle(&mut self, judgement: Option<Judgement>) {
        self.settle_with(judgement, None);
    }

    /// The same, with what it failed with.
    #[inline]
    fn settle_with(&mut self, judgement: Option<Judgement>, cause: Option<Cause<'_>>) {
        if self.holds_token {
            self.pay_back();
        }
        if self.holds_slot {
            self.holds_slot = false;
            if let Some(bulkhead) = &self.pipeline.bulkhead {
                // A call that began before the bulkhead was adaptive may not know when.
                if let (Some(judgement), true) = (judgement, self.attempt_started != Instant::NEVER) {
                    bulkhead.learn(judgement.verdict(), self.attempt_started, || self.time());
                }
                bulkhead.release();
            }
        }
        if let (Some(ticket), Some(breaker)) = (self.ticket.take(), &self.pipeline.circuit_breaker) {
            let verdict = judgement.map(Judgement::for_breaker);
            breaker.settle_with(ticket, verdict, cause, self.attempt_started, || self.time());
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

    pub(super) fn may_run_twice(&self) -> bool {
        let once = self.pipeline.idempotency.as_deref();
        match self.repeats {
            Repeats::AsPipeline => self.pipeline.idempotent || once.is_some_and(Idempotency::reexecutes),
            Repeats::Safe => true,
            Repeats::Unsafe | Repeats::Flight | Repeats::Hedge | Repeats::HandedOut => false,
        }
    }

    pub(super) fn repeat(&mut self, judgement: Judgement, cause: Option<Cause<'_>>) -> Next {
        let is_over = self.is_flight() || self.repeats == Repeats::HandedOut;
        let Some(retry) = self.pipeline.retry.as_ref().filter(|_| !is_over) else {
            return Next::Fail;
        };
        let breaker = self.pipeline.circuit_breaker.as_deref();
        let situation = Situation {
            operation: Some(self.pipeline.operation.name()),
            started: self.started,
            now: self.now,
            deadline: self.deadline,
            idempotent: self.may_run_twice(),
            is_keyed: self.pipeline.idempotency.is_some() || self.repeats == Repeats::Unsafe,
            asynchronous: self.asynchronous,
            // The scope around the call: that of its body has been left.
            standing_back: Scope::current().standing_back(),
            inside: self.standing_back(),
            // With the circuit open, the error in hand says more than the refusal that would follow it.
            refused: &|at| breaker.is_some_and(|breaker| breaker.would_refuse(at)),
            cause,
        };
        let pause = if self.asynchronous { Delay::timer_in } else { Delay::blocking_in };
        let clock = &self.pipeline.clock;
        let next = retry.next(&mut self.progress, judgement, &situation, |span| pause(clock, span));
        let (delay, standing_back) = match next {
            Ok(next) => next,
            Err(stop) => {
                self.stopped(stop);
                return Next::Fail;
            }
        };
        // Not ended after all: dropped from here on, it is cancelled.
        self.ending = Ending::Cancelled;
        self.set_pause(delay);
        if !standing_back.is_empty() {
            self.rare.get_or_insert_default().standing_back = standing_back;
        }
        Next::Retry
    }

    /// The failed call is not repeated.
    #[cold]
    fn stopped(&self, stop: Stop) {
        if stop == Stop::Budget {
            self.pipeline.operation.budget_denied();
        }
        self.record_stop(stop);
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
            let cause = self.note_error(Some("it panicked"));
            self.settle_with(Some(Judgement::UNKNOWN), cause);
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
            let nanos = self.now.nanos_since(self.started);
            self.pipeline.operation.took(nanos, self.ending, self.counts_for);
        }
    }
}
