//! Waiting for a permit.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Bulkhead;
use super::gate::Arrival;
use super::queue::Place;
use crate::clock::{BoxedTimer, Instant, unparker};
use crate::priority::Priority;
use crate::rejection::{Rejection, RejectionKind};

/// A call on its way into a bulkhead.
///
/// # Cancel safety
/// Dropping it leaves the queue; a permit granted at that moment goes to the next.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Admission<'a> {
    bulkhead: &'a Bulkhead,
    priority: Priority,
    deadline: Instant,
    /// Whether it was in the queue.
    has_waited: bool,
    /// Made once the call has to wait, and boxed, so that calls that need not wait are small.
    waiting: Option<Box<Waiting<'a>>>,
}

#[derive(Debug)]
struct Waiting<'a> {
    ticket: QueueTicket<'a>,
    timer: BoxedTimer,
}

/// A place in the queue; dropped, it is given up.
#[derive(Debug)]
struct QueueTicket<'a> {
    bulkhead: &'a Bulkhead,
    place: Place,
    open: bool,
}

impl Drop for QueueTicket<'_> {
    fn drop(&mut self) {
        if self.open {
            self.bulkhead.gate.withdraw(self.place);
        }
    }
}

impl<'a> Admission<'a> {
    pub(super) fn new(bulkhead: &'a Bulkhead, priority: Priority, deadline: Instant) -> Self {
        Self { bulkhead, priority, deadline, has_waited: false, waiting: None }
    }

    /// Whether it was in the queue: else it was refused at once.
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// The same as awaiting it, blocking the thread.
    pub(crate) fn block(&mut self) -> Result<(), Rejection> {
        if self.bulkhead.gate.try_enter(self.priority) { Ok(()) } else { self.wait_blocking() }
    }

    #[cold]
    fn wait_blocking(&mut self) -> Result<(), Rejection> {
        let bulkhead = self.bulkhead;
        if !bulkhead.gate.has_queue() {
            return Err(bulkhead.refuse());
        }
        let waker = unparker();
        // Before it joins the queue: who sees it there may move the clock at once.
        let until = bulkhead.patience(self.deadline);
        let place = match bulkhead.gate.arrive(self.priority, Some(&waker)) {
            Arrival::Entered => return Ok(()),
            Arrival::Full => return Err(bulkhead.refuse()),
            Arrival::Queued(place) => place,
        };
        let mut ticket = QueueTicket { bulkhead, place, open: true };
        self.has_waited = true;
        bulkhead.counters.queued();
        let clock = bulkhead.core.clock();
        let mut over = clock.now() >= until;
        loop {
            if bulkhead.gate.is_granted(place, None) {
                ticket.open = false;
                return Ok(());
            }
            if over {
                drop(ticket);
                return Err(bulkhead.refuse());
            }
            over = clock.park(until);
        }
    }

    #[cold]
    fn arrive(&mut self, cx: &Context<'_>) -> Option<Result<(), Rejection>> {
        let bulkhead = self.bulkhead;
        if !bulkhead.gate.has_queue() {
            return Some(Err(bulkhead.refuse()));
        }
        // Before it joins the queue: who sees it there may move the clock at once.
        let until = bulkhead.patience(self.deadline);
        let place = match bulkhead.gate.arrive(self.priority, Some(cx.waker())) {
            Arrival::Entered => return Some(Ok(())),
            Arrival::Full => return Some(Err(bulkhead.refuse())),
            Arrival::Queued(place) => place,
        };
        let ticket = QueueTicket { bulkhead, place, open: true };
        self.has_waited = true;
        bulkhead.counters.queued();
        let Ok(timer) = BoxedTimer::armed(bulkhead.core.clock(), until) else {
            return Some(Err(bulkhead.refuse_for(RejectionKind::NoTimer)));
        };
        self.waiting = Some(Box::new(Waiting { ticket, timer }));
        None
    }
}

impl Future for Admission<'_> {
    type Output = Result<(), Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let bulkhead = self.bulkhead;
        if self.waiting.is_none() {
            if bulkhead.gate.try_enter(self.priority) {
                return Poll::Ready(Ok(()));
            }
            if let Some(decided) = self.arrive(cx) {
                return Poll::Ready(decided);
            }
        }
        let Some(waiting) = &mut self.waiting else {
            return Poll::Pending;
        };
        if bulkhead.gate.is_granted(waiting.ticket.place, Some(cx.waker())) {
            waiting.ticket.open = false;
            return Poll::Ready(Ok(()));
        }
        if Pin::new(&mut waiting.timer).poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.waiting = None;
        Poll::Ready(Err(bulkhead.refuse()))
    }
}
