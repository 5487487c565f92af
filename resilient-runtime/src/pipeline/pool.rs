//! A body that runs on a thread of its bulkhead's own: it can be waited for no longer than its time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::drive::Missed;
use super::{Call, Next, Options, Pipeline};
use crate::bulkhead::{Bulkhead, Phase, Running};
use crate::clock::{Instant, NoTimer, Timer};
use crate::fallback::{self, Carried, Seen};
use crate::outcome::{Reject, Verdict};
use crate::rejection::{Rejection, RejectionKind};
use crate::scope::Scope;
use crate::timeout::Limit;

/// What a body has returned, and what levels have answered in it.
type Done<R> = (R, Option<Seen>);

impl<'p> Call<'p> {
    /// Runs the body on a thread of the bulkhead's own, and blocks this one until it has ended or its time is over; then
    /// it runs on, and keeps its place.
    pub fn attempt_in_pool<R: Send + 'static>(
        &mut self,
        body: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Rejection> {
        let Some(running) = self.start(body)? else {
            return Err(Rejection::new(RejectionKind::BulkheadFull, self.pipeline.operation.name()));
        };
        let limit = |began| self.pool_limit(began).at;
        match Bulkhead::wait_blocking(&self.pipeline.clock, &running, limit) {
            Some((began, Ok((outcome, seen)))) => {
                self.attempt_started = began;
                fallback::saw(seen);
                Ok(outcome)
            }
            Some((_, Err(panic))) => self.panic(panic),
            None => {
                let began = running.began();
                self.attempt_started = began.unwrap_or(self.attempt_started);
                Err(self.out_of_pool_time(self.pool_limit(began).kind))
            }
        }
    }

    /// The same, without blocking this thread.
    pub fn attempt_in_pool_async<'c, R: Send + 'static>(
        &'c mut self,
        body: impl FnOnce() -> R + Send + 'static,
    ) -> PoolAttempt<'c, 'p, R> {
        self.asynchronous = true;
        let running = self.start(body);
        PoolAttempt { running, timer: None, armed_for: None, call: self }
    }

    /// Hands the body to the threads, and with it the permit.
    fn start<R: Send + 'static>(
        &mut self,
        body: impl FnOnce() -> R + Send + 'static,
    ) -> Result<Option<Running<Done<R>>>, Rejection> {
        let Some(bulkhead) = &self.pipeline.bulkhead else { return Ok(None) };
        // From here on it goes with the work.
        self.holds_slot = false;
        let scope = Scope::current().with_deadline(self.deadline, &self.pipeline.clock);
        let scope = match &self.pipeline.retry {
            Some(_) => scope.with_attempt(self.progress.retries + 1),
            None => scope,
        };
        let around = Carried::here();
        bulkhead.start(self.priority, scope, || around.run(body)).map(Some)
    }

    /// What ends the waiting: until the body has begun, the deadline alone.
    fn pool_limit(&self, began: Option<Instant>) -> Limit {
        match (&self.pipeline.timeout, began) {
            (Some(timeout), Some(began)) => timeout.limit(began, self.deadline),
            _ => Limit { at: self.deadline, kind: RejectionKind::TotalTimeout },
        }
    }

    fn out_of_pool_time(&self, kind: RejectionKind) -> Rejection {
        match &self.pipeline.timeout {
            Some(timeout) => self.cut_off(timeout, kind),
            None => self.out_of_time(),
        }
    }

    /// The panic of the body is one of this call.
    fn panic(&mut self, panic: Box<dyn std::any::Any + Send>) -> ! {
        self.suspended = false;
        self.in_body = true;
        std::panic::resume_unwind(panic)
    }
}

pin_project! {
    /// An attempt whose body runs on a thread of its bulkhead's own.
    ///
    /// # Cancel safety
    /// Dropping it withdraws the body if it has not begun; else it runs on, and keeps its place until it ends.
    #[derive(Debug)]
    pub struct PoolAttempt<'c, 'p, R> {
        running: Result<Option<Running<Done<R>>>, Rejection>,
        #[pin]
        timer: Option<Timer>,
        // What the timer was armed for.
        armed_for: Option<Limit>,
        call: &'c mut Call<'p>,
    }
}

