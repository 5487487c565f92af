//! A future with an end to its time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::clock::{Clock, Instant, NoTimer, Timer};

pin_project! {
    /// Polls `body`, and a timer once the body was pending.
    #[derive(Debug)]
    pub(crate) struct Timed<'c, F> {
        #[pin]
        body: F,
        #[pin]
        timer: Option<Timer>,
        clock: &'c Clock,
        at: Instant,
    }
}

/// Why a body got no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimedOut {
    Fired,
    NoTimer,
}

impl<'c, F> Timed<'c, F> {
    pub(crate) fn new(body: F, clock: &'c Clock, at: Instant) -> Self {
        Self { body, timer: None, clock, at }
    }
}

impl<F: Future> Future for Timed<'_, F> {
    type Output = Result<F::Output, TimedOut>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The body first: what is ready in the same poll as its timer has made it (T65).
        if let Poll::Ready(output) = this.body.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        poll_timer(this.timer, this.clock, *this.at, cx).map(Err)
    }
}

/// Arms the timer at its first call; never ready where there is no limit.
pub(crate) fn poll_timer(
    mut timer: Pin<&mut Option<Timer>>,
    clock: &Clock,
    at: Instant,
    cx: &mut Context<'_>,
) -> Poll<TimedOut> {
    if at == Instant::NEVER {
        return Poll::Pending;
    }
    if timer.is_none() && clock.arm(timer.as_mut(), at) == Err(NoTimer) {
        return Poll::Ready(TimedOut::NoTimer);
    }
    if let Some(armed) = timer.as_pin_mut() {
        ready!(armed.poll(cx));
    }
    Poll::Ready(TimedOut::Fired)
}
