//! The future of a call that waits for a token.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use super::queue::{Place, Position};
use super::shared::{Outcome, Patience, Shared};
use super::{RateLimiter, Request};
use crate::clock::{BoxedTimer, Instant, unparker};
use crate::rejection::{Rejection, RejectionKind};
use crate::store::wait;

/// A call that passes through a rate limiter.
///
/// # Cancel safety
/// Dropping the future leaves the queue. The next call gets its turn sooner.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Turn<'a> {
    limiter: &'a RateLimiter,
    request: Request,
    deadline: Instant,
    /// Whether the call can wait for a token.
    waits: bool,
    has_waited: bool,
    /// Boxed, and allocated only if the call has to wait.
    waiting: Option<Box<Waiting<'a>>>,
    /// The decision of the store of a shared limit.
    asked: Option<Asked>,
}

/// A boxed future with a `Debug` implementation.
struct Asked(Pin<Box<dyn Future<Output = Outcome> + Send>>);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Waiting<'a> {
    ticket: Ticket<'a>,
    until: Instant,
    /// Fires when the limiter must be checked again.
    timer: Option<BoxedTimer>,
}

/// A position in the queue. Dropping it leaves the queue.
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

/// The next step.
enum Step {
    Done(Result<Instant, Rejection>),
    WaitUntil(Instant),
}

impl<'a> Turn<'a> {
    pub(super) fn new(limiter: &'a RateLimiter, request: Request, deadline: Instant) -> Self {
        Self { limiter, request, deadline, waits: true, has_waited: false, waiting: None, asked: None }
    }

    /// A call that does not wait for a token.
    pub(super) fn at_once(limiter: &'a RateLimiter, request: Request) -> Self {
        Self { waits: false, ..Self::new(limiter, request, Instant::NEVER) }
    }

    /// Whether the call was in the queue. If not, it was admitted or rejected at once.
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Admits or rejects the call at once, or joins the queue.
    #[inline]
    fn arrive(
        &mut self,
        waker: impl FnOnce() -> Waker,
        how: wait::Mode,
    ) -> Option<Result<Instant, Rejection>> {
        let now = self.limiter.core.clock().now();
        match (self.limiter.try_take(self.request, now), self.limiter.shared()) {
            (Ok(mark), _) => Some(Ok(mark)),
            (Err(wait), None) => self.join(now, wait, waker),
            (Err(wait), Some(shared)) => self.ask(Arc::clone(shared), now, wait, how),
        }
    }

    /// Asks the store, unless it is known that the call cannot be admitted.
    #[cold]
    fn ask(
        &mut self,
        shared: Arc<Shared>,
        now: Instant,
        wait: Option<Duration>,
        how: wait::Mode,
    ) -> Option<Result<Instant, Rejection>> {
        let limiter = self.limiter;
        let max_wait = if self.waits { limiter.patience(now).since(now) } else { Duration::ZERO };
        let is_too_heavy = self.request.weight > limiter.rule.get().burst;
        if is_too_heavy || wait.is_some_and(|wait| wait > max_wait) {
            return Some(Err(limiter.refuse(self.request, wait)));
        }
        self.has_waited = true;
        let patience = Patience { max_wait, deadline: self.deadline, how };
        if self.waits {
            // Without the store, the call waits for the rest of this time.
            self.deadline = self.deadline.min(now.after(max_wait));
        }
        self.asked = Some(Asked(Box::pin(shared.decide(self.request, patience))));
        None
    }

    /// Continues after the decision of the store, or with the limiter in this process.
    fn decided(
        &mut self,
        outcome: Outcome,
        waker: impl FnOnce() -> Waker,
    ) -> Option<Result<Instant, Rejection>> {
        self.asked = None;
        let limiter = self.limiter;
        if let Some(decided) = limiter.settled(self.request, outcome.verdict) {
            return Some(decided);
        }
        if let Some(shared) = limiter.shared() {
            self.request = shared.local_request(self.request);
        }
        let now = limiter.core.clock().now();
        match limiter.take_behind(self.request, now) {
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
        let until = if self.waits { limiter.patience(now).min(self.deadline) } else { now };
        // A call that cannot get a token in time is rejected at once and does not join the queue.
        let place = match wait {
            Some(span) if self.waits && now.after(span) <= until => {
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

    /// Like awaiting the future, but blocks the thread.
    pub(crate) fn block(&mut self) -> Result<Instant, Rejection> {
        if let Some(decided) = self.arrive(unparker, wait::Mode::Blocking) {
            return decided;
        }
        if let Some(Asked(asked)) = &mut self.asked {
            let outcome = wait::blocking(asked);
            if let Some(decided) = self.decided(outcome, unparker) {
                return decided;
            }
        }
        // Another waker: the queue has the first one.
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
                    // A blocked thread can hold up a paused clock. Only `park` reports that the time is over.
                    now = if is_over { clock.now().max(at) } else { clock.now() };
                }
            }
        }
    }
}

impl Waiting<'_> {
    fn step(&self, request: Request, waker: &Waker, now: Instant) -> Step {
        let limiter = self.ticket.limiter;
        let wait = match limiter.queue.position(self.ticket.place, waker, now) {
            Position::First => match limiter.take_locally(request, now) {
                Ok(mark) => return Step::Done(Ok(mark)),
                Err(wait) => wait.unwrap_or(Duration::MAX),
            },
            // The first call knows when it gets a token. A later call waits to become the first.
            Position::Behind(look_at) if now < self.until => {
                return Step::WaitUntil(look_at.min(self.until));
            }
            Position::Behind(_) | Position::Expired => {
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
    /// The mark of the token that was taken.
    type Output = Result<Instant, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.waiting.is_none()
            && this.asked.is_none()
            && let Some(decided) = this.arrive(|| cx.waker().clone(), wait::Mode::Async)
        {
            return Poll::Ready(decided);
        }
        if let Some(Asked(asked)) = &mut this.asked {
            let outcome = ready!(asked.as_mut().poll(cx));
            if let Some(decided) = this.decided(outcome, || cx.waker().clone()) {
                return Poll::Ready(decided);
            }
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
