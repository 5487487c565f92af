//! The future of a call that waits for a permit.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Bulkhead;
use super::gate::{self, Arrival};
use super::queue::{Claim, Place};
use crate::clock::{BoxedTimer, Instant, unparker};
use crate::priority::Priority;
use crate::rejection::{Rejection, RejectionKind};

/// A call that enters a bulkhead.
///
/// # Cancel safety
/// Dropping the future leaves the queue. A permit that was granted at that moment passes to the next call.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Admission<'a> {
    bulkhead: &'a Bulkhead,
    priority: Priority,
    deadline: Instant,
    /// Whether the call was in the queue.
    has_waited: bool,
    /// Boxed, and allocated only if the call has to wait, so that other calls stay small.
    waiting: Option<Box<Waiting<'a>>>,
}

#[derive(Debug)]
struct Waiting<'a> {
    ticket: QueueTicket<'a>,
    timer: BoxedTimer,
}

/// A position in the queue. Dropping it leaves the queue.
#[derive(Debug)]
struct QueueTicket<'a> {
    bulkhead: &'a Bulkhead,
    priority: Priority,
    place: Place,
    until: Instant,
    open: bool,
}

/// How often a waiting call checks for permits that were not picked up.
const LOOK_AGAIN: Duration = gate::PICK_UP;

impl QueueTicket<'_> {
    /// Returns the result if it is known. If not, `waker` is woken when it is.
    fn look(&mut self, waker: Option<&Waker>) -> Option<Result<(), Rejection>> {
        match self.bulkhead.gate.claim(self.place, waker) {
            Claim::Waiting => return None,
            Claim::Granted => {}
            Claim::Expired => {
                let is_over = self.bulkhead.core.clock().now() > self.until;
                if is_over || !self.bulkhead.try_enter(self.priority) {
                    return Some(Err(self.bulkhead.refuse()));
                }
            }
        }
        self.open = false;
        Some(Ok(()))
    }

    /// Takes back permits that were not picked up. Returns the time of the next check, or `None` if the wait is over.
    fn look_around(&self, now: Instant) -> Option<Instant> {
        if now >= self.until {
            return None;
        }
        #[cfg(feature = "chaos")]
        self.bulkhead.end_holds();
        self.bulkhead.gate.admit_waiters(now);
        Some(self.next_look(now))
    }

    fn next_look(&self, now: Instant) -> Instant {
        let next = now.after(LOOK_AGAIN).min(self.until);
        // When a fault ends, its permits are free.
        #[cfg(feature = "chaos")]
        let next = next.min(self.bulkhead.next_end_of_hold(now));
        next
    }
}

impl Drop for QueueTicket<'_> {
    fn drop(&mut self) {
        if self.open {
            self.bulkhead.gate.withdraw(self.place, self.bulkhead.core.clock().now());
        }
    }
}

impl<'a> Admission<'a> {
    pub(super) fn new(bulkhead: &'a Bulkhead, priority: Priority, deadline: Instant) -> Self {
        Self { bulkhead, priority, deadline, has_waited: false, waiting: None }
    }

    /// Whether the call was in the queue. If not, it was admitted or rejected at once.
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Like awaiting the future, but blocks the thread.
    pub(crate) fn block(&mut self) -> Result<(), Rejection> {
        if self.bulkhead.try_enter(self.priority) { Ok(()) } else { self.wait_blocking() }
    }

    #[cold]
    fn wait_blocking(&mut self) -> Result<(), Rejection> {
        let bulkhead = self.bulkhead;
        let (mut ticket, now) = match self.join(None) {
            Ok(joined) => joined,
            Err(decided) => return decided,
        };
        let mut look_at = Some(ticket.next_look(now));
        loop {
            if let Some(decided) = ticket.look(None) {
                return decided;
            }
            let Some(at) = look_at else {
                drop(ticket);
                return Err(bulkhead.refuse());
            };
            // A blocked thread can hold up a paused clock. Only `park` reports that the time is over.
            if bulkhead.core.clock().park(at) {
                look_at = ticket.look_around(at);
            }
        }
    }

    /// Joins the queue. Without a waker, it blocks the thread. The error is the result of a call that was admitted or
    /// rejected at once.
    #[cold]
    fn join(&mut self, waker: Option<&Waker>) -> Result<(QueueTicket<'a>, Instant), Result<(), Rejection>> {
        let (bulkhead, priority) = (self.bulkhead, self.priority);
        #[cfg(feature = "chaos")]
        bulkhead.count_hold();
        if !bulkhead.gate.has_queue() {
            return Err(Err(bulkhead.refuse()));
        }
        // Read the clock before joining: another thread that sees the call in the queue might advance the clock.
        let now = bulkhead.core.clock().now();
        let until = bulkhead.patience(now, self.deadline);
        let waker = waker.map_or_else(|| Cow::Owned(unparker()), Cow::Borrowed);
        match bulkhead.gate.arrive(priority, Some(&waker), now, until) {
            Arrival::Entered => Err(Ok(())),
            Arrival::Full => Err(Err(bulkhead.refuse())),
            Arrival::Queued(place) => {
                self.has_waited = true;
                bulkhead.counters.queued();
                Ok((QueueTicket { bulkhead, priority, place, until, open: true }, now))
            }
        }
    }

    fn refuse_without_timer(&self) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Err(self.bulkhead.refuse_for(RejectionKind::NoTimer)))
    }
}

impl Future for Admission<'_> {
    type Output = Result<(), Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let clock = this.bulkhead.core.clock();
        if this.waiting.is_none() {
            if this.bulkhead.try_enter(this.priority) {
                return Poll::Ready(Ok(()));
            }
            let (ticket, now) = match this.join(Some(cx.waker())) {
                Ok(joined) => joined,
                Err(decided) => return Poll::Ready(decided),
            };
            let Ok(timer) = BoxedTimer::armed(clock, ticket.next_look(now)) else {
                drop(ticket);
                return this.refuse_without_timer();
            };
            this.waiting = Some(Box::new(Waiting { ticket, timer }));
        }
        while let Some(waiting) = &mut this.waiting {
            if let Some(decided) = waiting.ticket.look(Some(cx.waker())) {
                this.waiting = None;
                return Poll::Ready(decided);
            }
            if Pin::new(&mut waiting.timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let Some(at) = waiting.ticket.look_around(clock.now()) else {
                this.waiting = None;
                return Poll::Ready(Err(this.bulkhead.refuse()));
            };
            let Ok(timer) = BoxedTimer::armed(clock, at) else {
                this.waiting = None;
                return this.refuse_without_timer();
            };
            waiting.timer = timer;
        }
        Poll::Pending
    }
}
