//! The body of an asynchronous call while it runs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Call;
use crate::clock::{Instant, NoTimer, Timer};
use crate::rejection::{Rejection, RejectionKind};

pin_project! {
    /// One attempt of a call whose time is limited.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, pipeline::{Attempt, Call}};
    ///
    /// let pipeline = Registry::new().pipeline("order").timeout("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// assert!(call.enter());
    /// let attempt: Attempt<'_, '_, _> = call.attempt(async { 7 });
    /// assert_eq!(attempt.await, Ok(7));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping it drops the body; the call then gives back what it holds.
    #[derive(Debug)]
    pub struct Attempt<'c, 'p, F> {
        #[pin]
        body: F,
        #[pin]
        timer: Option<Timer>,
        // What the timer was armed for, whatever is reconfigured meanwhile; `None` before the first `Pending`.
        limited_by: Option<RejectionKind>,
        call: &'c mut Call<'p>,
    }
}

impl<'c, 'p, F> Attempt<'c, 'p, F> {
    #[inline]
    pub(super) fn new(call: &'c mut Call<'p>, body: F) -> Self {
        Self { body, timer: None, limited_by: None, call }
    }
}

impl<F: Future> Future for Attempt<'_, '_, F> {
    type Output = Result<F::Output, Rejection>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The body first: what is ready in the same poll as its timer has made it (T65).
        if let Poll::Ready(output) = poll_body(this.call, this.body, cx) {
            return Poll::Ready(Ok(output));
        }
        poll_limit(this.call, this.timer, this.limited_by, cx).map(Err)
    }
}

/// Outside of the generic future, so that it is compiled once.
fn poll_limit(
    call: &Call<'_>,
    mut timer: Pin<&mut Option<Timer>>,
    limited_by: &mut Option<RejectionKind>,
    cx: &mut Context<'_>,
) -> Poll<Rejection> {
    let pipeline = call.pipeline();
    let Some(timeout) = &pipeline.timeout else {
        return Poll::Pending;
    };
    let kind = match *limited_by {
        Some(kind) => kind,
        None => {
            let limit = timeout.limit(call.attempt_started, call.deadline);
            *limited_by = Some(limit.kind);
            if limit.at != Instant::NEVER && pipeline.clock.arm(timer.as_mut(), limit.at) == Err(NoTimer) {
                return Poll::Ready(timeout.no_timer());
            }
            limit.kind
        }
    };
    match timer.as_pin_mut() {
        Some(timer) => timer.poll(cx).map(|()| call.cut_off(timeout, kind)),
        None => Poll::Pending,
    }
}

pin_project! {
    /// One attempt of a call whose time is not limited.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, pipeline::{Call, UntimedAttempt}};
    ///
    /// let pipeline = Registry::new().pipeline("order").bulkhead("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// assert!(call.enter());
    /// let attempt: UntimedAttempt<'_, '_, _> = call.attempt_untimed(async { "done" });
    /// assert_eq!(attempt.await, "done");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping it drops the body; the call then gives back what it holds.
    #[derive(Debug)]
    pub struct UntimedAttempt<'c, 'p, F> {
        #[pin]
        body: F,
        call: &'c mut Call<'p>,
    }
}

impl<'c, 'p, F> UntimedAttempt<'c, 'p, F> {
    #[inline]
    pub(super) fn new(call: &'c mut Call<'p>, body: F) -> Self {
        Self { body, call }
    }
}

impl<F: Future> Future for UntimedAttempt<'_, '_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        poll_body(this.call, this.body, cx)
    }
}

pin_project! {
    /// What a call waits for that tells it whether it is being polled.
    ///
    /// # Cancel safety
    /// Dropping it drops what is waited for; the call is then cancelled.
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
        // A panic while it is polled is its own.
        this.call.suspended = false;
        let poll = this.work.poll(cx);
        this.call.suspended = poll.is_pending();
        poll
    }
}

#[inline]
fn poll_body<F: Future>(call: &mut Call<'_>, body: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let entered = call.enter_body();
    let poll = body.poll(cx);
    if poll.is_pending() {
        call.note_progress();
    }
    drop(entered);
    call.left_body(poll.is_pending());
    poll
}
