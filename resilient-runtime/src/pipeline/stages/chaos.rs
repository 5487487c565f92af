//! The chaos stage: faults that are injected into an attempt in place of, or before, its body.
//!
//! It is the innermost stage, so that every other stage sees an injected failure as one of the body. The faults of an
//! attempt are drawn when its time begins to count. An asynchronous attempt carries them in its rare state and is held
//! while it is polled, so that its timers and its cancellation act as on a slow body.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::chaos::{Action, Aim, Blocked, Facts, Hit, Injection};
use crate::classify::{Judgement, Verdict};
use crate::component::Component as _;
use crate::correlation::CorrelationId;
use crate::idempotency::Effect;
use crate::kind::Kind;
use crate::membership::Membership;
use crate::observe::log_limited;
use crate::pipeline::attempted::Attempted;
use crate::pipeline::body::Activity;
use crate::pipeline::call::Next;
use crate::pipeline::stages::timeout::UntimedAttempt;
use crate::pipeline::{Call, Pipeline};
use crate::rejection::{Origin, Rejection, RejectionKind};

impl Aim for Pipeline {
    fn operation(&self) -> &'static str {
        self.operation.name()
    }

    fn group(&self) -> Option<&str> {
        match self.chaos.membership {
            Membership::Group(group) => Some(group),
            Membership::Target | Membership::Exempt => None,
        }
    }

    fn uses(&self, kind: Kind, name: &str) -> bool {
        self.stages.uses(kind, name)
    }
}

impl Pipeline {
    /// The pipeline in use while protection is off or faults are in force. While protection is off, no fault is
    /// injected: nothing would contain it.
    #[cold]
    pub(in crate::pipeline) fn in_unusual_use(&self) -> (&Self, bool) {
        if !self.switch.is_on() {
            return (self.bypass(), false);
        }
        self.chaos.refresh(self);
        (self, true)
    }

    /// The rejection that a fault puts in place of the outcome.
    #[cold]
    fn injected(&self, hit: &Hit) -> Rejection {
        let operation = self.operation.name();
        let by = hit.injected_by();
        let stages = &self.stages;
        match *hit.action() {
            Action::Refuse(kind) => {
                let component = match kind {
                    RejectionKind::CircuitOpen => stages.circuit_breaker.as_ref().map(|it| it.core().name),
                    RejectionKind::BulkheadFull => stages.bulkhead.as_ref().map(|it| it.core().name),
                    _ => stages.rate_limit.as_ref().map(|it| it.core().name),
                };
                Rejection::injected_refusal(kind, component.unwrap_or(operation), by)
            }
            Action::Error(class) => {
                Rejection::injected(operation, Origin::of(class), class.retry_after(), by)
            }
            Action::TypedError => Rejection::injected_error(operation, by),
            _ => Rejection::injected(operation, Origin::Transient, None, by),
        }
    }
}

/// The current effect of faults on an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Held {
    /// The body runs.
    Run,
    /// It waits.
    Pending,
    /// It failed; [`Call::take_injected`] returns the rejection.
    Failed,
}

