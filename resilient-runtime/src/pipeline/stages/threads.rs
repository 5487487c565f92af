//! The threads of a bulkhead: a body that runs on one can be waited for no longer than its time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::bulkhead::{End, Running, Waiting, beside, in_place};
use crate::clock::{Instant, NoTimer};
use crate::fallback::{self, Seen};
use crate::idempotency::{self, Around};
use crate::pipeline::Call;
use crate::pipeline::attempt_clock::Reading;
use crate::pipeline::body::Activity;
use crate::pipeline::stages::bulkhead::Slot;
use crate::rejection::{Rejection, RejectionKind};
use crate::timeout::Limit;

/// What a body has returned, and what levels have answered in it.
type Done<R> = (R, Option<Seen>);

/// What the one who waits knows of the body.
struct Looked {
    has_begun: bool,
    /// What ends the waiting.
    limit: Limit,
}

impl Looked {
    const NOTHING: Self =
        Self { has_begun: false, limit: Limit { at: Instant::NEVER, kind: RejectionKind::TotalTimeout } };
}

impl<'p> Call<'p> {
    /// Runs the body on a thread of the bulkhead's own, and blocks this one until it has ended or its time is over; then
    /// it runs on, and keeps its place.
    pub fn attempt_in_pool<R: Send + 'static>(
        &mut self,
        body: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Rejection> {
        self.warn_of_blocking();
        let clock = &self.pipeline.clock;
        let (mut running, mut seen) = (self.start_in_pool(body), Looked::NOTHING);
        match running.wait_blocking(clock, |began| self.look(&mut seen, began)) {
            Some((began, end)) => self.ended_in_pool(&mut seen, began, end),
            None => {
                let began = running.leave(clock);
                Err(self.left_pool(&mut seen, began))
            }
        }
    }

    /// The same, without blocking this thread.
    pub fn attempt_in_pool_async<'c, R: Send + 'static>(
        &'c mut self,
        body: impl FnOnce() -> R + Send + 'static,
    ) -> PoolAttempt<'c, 'p, R> {
        self.asynchronous = true;
        let waiting = Waiting::new(self.start_in_pool(body));
        let around = self.pipeline.stages.idempotency.is_some().then(idempotency::around);
        PoolAttempt { waiting, seen: Looked::NOTHING, around, call: self }
    }

    /// Hands the body to the threads, and with it the permit.
    fn start_in_pool<R: Send + 'static>(
        &mut self,
        body: impl FnOnce() -> R + Send + 'static,
    ) -> Running<Done<R>> {
        let pipeline = self.pipeline;
        // The scope around the call is that of who starts it.
        let scope = self.body_scope();
        // Work on a thread is in the span that is current here.
        let _span = self.enter_span();
        let body = move || fallback::collect_seen(body);
        if pipeline.stages.bulkhead.is_none() && self.asynchronous {
            return beside(&pipeline.clock, scope, body);
        }
        // In place the permit stays with the call, which learns from it.
        let Some(bulkhead) = pipeline.stages.bulkhead.as_ref().filter(|bulkhead| bulkhead.has_threads())
        else {
            return in_place(&pipeline.clock, scope, body);
        };
        // What it has paid goes back should it never begin.
        self.held.token.unspend();
        self.slot = Slot::None;
        let is_limited = |limit: Limit| limit.at != Instant::NEVER;
        let tells_begin = pipeline.stages.load_shed.is_some()
            || pipeline.stages.timeout.as_ref().is_some_and(|timeout| {
                is_limited(timeout.limit(self.clock.attempt.or_never(), Instant::NEVER))
            });
        bulkhead.start(self.priority, scope, tells_begin, body)
    }

    /// Looks at the body, which has begun or has not: when the waiting ends.
    fn look(&mut self, seen: &mut Looked, began: Option<Instant>) -> Instant {
        self.began_in_pool(seen, began);
        // The time of an attempt begins with its work: until then there is only the time in which it must begin.
        let at = if began.is_some() { self.clock.deadline } else { self.latest_start() };
        seen.limit = match (&self.pipeline.stages.timeout, began) {
            (Some(timeout), Some(began)) => timeout.limit(began, self.clock.deadline),
            _ => Limit { at, kind: RejectionKind::TotalTimeout },
        };
        seen.limit.at
    }

    /// Takes note of when the body began, once.
    fn began_in_pool(&mut self, seen: &mut Looked, began: Option<Instant>) {
        let (false, Some(began)) = (seen.has_begun, began) else { return };
        seen.has_begun = true;
        self.held.token.spend();
        self.waited_for_thread(began);
        self.clock.attempt = Reading::of(began);
    }

    /// The load shedder learns of the queue before the threads, as of any other.
    fn waited_for_thread(&self, until: Instant) {
        if let Some(shedder) = &self.pipeline.stages.load_shed {
            shedder.queued(until.nanos_since(self.clock.attempt.or_never()), until);
        }
    }

    fn ended_in_pool<R>(
        &mut self,
        seen: &mut Looked,
        began: Option<Instant>,
        end: End<Done<R>>,
    ) -> Result<R, Rejection> {
        self.began_in_pool(seen, began);
        match end {
            End::Value((outcome, levels)) => {
                fallback::saw(levels);
                Ok(outcome)
            }
            End::Panic(panic) => {
                // It is one of this call.
                self.activity = Activity::InBody;
                std::panic::resume_unwind(panic)
            }
            End::Refused => Err(self.full()),
        }
    }

    /// There is no thread, and there will be none.
    #[cold]
    fn full(&self) -> Rejection {
        match &self.pipeline.stages.bulkhead {
            Some(bulkhead) => bulkhead.refuse(),
            None => Rejection::new(RejectionKind::BulkheadFull, self.pipeline.operation.name()),
        }
    }

    /// The waiting is over, and the body runs on; or it has not begun, and never will.
    #[cold]
    fn left_pool(&mut self, seen: &mut Looked, began: Option<Instant>) -> Rejection {
        let now = self.clock.read(&self.pipeline.clock);
        if began.is_none() {
            self.waited_for_thread(now);
            // A refusal, though by its own time: no evidence, and what was paid goes back.
            self.settle(None);
            return self.out_of_time();
        }
        self.began_in_pool(seen, began);
        match &self.pipeline.stages.timeout {
            Some(timeout) => self.cut_off(timeout, seen.limit.kind),
            None => self.late(RejectionKind::TotalTimeout),
        }
    }
}

