//! The effect of the faults on one attempt: how long it waits, and how it ends.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::action::Action;
use super::armed::Hit;
use crate::clock::{BoxedTimer, Clock, Instant, unparker};
use crate::rejection::{Rejection, RejectionKind};
use crate::waiters::Place;

/// The effect of all faults that hit an attempt.
#[derive(Debug)]
pub(crate) struct Injection {
    waits: VecDeque<Wait>,
    then: Then,
}

/// The effect after the waits.
#[derive(Debug)]
enum Then {
    /// The body runs.
    Run,
    Reject(Rejection),
    Panic(String),
}

/// A latency or a hang.
#[derive(Debug)]
pub(super) struct Wait {
    hit: Hit,
    /// `None` waits for the end of the fault.
    span: Option<Duration>,
    /// When the span ends, once it has begun.
    until: Option<Instant>,
    /// The timer, and when it fires.
    timer: Option<(BoxedTimer, Instant)>,
    place: Option<Place>,
}

/// The result of a blocking injection that does not fail the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The body runs.
    InTime,
    /// The limit was reached first.
    Late,
}

impl Injection {
    pub(crate) const NONE: Self = Self { waits: VecDeque::new(), then: Then::Run };

    pub(crate) fn is_none(&self) -> bool {
        self.waits.is_empty() && matches!(self.then, Then::Run)
    }

    /// Whether a further fault can add to it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.then, Then::Run)
    }

    /// Adds the effect of a fault. `rejection` makes the rejection of an error or refusal.
    pub(crate) fn add(&mut self, mut hit: Hit, rejection: impl FnOnce(&Hit) -> Rejection) {
        match *hit.action() {
            Action::Latency(latency) => {
                let span = latency.sample(&mut hit.dice);
                self.waits.push_back(Wait::new(hit, Some(span)));
            }
            Action::Hang => self.waits.push_back(Wait::new(hit, None)),
            Action::Error(_) | Action::TypedError | Action::Refuse(_) => {
                self.then = Then::Reject(rejection(&hit));
            }
            Action::Panic => self.then = Then::Panic(hit.injected_by().to_string()),
            // They act on components.
            Action::HoldPermits(_)
            | Action::HoldThreads(_)
            | Action::FailStore
            | Action::SlowStore(_)
            | Action::FlapHealth(_)
            | Action::SkewClock(_)
            // The effect of a custom fault is another action.
            | Action::Custom(_) => {}
        }
    }

    /// Polls the waits. Then the body runs, or the attempt is rejected or panics.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        operation: &'static str,
    ) -> Poll<Result<(), Rejection>> {
        while let Some(wait) = self.waits.front_mut() {
            match wait.poll(cx, clock, operation) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(rejection)) => return Poll::Ready(Err(rejection)),
                Poll::Ready(Ok(())) => drop(self.waits.pop_front()),
            }
        }
        Poll::Ready(self.end())
    }

    /// Blocks the thread for the waits, at most until `limit`. Then the body runs, or the attempt is rejected or panics.
    pub(crate) fn block(mut self, clock: &Clock, limit: Instant) -> Result<Blocked, Rejection> {
        while let Some(mut wait) = self.waits.pop_front() {
            if wait.block(clock, limit) == Blocked::Late {
                return Ok(Blocked::Late);
            }
        }
        self.end().map(|()| Blocked::InTime)
    }

    pub(crate) fn has_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    fn end(&mut self) -> Result<(), Rejection> {
        match std::mem::replace(&mut self.then, Then::Run) {
            Then::Run => Ok(()),
            Then::Reject(rejection) => Err(rejection),
            // The purpose of the fault.
            Then::Panic(text) => std::panic::panic_any(text),
        }
    }
}

impl Wait {
    /// `None` waits for the end of the fault.
    pub(super) fn new(hit: Hit, span: Option<Duration>) -> Self {
        Self { hit, span, until: None, timer: None, place: None }
    }

    /// Returns the next time at which the wait may be over, or `None` if it is.
    fn next(&mut self, now: Instant) -> Option<Instant> {
        let left = self.hit.armed.left();
        let end = self.hit.armed.look_at(now);
        let until = match (self.until, self.span) {
            (Some(until), _) => until,
            (None, Some(span)) => *self.until.insert(now.after(span)),
            (None, None) => Instant::NEVER,
        };
        (!left.is_zero() && now < until).then(|| until.min(end))
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        operation: &'static str,
    ) -> Poll<Result<(), Rejection>> {
        let waiters = &self.hit.armed.waiters;
        waiters.register(&mut self.place, cx.waker().clone());
        // After registering, so that an end in between is not missed.
        while let Some(at) = self.next(clock.now()) {
            let (timer, _) = match &mut self.timer {
                // An earlier time replaces it: the lease was shortened.
                Some(timer) if timer.1 <= at => timer,
                place => match BoxedTimer::armed(clock, at) {
                    Ok(timer) => place.insert((timer, at)),
                    Err(_) => return Poll::Ready(Err(Rejection::new(RejectionKind::NoTimer, operation))),
                },
            };
            if Pin::new(timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            // The fault may have been renewed.
            self.timer = None;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn block(&mut self, clock: &Clock, limit: Instant) -> Blocked {
        loop {
            let now = clock.now();
            let Some(at) = self.next(now) else { return Blocked::InTime };
            if now >= limit {
                return Blocked::Late;
            }
            let at = at.min(limit);
            if !clock.moves_by_itself() {
                // Only this thread may be there to advance it.
                clock.sleep(at.since(now));
                continue;
            }
            self.hit.armed.waiters.register(&mut self.place, unparker());
            if self.next(now).is_some() {
                clock.park(at);
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.hit.armed.waiters.leave(self.place.take().as_ref());
    }
}