impl Call<'_> {
    /// Draws the faults of an asynchronous attempt.
    #[inline]
    pub(in crate::pipeline) fn inject(&mut self) {
        if self.pipeline.chaos.is_targeted() {
            self.inject_later();
        }
    }

    #[cold]
    #[inline(never)]
    fn inject_later(&mut self) {
        let injection = self.draw();
        if !injection.is_none() {
            self.rare.get_or_insert_default().injection = Some(injection);
        }
    }

    /// Draws the faults of a synchronous attempt and blocks the thread for them. Returns whether they fail it;
    /// [`take_injected`](Self::take_injected) then returns the rejection.
    #[cold]
    #[inline(never)]
    pub(in crate::pipeline) fn fails_by_injection(&mut self) -> bool {
        match self.inject_blocking() {
            Ok(()) => false,
            Err(rejection) => {
                self.rare.get_or_insert_default().injected = Some(rejection);
                true
            }
        }
    }

    /// Returns the rejection that a fault put in place of the outcome.
    #[cold]
    #[inline(never)]
    pub fn take_injected(&mut self) -> Rejection {
        let injected = self.rare.as_mut().and_then(|rare| rare.injected.take());
        injected.unwrap_or_else(|| Rejection::new(RejectionKind::Injected, self.pipeline.operation.name()))
    }

    /// Returns the outcome of an attempt, or the injected rejection.
    #[inline]
    pub(in crate::pipeline) fn result<T>(&mut self, attempted: Attempted<T>) -> Result<T, Rejection> {
        attempted.ok_or_else(|| self.take_injected())
    }

    /// Draws the faults of a synchronous attempt and blocks the thread for them, at most until the deadline.
    fn inject_blocking(&mut self) -> Result<(), Rejection> {
        let injection = self.draw();
        if injection.has_waits() {
            self.warn_of_blocking();
        }
        if injection.panics() {
            self.activity = Activity::InBody;
        }
        if injection.block(&self.pipeline.clock, self.clock.deadline)? == Blocked::InTime {
            return Ok(());
        }
        self.clock.read(&self.pipeline.clock);
        Err(match &self.pipeline.stages.timeout {
            Some(timeout) => self.cut_off(timeout, RejectionKind::TotalTimeout),
            None => self.late(RejectionKind::TotalTimeout),
        })
    }

    /// Draws the faults of an attempt that runs on another thread.
    pub(in crate::pipeline) fn injection_beside(&mut self) -> Injection {
        if self.pipeline.chaos.is_targeted() { self.draw() } else { Injection::NONE }
    }

    #[cold]
    fn draw(&mut self) -> Injection {
        let pipeline = self.pipeline;
        let id = CorrelationId::current();
        let facts = Facts {
            pipeline,
            priority: self.priority,
            correlation_id: id.as_ref().map(CorrelationId::as_str),
            rejectable: pipeline.chaos.rejectable(),
            is_skipped: Cell::new(false),
        };
        let mut injection = Injection::NONE;
        pipeline.chaos.draw(&facts, |hit| {
            self.affected_by(&hit);
            injection.add(hit, |hit| pipeline.injected(hit));
            injection.is_open()
        });
        if facts.is_skipped.get() {
            self.cannot_fail();
        }
        injection
    }

    fn affected_by(&mut self, hit: &Hit) {
        self.rare.get_or_insert_default().is_injected = true;
        self.record_injection(&hit.injected_by());
        self.pipeline.operation.injected(hit.kind());
    }

    /// Notes that a fault on a component affected the call.
    #[inline]
    pub(in crate::pipeline) fn note_injected_refusal(&mut self, rejection: Option<&Rejection>) {
        if let Some(by) = rejection.and_then(Rejection::injected_by) {
            self.rare.get_or_insert_default().is_injected = true;
            self.record_injection(by);
        }
    }

    /// Polls what faults do to the attempt.
    #[cold]
    #[inline(never)]
    pub(in crate::pipeline) fn poll_injection(&mut self, cx: &mut Context<'_>) -> Held {
        let Some(injection) = self.rare.as_mut().and_then(|rare| rare.injection.as_mut()) else {
            return Held::Run;
        };
        // A panic is one of the body.
        self.activity = Activity::InBody;
        let poll = injection.poll(cx, &self.pipeline.clock, self.pipeline.operation.name());
        self.left_body(poll.is_pending());
        let Poll::Ready(end) = poll else { return Held::Pending };
        self.end_injection();
        let Err(rejection) = end else { return Held::Run };
        self.rare.get_or_insert_default().injected = Some(rejection);
        Held::Failed
    }

    /// Releases the places of the faults that held the attempt.
    #[cold]
    pub(in crate::pipeline) fn end_injection(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.injection = None;
        }
    }

    /// Records an attempt that a fault failed, as if its body had returned the error. The rejection of a stage is
    /// treated like a real one. `heard` is the judgement of the error that the rejection becomes.
    #[cold]
    pub(in crate::pipeline) fn failed_by_injection(
        &mut self,
        rejection: &Rejection,
        heard: Judgement,
    ) -> Next {
        self.set_suspended(false);
        let judgement = judged(rejection, heard);
        if rejection.kind() != RejectionKind::Injected {
            // As if the attempt had not passed the stage: its token is refunded.
            self.held.token.unspend();
            self.settle(None);
            return self.repeat_refused(rejection, judgement);
        }
        let before = self.effect;
        let words = rejection.words();
        let next = self
            .pipeline
            .texts
            .capture(|text| text.display(&words), |text| self.finish_failure(judgement, text));
        // The body did not run, so that the result is not stored under the idempotency key, and the key is freed.
        self.effect = if before == Effect::Permanent { Effect::None } else { before };
        // An ignored error ends the call as well.
        if next == Next::Retry { Next::Retry } else { Next::Fail }
    }

    /// Whether a fault affected an attempt of the call.
    #[inline]
    pub(in crate::pipeline) fn is_injected(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.is_injected)
    }
}

