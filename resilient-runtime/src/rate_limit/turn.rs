//! Waiting for one's turn.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::queue::{Place, Standing};
use super::{RateLimiter, Request};
use crate::clock::{BoxedTimer, Instant, unparker};
use crate::rejection::{Rejection, RejectionKind};

/// A call on its way through a rate limiter.
///
/// # Cancel safety
/// Dropping it gives up the place in the line, and with it the turn: the next one comes sooner.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Turn<'a> {
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
                limiter.queue.join((self.request.key, self.request.weight), waker(), now, until)
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
        let mut now = clock.now();
        loop {
            let Some(waiting) = &self.waiting else {
                return Err(self.limiter.refuse(self.request, None));
            };
            match waiting.step(self.request, &waker, now) {
                Step::Done(decided) => {
                    self.waiting = None;
                    return decided;
                }
                Step::WaitUntil(at) => {
                    let is_over = clock.park(at);
                    // A thread that holds up a paused clock waits on, and only `park` says that its time has come.
                    now = if is_over { clock.now().max(at) } else { clock.now() };
                }
            }
        }
    }
}

impl Waiting<'_> {
    fn step(&self, request: Request, waker: &Waker, now: Instant) -> Step {
        let limiter = self.ticket.limiter;
        let wait = match limiter.queue.standing(self.ticket.place, waker, now) {
            Standing::First => match limiter.take(request, now) {
                Ok(mark) => return Step::Done(Ok(mark)),
                Err(wait) => wait.unwrap_or(Duration::MAX),
            },
            // The first knows when its turn is; who is not, waits to become it.
            Standing::Behind(look_at) if now < self.until => {
                return Step::WaitUntil(look_at.min(self.until));
            }
            Standing::Behind(_) | Standing::Expired => {
                return Step::Done(Err(limiter.refuse(request, None)));
            }
        };
        let at = now.after(wait);
        if now >= self.until || at > self.until {
            return Step::Done(Err(limiter.refuse(request, Some(wait))));
        }
        Step::WaitUntil(at)
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
            match waiting.step(this.request, cx.waker(), this.limiter.core.clock().now()) {
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
