//! How an attempt, and at last the call, ends: what goes back, what is counted, whether to try again.

use super::Call;
use super::call::{Next, Repeats};
use crate::classify::{Class, Classify};
use crate::clock::{Delay, Instant};
use crate::idempotency::{self, Effect, Idempotency};
use crate::load_shed::End;
use crate::observe::{Cause, Ending, Words};
use crate::outcome::Verdict;
use crate::rejection::{Rejection, RejectionKind};
use crate::retry::{Situation, Stop};
use crate::scope::Scope;

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
        if self.now != Instant::NEVER || verdict != Verdict::Success {
            self.now = self.pipeline.clock.now();
        }
        if self.is_watched && verdict == Verdict::Success {
            self.completed();
        }
        self.settle(Some(verdict));
        match verdict {
            Verdict::Success if self.progress.retries == 0 => {
                self.ending = Ending::Succeeded;
                Next::Return
            }
            verdict => self.finish_slowly(verdict, None),
        }
    }

    /// The same, with the words of `describe` for the error, which is asked only about a failure: for the statistics, events,
    /// spans, and whoever is refused because of it.
    ///
    /// ```
    /// use resilient::{Class, Registry, Verdict, pipeline::{Call, Next}};
    ///
    /// let pipeline = Registry::new().pipeline("user").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.enter_blocking().unwrap();
    /// let failed = Verdict::Failure(Class::Permanent);
    /// assert_eq!(call.finish_with(failed, |words| words.display(&"no such table")), Next::Fail);
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "no such table");
    /// ```
    #[inline]
    pub fn finish_with(&mut self, verdict: Verdict, describe: impl FnOnce(&mut Words)) -> Next {
        match verdict {
            Verdict::Success | Verdict::Failure(Class::Ignored) => self.finish(verdict),
            Verdict::Failure(_) => self.failed(verdict, describe),
        }
    }

    #[cold]
    #[inline(never)]
    fn failed(&mut self, verdict: Verdict, describe: impl FnOnce(&mut Words)) -> Next {
        self.pipeline.texts.capture(describe, |text| self.finish_failure(verdict, text))
    }

    fn finish_failure(&mut self, verdict: Verdict, text: Option<&str>) -> Next {
        self.now = self.pipeline.clock.now();
        let cause = self.note_error(text);
        self.settle_with(Some(verdict), cause);
        let next = self.finish_slowly(verdict, cause);
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
    fn finish_slowly(&mut self, verdict: Verdict, cause: Option<Cause<'_>>) -> Next {
        match verdict {
            Verdict::Success => {
                self.ending = Ending::Succeeded;
                if let (Some(retry), false) = (&self.pipeline.retry, self.is_flight()) {
                    retry.recovered();
                }
                Next::Return
            }
            Verdict::Failure(Class::Ignored) => {
                self.ending = Ending::Ignored;
                Next::Return
            }
            Verdict::Failure(class) => {
                self.ending = Ending::Failed;
                self.note(Effect::of(verdict));
                let next = self.repeat(class, cause);
                if next == Next::Fail {
                    self.leave_shedder(End::Judged(verdict));
                }
                next
            }
        }
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
        if rejection.is_timeout() {
            self.ended_early();
        }
        let may_have_run = matches!(rejection.classify(), Class::Uncertain { .. })
            || rejection.kind() == RejectionKind::NoTimer;
        if may_have_run {
            self.note(Effect::Unknown);
        }
        let next = match rejection.kind() {
            RejectionKind::AttemptTimeout => {
                let words = rejection.words();
                self.pipeline.texts.capture(
                    |text| text.display(&words),
                    |text| {
                        let cause = self.note_error(text);
                        self.settle_with(Some(Verdict::Failure(class)), cause);
                        self.ending = Ending::TimedOut;
                        let next = self.repeat(class, cause);
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
                        self.settle_with(Some(Verdict::Failure(class)), cause);
                    },
                );
                self.ending = Ending::TimedOut;
                Next::Fail
            }
            _ => {
                self.settle(None);
                self.refused(rejection)
            }
        };
        if next == Next::Fail {
            self.leave_shedder(if rejection.is_timeout() { End::CutOff } else { End::Unknown });
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
        self.settle_with(verdict, None);
    }

    /// The same, with what it failed with.
    #[inline]
    fn settle_with(&mut self, verdict: Option<Verdict>, cause: Option<Cause<'_>>) {
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
            Repeats::Unsafe | Repeats::Flight | Repeats::HandedOut => false,
        }
    }

    pub(super) fn repeat(&mut self, class: Class, cause: Option<Cause<'_>>) -> Next {
        let is_over = matches!(self.repeats, Repeats::Flight | Repeats::HandedOut);
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
            // The scope around the call: that of its body has been left.
            inside_retry: Scope::current().inside_retry(),
            // With the circuit open, the error in hand says more than the refusal that would follow it.
            refused: &|at| breaker.is_some_and(|breaker| breaker.would_refuse(at)),
            cause,
        };
        let pause = if self.asynchronous { Delay::timer_in } else { Delay::blocking_in };
        let clock = &self.pipeline.clock;
        let next = retry.next(&mut self.progress, class, &situation, |span| pause(clock, span));
        let delay = match next {
            Ok(delay) => delay,
            Err(stop) => {
                self.stopped(stop);
                return Next::Fail;
            }
        };
        // Not ended after all: dropped from here on, it is cancelled.
        self.ending = Ending::Cancelled;
        self.set_pause(delay);
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
            self.settle_with(Some(Verdict::Failure(Class::TRANSIENT)), cause);
        } else {
            self.ended_early();
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