impl<'p> Call<'p> {
    /// Like [`attempt_sync`](Self::attempt_sync), for a function without a stage that can reject. `reject` returns the
    /// outcome that an injected rejection becomes. `can` tells whether there is one: the argument is whether the
    /// rejection stands for the error of `chaos(error = ..)`. Faults that need one do not affect other functions.
    #[inline]
    pub fn attempt_sync_or<R>(
        &mut self,
        body: impl FnOnce() -> R,
        can: impl Fn(bool) -> bool,
        reject: impl FnOnce(Rejection) -> Option<R>,
    ) -> R {
        if self.pipeline.chaos.is_targeted() {
            self.pipeline.chaos.set_rejectable([can(false), can(true)]);
            if self.fails_by_injection()
                && let Some(outcome) = reject(self.take_injected())
            {
                return outcome;
            }
        }
        let _scope = self.enter_body();
        let outcome = body();
        self.set_suspended(false);
        outcome
    }

    /// Like [`attempt_untimed`](Self::attempt_untimed), for a function without a stage that can reject.
    #[inline]
    pub fn attempt_untimed_or<'c, F: Future, J>(
        &'c mut self,
        body: F,
        can: impl Fn(bool) -> bool,
        reject: J,
    ) -> AttemptOr<'c, 'p, F, J>
    where
        J: FnOnce(Rejection) -> Option<F::Output>,
    {
        if self.pipeline.chaos.is_targeted() {
            self.pipeline.chaos.set_rejectable([can(false), can(true)]);
        }
        AttemptOr { attempt: self.attempt_untimed(body), reject: Some(reject) }
    }

    /// Tells that a fault cannot fail the function.
    #[cold]
    fn cannot_fail(&self) {
        log_limited!(
            self.pipeline.chaos.log_limit,
            &self.pipeline.clock,
            WARN,
            target: "resilient_runtime::chaos",
            operation = self.pipeline.operation.name(),
            "a fault cannot fail the attempt: the return type cannot hold a rejection; add `chaos(error = ..)` to the attribute"
        );
    }
}

/// The judgement of an injected rejection. `heard` is the judgement of the error that it becomes.
pub(in crate::pipeline) fn judged(rejection: &Rejection, heard: Judgement) -> Judgement {
    // The error of `chaos(error = ..)` has its own class.
    let is_failure = matches!(heard.verdict(), Verdict::Failure(_)) && heard != Judgement::UNKNOWN;
    if rejection.is_typed() && is_failure { heard } else { heard.of_rejection(rejection) }
}

pin_project! {
    /// An attempt of a function without a stage that can reject.
    ///
    /// # Cancel safety
    /// Dropping it drops the body. The call then releases what it holds.
    pub struct AttemptOr<'c, 'p, F, J> {
        #[pin]
        attempt: UntimedAttempt<'c, 'p, F>,
        reject: Option<J>,
    }
}

impl<F, J> fmt::Debug for AttemptOr<'_, '_, F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptOr").finish_non_exhaustive()
    }
}

impl<F: Future, J: FnOnce(Rejection) -> Option<F::Output>> Future for AttemptOr<'_, '_, F, J> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        loop {
            if let Some(outcome) = ready!(this.attempt.as_mut().poll(cx)) {
                return Poll::Ready(outcome);
            }
            let rejection = this.attempt.as_mut().call().take_injected();
            // Without an outcome, the body runs.
            if let Some(outcome) = this.reject.take().and_then(|reject| reject(rejection)) {
                return Poll::Ready(outcome);
            }
        }
    }
}