pin_project! {
    /// An attempt whose body runs on a thread of its bulkhead's own.
    ///
    /// # Cancel safety
    /// Dropping it withdraws the body if it has not begun; else it runs on, and keeps its place until it ends.
    pub struct PoolAttempt<'c, 'p, R> {
        #[pin]
        waiting: Waiting<Done<R>>,
        seen: Looked,
        // Who has the key must know that the body runs on.
        around: Option<Around>,
        call: &'c mut Call<'p>,
    }

    impl<R> PinnedDrop for PoolAttempt<'_, '_, R> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Whatever comes of it, only what has begun has used what the call has paid.
            if !this.seen.has_begun {
                let began = this.waiting.leave(&this.call.pipeline.clock);
                if began.is_none() {
                    this.call.clock.attempt = Reading::NONE;
                }
                this.call.began_in_pool(this.seen, began);
                if let (Some(around), Some(_)) = (&this.around, began) {
                    around.has_begun();
                }
            }
        }
    }
}

impl<R> fmt::Debug for PoolAttempt<'_, '_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolAttempt").field("call", &self.call).finish_non_exhaustive()
    }
}

impl<R> Future for PoolAttempt<'_, '_, R> {
    type Output = Result<R, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (call, seen): (&mut Call<'_>, _) = (this.call, this.seen);
        let pipeline = call.pipeline;
        call.set_suspended(false);
        let polled = this.waiting.as_mut().poll_until(cx, &pipeline.clock, |began| call.look(seen, began));
        match polled {
            Poll::Ready(Ok(Some((began, end)))) => Poll::Ready(call.ended_in_pool(seen, began, end)),
            Poll::Ready(Ok(None)) => {
                let began = this.waiting.leave(&pipeline.clock);
                let late = call.left_pool(seen, began);
                seen.has_begun = true;
                Poll::Ready(Err(late))
            }
            Poll::Ready(Err(NoTimer)) => Poll::Ready(Err(match &pipeline.stages.timeout {
                Some(timeout) => timeout.no_timer(),
                None => Rejection::new(RejectionKind::NoTimer, pipeline.operation.name()),
            })),
            Poll::Pending => {
                call.set_suspended(true);
                if let (Some(around), true) = (&this.around, seen.has_begun) {
                    around.has_begun();
                }
                Poll::Pending
            }
        }
    }
}
