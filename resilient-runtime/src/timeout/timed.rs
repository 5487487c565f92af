//! A future with a time limit.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{Limit, Timeout};
use crate::clock::{Instant, NoTimer, Timer};
use crate::outcome::Outcome;

pin_project! {
    /// Polls `body`, and a timer once the body is pending. The body is not polled if its limit passed before it began.
    pub(super) struct Timed<'t, F> {
        #[pin]
        body: F,
        #[pin]
        timer: Option<Timer>,
        timeout: &'t Timeout,
        at: Instant,
        // The limit of the timeout itself, without an inherited deadline.
        own: Instant,
        // The start time if the duration must be recorded, otherwise `Instant::NEVER`.
        watched: Instant,
    }

    impl<F> PinnedDrop for Timed<'_, F> {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            if this.watched != Instant::NEVER {
                this.timeout.ended_early_now(this.watched, this.at, this.own);
            }
        }
    }
}

/// The reason why a body did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimedOut {
    Fired,
    NoTimer,
}

impl<'t, F> Timed<'t, F> {
    #[inline]
    pub(super) fn new(body: F, timeout: &'t Timeout, started: Instant, limit: &Limit) -> Self {
        let is_watched = timeout.is_adaptive() && limit.at > started;
        let (watched, own) = if is_watched {
            (started, timeout.limit(started, timeout.deadline(started, Instant::NEVER)).at)
        } else {
            (Instant::NEVER, Instant::NEVER)
        };
        Self { body, timer: None, timeout, at: limit.at, own, watched }
    }
}

impl<F: Future<Output: Outcome>> Future for Timed<'_, F> {
    type Output = Result<F::Output, TimedOut>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if *this.at == Limit::OVER {
            return Poll::Ready(Err(TimedOut::Fired));
        }
        // Poll the body first: if it is ready together with its timer, it succeeds (T65).
        if let Poll::Ready(output) = this.body.poll(cx) {
            if *this.watched != Instant::NEVER {
                this.timeout.ended_now(this.watched, !output.is_failure());
            }
            return Poll::Ready(Ok(output));
        }
        poll_timer(this.timer, this.timeout, *this.at, this.watched, cx).map(Err)
    }
}

/// Arms the timer at the first call. Never ready if there is no limit.
fn poll_timer(
    mut timer: Pin<&mut Option<Timer>>,
    timeout: &Timeout,
    at: Instant,
    watched: &mut Instant,
    cx: &mut Context<'_>,
) -> Poll<TimedOut> {
    if at == Instant::NEVER {
        return Poll::Pending;
    }
    if timer.is_none() && timeout.core.clock().arm(timer.as_mut(), at) == Err(NoTimer) {
        *watched = Instant::NEVER;
        return Poll::Ready(TimedOut::NoTimer);
    }
    match timer.as_pin_mut() {
        Some(armed) => armed.poll(cx).map(|()| TimedOut::Fired),
        None => Poll::Pending,
    }
}

impl Timeout {
    /// Records that the body of a call without a pipeline completed. The duration of a failure is not recorded.
    #[inline(never)]
    fn ended_now(&self, watched: &mut Instant, well: bool) {
        let started = std::mem::replace(watched, Instant::NEVER);
        if well {
            self.completed(started, self.core.clock().now());
        }
    }

    /// Records that the body of a call without a pipeline was dropped before it completed.
    #[cold]
    fn ended_early_now(&self, started: Instant, at: Instant, own: Instant) {
        let now = self.core.clock().now();
        // Do not record it if only an inherited deadline passed, or if it panicked, which is a failure.
        let is_cut_short = now >= at && now < own;
        if !is_cut_short && !std::thread::panicking() {
            self.ended_early(started, now);
        }
    }
}
