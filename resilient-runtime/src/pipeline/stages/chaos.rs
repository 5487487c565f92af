//! The chaos stage: faults that are injected into an attempt in place of, or before, its body.
//!
//! It is the innermost stage, so that every other stage sees an injected failure as one of the body. The faults of an
//! attempt are drawn when every other stage has admitted it and its time has begun to count. They hold it as the last
//! step of the admission, so that the poll of the body contains nothing of them: an attempt tests one flag, in the
//! function that admits it. While they hold it, its limits and its cancellation act as on a slow body.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::chaos::{Action, Aim, Blocked, Facts, Hit, Injection};
use crate::classify::{Judgement, Verdict};
use crate::clock::Timer;
use crate::component::Component as _;
use crate::correlation::CorrelationId;
use crate::idempotency::Effect;
use crate::kind::Kind;
use crate::membership::Membership;
use crate::observe::log_limited;
use crate::pipeline::body::{Activity, poll_body};
use crate::pipeline::call::Next;
use crate::pipeline::stages::observe::Rare;
use crate::pipeline::stages::timeout::poll_limit;
use crate::pipeline::{Call, Pipeline};
use crate::rejection::{InjectedBy, Origin, Rejection, RejectionKind};
use crate::sync::Ordering;

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

/// Faults that hold an attempt after its admission and before its body.
#[derive(Debug)]
pub(in crate::pipeline) struct Held {
    injection: Injection,
    /// The timer of the limit of the attempt.
    timer: Pin<Box<Option<Timer>>>,
}

