//! The retry: each attempt passes the stages behind it again, within the budget and the time of the call.

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

/// Whether carrying the call out twice has the effect of once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Repeats {
    /// As the pipeline says.
    AsPipeline,
    /// It has the effect of once.
    Safe,
    /// It must not be carried out twice.
    Unsafe,
}

impl Call<'_> {
    /// Takes note of a refusal: whether to ask for admission again, after a pause. The error that the rejection becomes was
    /// judged. A full bulkhead and a spent rate are waited for where they say how long; an open circuit only where a
    /// predicate insists, and until it lets a probe pass.
    #[cold]
    pub(in crate::pipeline) fn refused(&mut self, rejection: &Rejection, heard: Judgement) -> Next {
        if self.pipeline.stages.retry.is_none() || self.is_racer() {
            return Next::Fail;
        }
        let judgement = heard.of_rejection(rejection);
        let (before, at_once) = (self.clock.now, self.progress.retries == 0);
        let next = self.repeat_refused(rejection, judgement);
        if next == Next::Fail && at_once {
            // Only to find out has taken time.
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
            // The stages around the retry have refused it, or its time is over.
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

    /// Whether the failed attempt is repeated; then sets the pause before it.
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
                self.not_repeated(stop);
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

    /// Until when it waits for admission: no attempt begins after the deadline, nor after `max_elapsed`.
    pub(in crate::pipeline) fn latest_start(&self) -> Instant {
        match &self.pipeline.stages.retry {
            Some(retry) => self.clock.deadline.min(retry.latest(self.clock.started.or_never())),
            None => self.clock.deadline,
        }
    }

    /// Whether `max_elapsed` is over, so that no attempt begins any more.
    pub(in crate::pipeline) fn has_elapsed(&self) -> bool {
        let (Some(retry), Some(now)) = (&self.pipeline.stages.retry, self.clock.now.get()) else {
            return false;
        };
        now > retry.latest(self.clock.started.or_never())
    }

    /// Whether the first attempt of a call that has waited for another one may still begin.
    pub(in crate::pipeline) fn begins_in_time(&mut self) -> Result<(), Rejection> {
        if !self.has_elapsed() {
            return Ok(());
        }
        let rejection = self.late(RejectionKind::QueueTimeout);
        self.end_shared(Ending::of(&rejection));
        Err(rejection)
    }

    /// Whether a retry waits for its time: [`pause`](Self::pause) is to be awaited. Where stages can refuse,
    /// admission does that.
    #[inline]
    pub fn must_pause(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.pause.is_none())
    }

    /// The pause before a retry.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn pause(&mut self) {
        if self.must_pause() {
            let pause = self.take_pause();
            self.suspended(pause).await;
        }
    }

    /// The pause before a retry, if there is one, blocking the thread.
    #[inline]
    pub fn pause_blocking(&mut self) {
        if self.must_pause() {
            self.warn_of_blocking();
            self.take_pause().block(&self.pipeline.clock);
        }
    }

    /// The refusal of a call of which attempts were made before: it says what they failed with. One of them may have had its
    /// effect, and whoever gets the refusal must not take the call for one that was not made.
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

    /// The body is pending: what has succeeded in it need not stand back when it is polled again.
    #[inline]
    pub(in crate::pipeline) fn note_progress(&mut self) {
        if self.progress.retries > 0
            && let Some(rare) = &mut self.rare
        {
            rare.standing_back = rare.standing_back.still_in(Scope::current().standing_back());
        }
    }

    /// The retries inside of this attempt that stand back, besides those around the call.
    #[inline]
    pub(in crate::pipeline) fn standing_back(&self) -> Retries {
        match &self.rare {
            Some(rare) if self.progress.retries > 0 => rare.standing_back,
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

    /// The refusal says what attempts before failed with.
    #[cold]
    pub(in crate::pipeline) fn with_errors(&self, rejection: Rejection) -> Rejection {
        match self.rare.as_ref().and_then(|rare| rare.errors()) {
            Some(errors) => rejection.after_errors(errors),
            None => rejection,
        }
    }

    /// The error of an attempt that is repeated is not returned: should the call be refused or cut off later, it is in
    /// the refusal.
    pub(in crate::pipeline) fn keep_error(&mut self, next: Next, cause: Option<Cause<'_>>) {
        if let (Next::Retry, Some(cause)) = (next, cause) {
            self.rare.get_or_insert_default().add_error(cause);
        }
    }
}
