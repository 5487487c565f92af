//! The retry stage: each attempt passes the inner stages again, within the retry budget and the deadline of the call.

use crate::classify::Judgement;
use crate::clock::{Delay, Instant};
use crate::context::{Retries, Scope};
use crate::idempotency::Idempotency;
use crate::last_error::Cause;
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::pipeline::call::Next;
use crate::pipeline::stages::hedge::Role;
use crate::rejection::{Rejection, RejectionKind};
use crate::retry::{Situation, Stop};

/// Whether running the call twice has the same effect as running it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Repeats {
    /// As configured for the pipeline.
    AsPipeline,
    /// The call is idempotent.
    Safe,
    /// The call must not run twice.
    Unsafe,
}

impl Call<'_> {
    /// Decides whether a rejected attempt requests admission again, after a pause.
    ///
    /// `heard` is the judgement of the error that the rejection becomes. After `BulkheadFull` and `RateLimited` the
    /// attempt waits if the rejection has a retry-after hint. After `CircuitOpen` it waits only if a predicate requests
    /// it, until a probe is admitted.
    #[cold]
    pub(in crate::pipeline) fn refused(&mut self, rejection: &Rejection, heard: Judgement) -> Next {
        if self.pipeline.stages.retry.is_none() || self.is_racer() {
            return Next::Fail;
        }
        let judgement = heard.of_rejection(rejection);
        let (before, at_once) = (self.clock.now, self.progress.retries == 0);
        let next = self.repeat_refused(rejection, judgement);
        if next == Next::Fail && at_once {
            // Rejected at once: only the clock reading took time.
            self.clock.now = before;
        }
        next
    }

    #[cold]
    pub(in crate::pipeline) fn repeat_refused(
        &mut self,
        rejection: &Rejection,
        judgement: Judgement,
    ) -> Next {
        self.ending = Ending::of(rejection);
        let is_repeated = match rejection.kind() {
            RejectionKind::BulkheadFull | RejectionKind::RateLimited => true,
            RejectionKind::CircuitOpen | RejectionKind::NoTimer | RejectionKind::WeightExceedsLimit => {
                judgement.again() == Some(true)
            }
            // A stage around the retry rejected it, or its deadline has passed.
            _ => false,
        };
        if !is_repeated {
            return Next::Fail;
        }
        self.clock.read(&self.pipeline.clock);
        self.repeat(judgement, None)
    }

    pub(in crate::pipeline) fn may_run_twice(&self) -> bool {
        if self.role != Role::Call {
            return false;
        }
        let once = self.pipeline.stages.idempotency.as_deref();
        match self.repeats {
            Repeats::AsPipeline => self.pipeline.idempotent || once.is_some_and(Idempotency::reexecutes),
            Repeats::Safe => true,
            Repeats::Unsafe => false,
        }
    }

    /// Decides whether the failed attempt is retried, and sets the pause before the retry.
    pub(in crate::pipeline) fn repeat(&mut self, judgement: Judgement, cause: Option<Cause<'_>>) -> Next {
        let Some(retry) = self.pipeline.stages.retry.as_ref().filter(|_| self.role == Role::Call) else {
            return Next::Fail;
        };
        let breaker = self.pipeline.stages.circuit_breaker.as_deref();
        let situation = Situation {
            operation: Some(self.pipeline.operation.name()),
            started: self.clock.started.or_never(),
            now: self.clock.now.or_never(),
            deadline: self.clock.deadline,
            idempotent: self.may_run_twice(),
            is_keyed: self.pipeline.stages.idempotency.is_some() || self.repeats == Repeats::Unsafe,
            asynchronous: self.asynchronous,
            // The scope around the call: the scope of its body has been left.
            suppressed: Scope::current().suppressed(),
            inside: self.suppressed(),
            // If the circuit is open, the current error is more useful than the rejection that would follow.
            refused: &|at| breaker.is_some_and(|breaker| breaker.would_refuse(at)),
            cause,
        };
        let pause = if self.asynchronous { Delay::timer_in } else { Delay::blocking_in };
        let clock = &self.pipeline.clock;
        let next = retry.next(&mut self.progress, judgement, &situation, |span| pause(clock, span));
        let (delay, suppressed) = match next {
            Ok(next) => next,
            Err(stop) => {
                self.not_repeated(stop);
                return Next::Fail;
            }
        };
        // The call has not ended yet: if it is dropped from here on, it is cancelled.
        self.ending = Ending::Cancelled;
        self.set_pause(delay);
        if !suppressed.is_empty() {
            self.rare.get_or_insert_default().suppressed = suppressed;
        }
        Next::Retry
    }

    /// Records that the failed call is not retried.
    #[cold]
    fn not_repeated(&self, stop: Stop) {
        if stop == Stop::Budget {
            self.pipeline.operation.budget_denied();
        }
        self.record_stop(stop);
    }

    #[cold]
    pub(in crate::pipeline) fn recovered(&self) {
        if let (Some(retry), false) = (&self.pipeline.stages.retry, self.is_racer()) {
            retry.recovered();
        }
    }

    /// The latest time until which it waits for admission: no attempt begins after the deadline or after `max_elapsed`.
    pub(in crate::pipeline) fn latest_start(&self) -> Instant {
        match &self.pipeline.stages.retry {
            Some(retry) => self.clock.deadline.min(retry.latest(self.clock.started.or_never())),
            None => self.clock.deadline,
        }
    }

    /// Whether `max_elapsed` has passed, so that no further attempt begins.
    pub(in crate::pipeline) fn has_elapsed(&self) -> bool {
        let (Some(retry), Some(now)) = (&self.pipeline.stages.retry, self.clock.now.get()) else {
            return false;
        };
        now > retry.latest(self.clock.started.or_never())
    }

    /// Checks that the first attempt of a call that waited for another call can still begin in time.
    pub(in crate::pipeline) fn begins_in_time(&mut self) -> Result<(), Rejection> {
        if !self.has_elapsed() {
            return Ok(());
        }
        let rejection = self.late(RejectionKind::QueueTimeout);
        self.end_shared(Ending::of(&rejection));
        Err(rejection)
    }

    /// Whether a retry must wait first: the caller must await [`pause`](Self::pause). If stages can reject, admission
    /// waits instead.
    #[inline]
    pub fn must_pause(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.pause.is_none())
    }

    /// Waits for the pause before a retry.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn pause(&mut self) {
        if self.must_pause() {
            let pause = self.take_pause();
            self.suspended(pause).await;
        }
    }

    /// Waits for the pause before a retry, if any, and blocks the thread.
    #[inline]
    pub fn pause_blocking(&mut self) {
        if self.must_pause() {
            self.warn_of_blocking();
            self.take_pause().block(&self.pipeline.clock);
        }
    }

    /// Adds the errors of earlier attempts to a rejection. If one of them may have had an effect, the rejection is
    /// marked, so that the caller does not treat the call as not executed.
    #[inline]
    pub(in crate::pipeline) fn after_attempts(&self, rejection: Rejection) -> Rejection {
        if self.rare.is_none() && !self.effect.may_be() {
            rejection
        } else {
            self.told_of_attempts(rejection)
        }
    }

    #[cold]
    fn told_of_attempts(&self, rejection: Rejection) -> Rejection {
        let rejection = self.with_errors(rejection);
        if self.effect.may_be() { rejection.of_a_retry() } else { rejection }
    }

    /// Called while the body is pending. Retries that have succeeded in it are no longer suppressed when it is polled
    /// again.
    #[inline]
    pub(in crate::pipeline) fn note_progress(&mut self) {
        if self.progress.retries > 0
            && let Some(rare) = &mut self.rare
        {
            rare.suppressed = rare.suppressed.still_in(Scope::current().suppressed());
        }
    }

    /// The nested retries that are suppressed in this attempt, in addition to those around the call.
    #[inline]
    pub(in crate::pipeline) fn suppressed(&self) -> Retries {
        match &self.rare {
            Some(rare) if self.progress.retries > 0 => rare.suppressed,
            _ => Retries::NONE,
        }
    }

    #[cold]
    pub(in crate::pipeline) fn set_pause(&mut self, pause: Delay) {
        if !pause.is_none() {
            self.rare.get_or_insert_default().pause = pause;
        }
    }

    #[cold]
    pub(in crate::pipeline) fn take_pause(&mut self) -> Delay {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.pause)).unwrap_or_default()
    }

    /// Adds the errors of earlier attempts to the rejection.
    #[cold]
    pub(in crate::pipeline) fn with_errors(&self, rejection: Rejection) -> Rejection {
        match self.rare.as_ref().and_then(|rare| rare.errors()) {
            Some(errors) => rejection.after_errors(errors),
            None => rejection,
        }
    }

    /// Stores the error of an attempt that is retried. It is not returned, but a later rejection or timeout of the call
    /// includes it.
    pub(in crate::pipeline) fn keep_error(&mut self, next: Next, cause: Option<Cause<'_>>) {
        if let (Next::Retry, Some(cause)) = (next, cause) {
            self.rare.get_or_insert_default().add_error(cause);
        }
    }
}
