//! Bulkhead threads: the call stops waiting for a body on such a thread when its time is over.

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

/// The outcome of a body, and the fallback levels that served a value in it.
type Done<R> = (Result<R, Rejection>, Option<Seen>);

/// The state of the body as observed by the waiting call.
struct Looked {
    has_begun: bool,
    /// The limit that ends the wait.
    limit: Limit,
}

impl Looked {
    const NOTHING: Self =
        Self { has_begun: false, limit: Limit { at: Instant::NEVER, kind: RejectionKind::TotalTimeout } };
}

impl<'p> Call<'p> {
    /// Runs the body on a thread of the bulkhead and blocks this thread until the body ends or its time is over.
    ///
    /// If its time is over, the body runs on and holds its permit.
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

    /// Like `attempt_in_pool`, but does not block this thread.
    pub fn attempt_in_pool_async<'c, R: Send + 'static>(
        &'c mut self,
        body: impl FnOnce() -> R + Send + 'static,
    ) -> PoolAttempt<'c, 'p, R> {
        self.asynchronous = true;
        let waiting = Waiting::new(self.start_in_pool(body));
        let around = self.pipeline.stages.idempotency.is_some().then(idempotency::around);
        PoolAttempt { waiting, seen: Looked::NOTHING, around, call: self }
    }

    /// Submits the body, together with its permit, to the threads.
    fn start_in_pool<R: Send + 'static>(
        &mut self,
        body: impl FnOnce() -> R + Send + 'static,
    ) -> Running<Done<R>> {
        let pipeline = self.pipeline;
        // The surrounding scope belongs to the task that starts the call.
        let scope = self.body_scope();
        // Work on a thread runs in the span that is current here.
        let _span = self.enter_span();
        #[cfg(feature = "chaos")]
        let (injection, clock) = (self.take_faults(), pipeline.clock.clone());
        let body = move || {
            #[cfg(feature = "chaos")]
            injection.block(&clock, Instant::NEVER)?;
            Ok(body())
        };
        let body = move || fallback::collect_seen(body);
        if pipeline.stages.bulkhead.is_none() && self.asynchronous {
            return beside(&pipeline.clock, scope, body);
        }
        // Without threads the call holds the permit itself, so that an adaptive bulkhead records the attempt.
        let Some(bulkhead) = pipeline.stages.bulkhead.as_ref().filter(|bulkhead| bulkhead.has_threads())
        else {
            return in_place(&pipeline.clock, scope, body);
        };
        // The token is refunded if the body never begins.
        self.held.token.unspend();
        self.slot = Slot::None;
        let is_limited = |limit: Limit| limit.at != Instant::NEVER;
        let tells_begin = pipeline.stages.load_shed.is_some()
            || pipeline.stages.timeout.as_ref().is_some_and(|timeout| {
                is_limited(timeout.limit(self.clock.attempt.or_never(), Instant::NEVER))
            });
        bulkhead.start(self.priority, scope, tells_begin, body)
    }

    /// Checks whether the body has begun, and returns when the wait ends.
    fn look(&mut self, seen: &mut Looked, began: Option<Instant>) -> Instant {
        self.began_in_pool(seen, began);
        // The attempt limit starts with the work. Until then only the latest start time applies.
        let at = if began.is_some() { self.clock.deadline } else { self.latest_start() };
        seen.limit = match (&self.pipeline.stages.timeout, began) {
            (Some(timeout), Some(began)) => timeout.limit(began, self.clock.deadline),
            _ => Limit { at, kind: RejectionKind::TotalTimeout },
        };
        seen.limit.at
    }

    /// Records once when the body began.
    fn began_in_pool(&mut self, seen: &mut Looked, began: Option<Instant>) {
        let (false, Some(began)) = (seen.has_begun, began) else { return };
        seen.has_begun = true;
        self.held.token.spend();
        self.waited_for_thread(began);
        self.clock.attempt = Reading::of(began);
    }

    /// Reports the time in the queue before the threads to the load shedder.
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
                outcome
            }
            End::Panic(panic) => {
                // The panic belongs to this call.
                self.activity = Activity::InBody;
                std::panic::resume_unwind(panic)
            }
            End::Refused => Err(self.full()),
        }
    }

    /// The bulkhead refused the body: no thread becomes available.
    #[cold]
    fn full(&self) -> Rejection {
        match &self.pipeline.stages.bulkhead {
            Some(bulkhead) => bulkhead.refuse(),
            None => Rejection::new(RejectionKind::BulkheadFull, self.pipeline.operation.name()),
        }
    }

    /// The wait is over: the body runs on, or it has not begun and never will.
    #[cold]
    fn left_pool(&mut self, seen: &mut Looked, began: Option<Instant>) -> Rejection {
        let now = self.clock.read(&self.pipeline.clock);
        if began.is_none() {
            self.waited_for_thread(now);
            // A rejection because of the call's own time: no result for the circuit breaker, and the token is refunded.
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
    /// An attempt whose body runs on a thread of the bulkhead.
    ///
    /// # Cancel safety
    /// Dropping it removes the body from the queue if it has not begun. Otherwise the body runs on and holds its permit
    /// until it ends.
    pub struct PoolAttempt<'c, 'p, R> {
        #[pin]
        waiting: Waiting<Done<R>>,
        seen: Looked,
        // The holder of the idempotency key must know that the body runs on.
        around: Option<Around>,
        call: &'c mut Call<'p>,
    }

    impl<R> PinnedDrop for PoolAttempt<'_, '_, R> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // The token is used only if the body has begun.
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
