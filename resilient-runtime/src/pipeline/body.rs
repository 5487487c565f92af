//! The body of a call while it runs: the scope it sees, and whether it is being polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Call;
use super::stages::observe::InBody;
use crate::clock::Instant;
use crate::context::{Entered, Scope};
use crate::idempotency;

/// The activity of a call. It determines how a dropped call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// The call passes its stages: a panic does not come from the body.
    Between,
    /// The body runs or is being polled: if the call is dropped now, the body panicked.
    InBody,
    /// The body is suspended: if the call is dropped now, it is cancelled, even during an unrelated panic.
    Suspended,
}

impl Call<'_> {
    /// Runs the body of a synchronous function. It takes a `FnOnce`, so that the body can return what it captured.
    #[inline]
    pub fn attempt_sync<R>(&mut self, body: impl FnOnce() -> R) -> R {
        let _scope = self.enter_body();
        let outcome = body();
        self.activity = Activity::Between;
        outcome
    }

    #[inline]
    pub(super) fn enter_body(&mut self) -> InBody {
        let scope = self.enter_scope();
        self.in_body(scope)
    }

    #[inline]
    fn enter_scope(&mut self) -> Entered {
        self.activity = Activity::InBody;
        let has_deadline = self.clock.deadline != Instant::NEVER || self.pipeline.stages.timeout.is_some();
        if !has_deadline && self.pipeline.stages.retry.is_none() && !self.is_racer() {
            return Entered::none();
        }
        self.enter_own_scope(has_deadline)
    }

    fn enter_own_scope(&self, has_deadline: bool) -> Entered {
        if self.is_racer() {
            return self.racer_scope().enter();
        }
        // The surrounding scope belongs to the task that polls the call.
        let mut scope = Scope::current();
        let attempt = self.progress.retries + 1;
        if !has_deadline && scope.is_as_in_attempt(attempt) {
            return Entered::none();
        }
        if has_deadline {
            scope = scope.with_deadline(self.clock.deadline, &self.pipeline.clock);
        }
        if let Some(timeout) = &self.pipeline.stages.timeout {
            scope = scope.in_timeout(timeout.number());
        }
        if self.pipeline.stages.retry.is_some() {
            scope = scope.with_attempt(attempt, self.suppressed());
        }
        scope.enter()
    }

    /// The scope of one of several concurrent attempts.
    fn racer_scope(&self) -> Scope {
        self.body_scope().hedged(self.role.is_hedge())
    }

    /// The scope of the body: the surrounding scope with the call's deadline and timeout, and the attempt number.
    pub(super) fn body_scope(&self) -> Scope {
        let mut scope = Scope::current().with_deadline(self.clock.deadline, &self.pipeline.clock);
        if let Some(timeout) = &self.pipeline.stages.timeout {
            scope = scope.in_timeout(timeout.number());
        }
        if self.pipeline.stages.retry.is_some() {
            scope = scope.with_attempt(self.progress.retries + 1, self.suppressed());
        }
        scope
    }

    pub(super) async fn suspended<F: Future>(&mut self, wait: F) -> F::Output {
        self.activity = Activity::Suspended;
        let output = wait.await;
        self.activity = Activity::Between;
        output
    }

    #[inline]
    pub(super) fn left_body(&mut self, is_pending: bool) {
        self.set_suspended(is_pending);
        if is_pending && self.pipeline.stages.idempotency.is_some() {
            idempotency::has_begun();
        }
    }

    #[inline]
    pub(super) fn set_suspended(&mut self, is_suspended: bool) {
        self.activity = if is_suspended { Activity::Suspended } else { Activity::Between };
    }
}

pin_project! {
    /// A wait that records in its call whether it is being polled.
    ///
    /// # Cancel safety
    /// Dropping it drops the inner future. The call is then cancelled.
    #[derive(Debug)]
    pub(super) struct Polled<'c, 'p, F> {
        #[pin]
        work: F,
        call: &'c mut Call<'p>,
    }
}

impl<'c, 'p, F> Polled<'c, 'p, F> {
    pub(super) fn new(call: &'c mut Call<'p>, work: F) -> Self {
        Self { work, call }
    }
}

impl<F: Future> Future for Polled<'_, '_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // A panic while it is polled belongs to the call.
        this.call.set_suspended(false);
        let poll = this.work.poll(cx);
        this.call.set_suspended(poll.is_pending());
        poll
    }
}

/// Polls the body of an attempt.
#[inline]
pub(super) fn poll_body<F: Future>(
    call: &mut Call<'_>,
    body: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    let entered = call.enter_body();
    let poll = body.poll(cx);
    if poll.is_pending() {
        call.note_progress();
    }
    drop(entered);
    call.left_body(poll.is_pending());
    poll
}