impl Call<'_> {
    /// Whether a fault in force can affect the attempt.
    #[inline]
    pub fn is_targeted(&self) -> bool {
        self.pipeline.chaos.is_targeted()
    }

    #[inline]
    pub(in crate::pipeline) fn is_held(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.held.is_some())
    }

    /// Draws the faults of an attempt that was admitted, and waits while they hold it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the faults. The call is then cancelled.
    pub fn held(&mut self) -> impl Future<Output = Result<(), Rejection>> {
        poll_fn(|cx| self.poll_entered(cx))
    }

    /// Polls an attempt that was admitted: draws its faults, then waits while they hold it.
    #[cold]
    #[inline(never)]
    pub(in crate::pipeline) fn poll_entered(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        if !self.is_held() {
            self.draw_faults();
        }
        if self.runs_in_pool() { Poll::Ready(Ok(())) } else { self.poll_held(cx) }
    }

    /// Like [`held`](Self::held), for an attempt of a synchronous call. Blocks the thread, at most until the deadline.
    #[cold]
    #[inline(never)]
    pub fn held_blocking(&mut self) -> Result<(), Rejection> {
        self.draw_faults();
        if self.runs_in_pool() {
            return Ok(());
        }
        let ended = self.take_faults();
        self.block(ended).inspect_err(|_| self.stopped_by_fault())
    }

    /// Takes the faults of an attempt that runs on another thread, which they hold.
    pub(in crate::pipeline) fn take_faults(&mut self) -> Injection {
        self.take_held().map_or(Injection::NONE, |held| held.injection)
    }

    /// Whether a fault stopped the attempt after its admission.
    pub fn is_stopped_by_fault(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.is_stopped_by_fault)
    }

    /// Like [`is_stopped_by_fault`](Self::is_stopped_by_fault), and resets it.
    pub(in crate::pipeline) fn was_stopped_by_fault(&mut self) -> bool {
        self.rare.as_mut().is_some_and(|rare| std::mem::take(&mut rare.is_stopped_by_fault))
    }

    /// Notes that the attempts of the call run on threads of the bulkhead, if it has threads.
    ///
    /// The bulkhead alone does not tell: another function, or a setting, can give it threads.
    #[inline]
    pub fn set_in_threads(&mut self) {
        if self.is_targeted() {
            self.rare.get_or_insert_default().is_in_threads = true;
        }
    }

    /// Faults hold the threads of the bulkhead instead of the task that waits for them.
    fn runs_in_pool(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.is_in_threads)
            && self.pipeline.stages.bulkhead.as_ref().is_some_and(|bulkhead| bulkhead.has_threads())
    }

    fn take_held(&mut self) -> Option<Held> {
        self.rare.as_mut()?.held.take()
    }

    fn stopped_by_fault(&mut self) {
        self.rare.get_or_insert_default().is_stopped_by_fault = true;
    }

    fn draw_faults(&mut self) {
        if !self.is_targeted() {
            return;
        }
        self.limited_by = None;
        let injection = self.draw();
        if !injection.is_none() {
            self.rare.get_or_insert_default().held = Some(Held { injection, timer: Box::pin(None) });
        }
    }

    /// Waits while faults hold the attempt, at most for its time limit.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        let Some(mut held) = self.take_held() else { return Poll::Ready(Ok(())) };
        // A panic is one of the body.
        self.activity = Activity::InBody;
        let poll = held.injection.poll(cx, &self.pipeline.clock, self.pipeline.operation.name());
        self.left_body(poll.is_pending());
        let ended = match poll {
            Poll::Ready(ended) => ended,
            Poll::Pending => match poll_limit(self, held.timer.as_mut(), cx) {
                Poll::Ready(rejection) => Err(rejection),
                Poll::Pending => {
                    self.rare.get_or_insert_default().held = Some(held);
                    return Poll::Pending;
                }
            },
        };
        Poll::Ready(ended.inspect_err(|_| self.stopped_by_fault()))
    }

    /// Blocks the thread while faults hold the attempt, at most until the deadline.
    fn block(&mut self, injection: Injection) -> Result<(), Rejection> {
        if injection.has_waits() {
            self.warn_of_blocking();
        }
        // A panic is one of the body.
        self.activity = Activity::InBody;
        let blocked = injection.block(&self.pipeline.clock, self.clock.deadline);
        self.activity = Activity::Between;
        if blocked? == Blocked::InTime {
            return Ok(());
        }
        self.clock.read(&self.pipeline.clock);
        Err(match &self.pipeline.stages.timeout {
            Some(timeout) => self.cut_off(timeout, RejectionKind::TotalTimeout),
            None => self.late(RejectionKind::TotalTimeout),
        })
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
        self.note_injection(&hit.injected_by());
        self.pipeline.operation.injected(hit.kind());
    }

    fn note_injection(&mut self, by: &InjectedBy) {
        let rare = self.rare.get_or_insert_default();
        rare.is_injected = true;
        if let Some(race) = &rare.race {
            // Relaxed: the call reads it in the same task, after the race.
            race.store(true, Ordering::Relaxed);
        }
        self.record_injection(by);
    }

    /// Lets the concurrent attempts of the call tell it that a fault affects one of them.
    #[inline]
    pub(in crate::pipeline) fn share_injections(&mut self) {
        if self.is_targeted() {
            self.rare.get_or_insert_default().race.get_or_insert_default();
        }
    }

    /// Notes that a fault on a component affected the call.
    #[inline]
    pub(in crate::pipeline) fn note_injected_refusal(&mut self, rejection: Option<&Rejection>) {
        if let Some(by) = rejection.and_then(Rejection::injected_by) {
            self.note_injection(by);
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
        let in_race = |rare: &Rare| rare.race.as_ref().is_some_and(|race| race.load(Ordering::Relaxed));
        self.rare.as_ref().is_some_and(|rare| rare.is_injected || in_race(rare))
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
        if self.is_targeted() {
            self.pipeline.chaos.set_rejectable([can(false), can(true)]);
            if let Err(rejection) = self.held_blocking()
                && let Some(outcome) = self.failed_instead(rejection, reject)
            {
                return outcome;
            }
        }
        self.attempt_sync(body)
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
        self.asynchronous = true;
        // Only an attempt that can be held asks about it.
        let reject = if self.is_targeted() {
            self.pipeline.chaos.set_rejectable([can(false), can(true)]);
            Some(reject)
        } else {
            None
        };
        AttemptOr { body, reject, call: self }
    }

    /// Returns the outcome that the rejection of a fault becomes. Without one, the body runs.
    #[cold]
    fn failed_instead<R>(
        &mut self,
        rejection: Rejection,
        reject: impl FnOnce(Rejection) -> Option<R>,
    ) -> Option<R> {
        // The outcome is judged like one of the body.
        self.was_stopped_by_fault();
        reject(rejection)
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
        body: F,
        // Present until no fault holds the attempt.
        reject: Option<J>,
        call: &'c mut Call<'p>,
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
        let this = self.project();
        if this.reject.is_some() {
            let held = ready!(this.call.poll_entered(cx));
            let reject = this.reject.take();
            // After the rejection of a fault that the return type cannot hold, the body runs.
            if let (Err(rejection), Some(reject)) = (held, reject)
                && let Some(outcome) = this.call.failed_instead(rejection, reject)
            {
                return Poll::Ready(outcome);
            }
        }
        poll_body(this.call, this.body, cx)
    }
}