impl<R> Future for PoolAttempt<'_, '_, R> {
    type Output = Result<R, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let call: &mut Call<'_> = this.call;
        call.suspended = false;
        let running = match this.running {
            Ok(Some(running)) => running,
            Ok(None) => {
                let name = call.pipeline.operation.name();
                return Poll::Ready(Err(Rejection::new(RejectionKind::BulkheadFull, name)));
            }
            Err(rejection) => return Poll::Ready(Err(rejection.clone())),
        };
        let began = match running.phase(cx.waker()) {
            Phase::Ended { began, end: Ok((outcome, seen)) } => {
                call.attempt_started = began;
                fallback::saw(seen);
                return Poll::Ready(Ok(outcome));
            }
            Phase::Ended { end: Err(panic), .. } => call.panic(panic),
            Phase::Began(began) => Some(began),
            Phase::Queued => None,
        };
        let limit = call.pool_limit(began);
        if *this.armed_for != Some(limit) && limit.at != Instant::NEVER {
            this.timer.set(None);
            if call.pipeline.clock.arm(this.timer.as_mut(), limit.at) == Err(NoTimer) {
                return Poll::Ready(Err(match &call.pipeline.timeout {
                    Some(timeout) => timeout.no_timer(),
                    None => Rejection::new(RejectionKind::NoTimer, call.pipeline.operation.name()),
                }));
            }
            *this.armed_for = Some(limit);
        }
        if let Some(timer) = this.timer.as_pin_mut()
            && timer.poll(cx).is_ready()
        {
            call.attempt_started = began.unwrap_or(call.attempt_started);
            return Poll::Ready(Err(call.out_of_pool_time(limit.kind)));
        }
        call.suspended = true;
        Poll::Pending
    }
}

impl Pipeline {
    /// Runs `work` on a thread of the bulkhead's own, through the stages; blocks this thread, no longer than the timeout.
    /// Each attempt runs a clone. Without a bulkhead that has `threads` the work is done in place, and cannot be left.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient::{Component, Registry, Rejection, RejectionKind, bulkhead, timeout};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("reports").reconfigure(bulkhead::Config::default().threads(2u32)).unwrap();
    /// registry.timeout("reports").reconfigure(timeout::Config::default().total(Duration::from_millis(50))).unwrap();
    /// let pipeline = registry.pipeline("report").bulkhead("reports").timeout("reports").build();
    /// assert_eq!(pipeline.run(|| Ok::<_, Rejection>(1)), Ok(1));
    ///
    /// let (end, hangs) = std::sync::mpsc::channel::<()>();
    /// let hangs = std::sync::Arc::new(std::sync::Mutex::new(hangs));
    /// let late = pipeline.run(move || Ok::<_, Rejection>(drop(hangs.lock().unwrap().recv())));
    /// assert_eq!(late.unwrap_err().kind(), RejectionKind::TotalTimeout);
    /// assert_eq!(registry.bulkhead("reports").stats().pool.unwrap().abandoned, 1, "it runs on");
    /// # drop(end);
    /// ```
    pub fn run<R: Reject + Send + 'static>(&self, work: impl Fn() -> R + Clone + Send + 'static) -> R {
        let mut call = self.begin(Options::default());
        let missed = loop {
            if let Err(rejection) = call.enter_blocking() {
                break Missed::Rejected(rejection);
            }
            match call.attempt_in_pool(work.clone()) {
                Ok(outcome) => match call.finish(Verdict::of(&outcome)) {
                    Next::Return => return outcome,
                    Next::Fail => break Missed::Failed(outcome),
                    Next::Retry => {}
                },
                Err(rejection) => {
                    if call.timed_out(&rejection) == Next::Fail {
                        break Missed::Rejected(rejection);
                    }
                }
            }
        };
        missed.surface()
    }

    /// As [`run`](Self::run), without blocking this thread: for blocking work in an asynchronous program.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the work if it has not begun; else it runs on, and keeps its place until it ends.
    pub async fn run_async<R: Reject + Send + 'static>(
        &self,
        work: impl Fn() -> R + Clone + Send + 'static,
    ) -> R {
        let mut call = self.begin(Options::default());
        let missed = loop {
            if !call.enter()
                && let Err(rejection) = call.enter_later().await
            {
                break Missed::Rejected(rejection);
            }
            match call.attempt_in_pool_async(work.clone()).await {
                Ok(outcome) => match call.finish(Verdict::of(&outcome)) {
                    Next::Return => return outcome,
                    Next::Fail => break Missed::Failed(outcome),
                    Next::Retry => {}
                },
                Err(rejection) => {
                    if call.timed_out(&rejection) == Next::Fail {
                        break Missed::Rejected(rejection);
                    }
                }
            }
        };
        missed.surface()
    }
}
