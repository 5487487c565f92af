//! A future with an end to its time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{Limit, Timeout};
use crate::clock::{Instant, NoTimer, Timer};
use crate::outcome::Outcome;

pin_project! {
    /// Polls `body`, and a timer once the body was pending. One whose limit is reached before it began is not polled.
    pub(super) struct Timed<'t, F> {
        #[pin]
        body: F,
        #[pin]
        timer: Option<Timer>,
        timeout: &'t Timeout,
        at: Instant,
        // What its own settings say, whatever the deadline of the calls around.
        own: Instant,
        // When it began, as long as somebody wants to know how long it takes; else `Instant::NEVER`.
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

/// Why a body got no further.
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
        // The body first: what is ready in the same poll as its timer has made it (T65).
        if let Poll::Ready(output) = this.body.poll(cx) {
            if *this.watched != Instant::NEVER {
                this.timeout.ended_now(this.watched, !output.is_failure());
            }
            return Poll::Ready(Ok(output));
        }
        poll_timer(this.timer, this.timeout, *this.at, this.watched, cx).map(Err)
    }
}

/// Arms the timer at its first call; never ready where there is no limit.
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
    /// The body of a call by hand has come to its end; how long a failure took says nothing about work.
    #[inline(never)]
    fn ended_now(&self, watched: &mut Instant, well: bool) {
        let started = std::mem::replace(watched, Instant::NEVER);
        if well {
            self.completed(started, self.core.clock().now());
        }
    }

    /// It has not.
    #[cold]
    fn ended_early_now(&self, started: Instant, at: Instant, own: Instant) {
        let now = self.core.clock().now();
        // Only because the deadline of the calls around is over: that says nothing. And a panic is a failure.
        let is_cut_short = now >= at && now < own;
        if !is_cut_short && !std::thread::panicking() {
            self.ended_early(started, now);
        }
    }
}
