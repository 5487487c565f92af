//! Waiting for one's turn.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::queue::Place;
use super::{RateLimiter, Request};
use crate::clock::{BoxedTimer, Instant, unparker};
use crate::rejection::{Rejection, RejectionKind};

/// A call on its way through a rate limiter.
///
/// # Cancel safety
/// Dropping it gives up the place in the line, and with it the turn: the next one comes sooner.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Turn<'a> {
    limiter: &'a RateLimiter,
    request: Request,
    deadline: Instant,
    has_waited: bool,
    /// Boxed, and made once the call has to wait.
    waiting: Option<Box<Waiting<'a>>>,
}

#[derive(Debug)]
struct Waiting<'a> {
    ticket: Ticket<'a>,
    until: Instant,
    /// When to look again.
    timer: Option<BoxedTimer>,
}

/// A place in the line; dropped, it is given up.
#[derive(Debug)]
struct Ticket<'a> {
    limiter: &'a RateLimiter,
    place: Place,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.limiter.queue.leave(self.place);
    }
}

/// What to do next.
enum Step {
    Done(Result<Instant, Rejection>),
    WaitUntil(Instant),
}

impl<'a> Turn<'a> {
    pub(super) fn new(limiter: &'a RateLimiter, request: Request, deadline: Instant) -> Self {
        Self { limiter, request, deadline, has_waited: false, waiting: None }
    }

    /// Whether it was in the line: else it was decided at once.
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Decides at once, or joins the line.
    #[inline]
    fn arrive(&mut self, waker: impl FnOnce() -> Waker) -> Option<Result<Instant, Rejection>> {
        let now = self.limiter.core.clock().now();
        match self.limiter.try_take(self.request, now) {
            Ok(mark) => Some(Ok(mark)),
            Err(wait) => self.join(now, wait, waker),
        }
    }

    fn join(
        &mut self,
        now: Instant,
        wait: Option<Duration>,
        waker: impl FnOnce() -> Waker,
    ) -> Option<Result<Instant, Rejection>> {
        let limiter = self.limiter;
        let until = limiter.patience(now).min(self.deadline);
        // Not even in the line: who cannot have a turn in time need not wait to find that out.
        let place = match wait {
            Some(span) if now.after(span) <= until => {
                limiter.queue.join(self.request.key, self.request.weight, waker())
            }
            _ => None,
        };
        let Some(place) = place else {
            return Some(Err(limiter.refuse(self.request, wait)));
        };
        limiter.counters.waited();
        self.has_waited = true;
        let ticket = Ticket { limiter, place };
        self.waiting = Some(Box::new(Waiting { ticket, until, timer: None }));
        None
    }

    /// The same as awaiting it, blocking the thread.
    pub(crate) fn block(&mut self) -> Result<Instant, Rejection> {
        if let Some(decided) = self.arrive(unparker) {
            return decided;
        }
        // Another one: the line has the first.
        let waker = unparker();
        let clock = self.limiter.core.clock();
        loop {
            let Some(waiting) = &self.waiting else {
                return Err(self.limiter.refuse(self.request, None));
            };
            match waiting.step(self.request, &waker) {
                Step::Done(decided) => {
                    self.waiting = None;
                    return decided;
                }
                Step::WaitUntil(at) => {
                    clock.park(at);
                }
            }
        }
    }
}

impl Waiting<'_> {
    fn step(&self, request: Request, waker: &Waker) -> Step {
        let limiter = self.ticket.limiter;
        let is_first = limiter.queue.is_first(self.ticket.place, waker);
        let now = limiter.core.clock().now();
        let wait = if is_first {
            match limiter.take(request, now) {
                Ok(mark) => return Step::Done(Ok(mark)),
                Err(wait) => wait.unwrap_or(Duration::MAX),
            }
        } else {
            Duration::MAX
        };
        let at = now.after(wait);
        // The first knows when its turn is; who is not, waits to become it.
        if now >= self.until || (is_first && at > self.until) {
            return Step::Done(Err(limiter.refuse(request, is_first.then_some(wait))));
        }
        Step::WaitUntil(at.min(self.until))
    }
}

impl Future for Turn<'_> {
    /// The mark of the place that was taken.
    type Output = Result<Instant, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.waiting.is_none()
            && let Some(decided) = this.arrive(|| cx.waker().clone())
        {
            return Poll::Ready(decided);
        }
        loop {
            let Some(waiting) = &mut this.waiting else {
                return Poll::Pending;
            };
            match waiting.step(this.request, cx.waker()) {
                Step::Done(decided) => {
                    this.waiting = None;
                    return Poll::Ready(decided);
                }
                Step::WaitUntil(at) => {
                    let Ok(mut timer) = BoxedTimer::armed(this.limiter.core.clock(), at) else {
                        this.waiting = None;
                        return Poll::Ready(Err(this.limiter.refuse_for(RejectionKind::NoTimer, None)));
                    };
                    if Pin::new(&mut timer).poll(cx).is_pending() {
                        waiting.timer = Some(timer);
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}
