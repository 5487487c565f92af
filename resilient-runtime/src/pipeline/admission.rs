//! How an attempt passes the stages before the body: in one step if nothing is in the way, otherwise stage by stage.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Call;
use super::body::Activity;
use super::stages::rate_limit::RateToken;
use crate::bulkhead::Admission as Queue;
use crate::circuit_breaker::Ticket;
use crate::clock::{Clock, Delay, Instant};
use crate::observe::Ending;
use crate::rate_limit::Turn;
use crate::rejection::Rejection;

/// The tickets and tokens of an attempt. Its bulkhead permit is not included: it is one byte of the call.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) ticket: Option<Ticket>,
    pub(super) token: RateToken,
}

impl Admission {
    /// Whether something must be released.
    #[inline]
    pub(super) fn is_any(&self) -> bool {
        self.token.is_paid() || self.ticket.is_some()
    }
}

/// A wait of an attempt before its body runs, asynchronous or blocking.
#[derive(Debug)]
pub(super) enum Wait<'p> {
    /// The pause before a retry.
    Pause(Delay),
    /// A turn at the rate limiter.
    Turn(Turn<'p>),
    /// A bulkhead permit.
    Queue(Queue<'p>),
}

/// The result of a [`Wait`].
#[derive(Debug)]
pub(super) enum Waited {
    Paused,
    Turn(Result<Instant, Rejection>),
    Queue(Result<(), Rejection>),
}

impl Wait<'_> {
    /// Whether it suspended or blocked, rather than resolving at once.
    fn has_waited(&self) -> bool {
        match self {
            Self::Pause(_) => true,
            Self::Turn(turn) => turn.has_waited(),
            Self::Queue(queue) => queue.has_waited(),
        }
    }

    fn block(&mut self, clock: &Clock) -> Waited {
        match self {
            Self::Pause(pause) => {
                std::mem::take(pause).block(clock);
                Waited::Paused
            }
            Self::Turn(turn) => Waited::Turn(turn.block()),
            Self::Queue(queue) => Waited::Queue(queue.block()),
        }
    }
}

impl Future for Wait<'_> {
    type Output = Waited;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited> {
        match self.get_mut() {
            Self::Pause(pause) => Pin::new(pause).poll(cx).map(|()| Waited::Paused),
            Self::Turn(turn) => Pin::new(turn).poll(cx).map(Waited::Turn),
            Self::Queue(queue) => Pin::new(queue).poll(cx).map(Waited::Queue),
        }
    }
}

/// An attempt that waits before its body runs.
#[derive(Debug)]
pub(super) struct Queued<'p> {
    entering: Entering,
    wait: Wait<'p>,
}

/// A future that resolves when the attempt is admitted to its body, or rejected.
///
/// # Cancel safety
/// Dropping it leaves the queue. The call then releases what it holds.
#[derive(Debug)]
pub struct Admitted<'c, 'p> {
    queued: Option<Queued<'p>>,
    call: &'c mut Call<'p>,
}

impl Future for Admitted<'_, '_> {
    type Output = Result<(), Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { queued, call } = self.get_mut();
        call.poll_queue(queued, cx)
    }
}

/// How far an attempt has passed through the stages.
#[derive(Debug)]
struct Entering {
    next: Step,
    /// The latest time until which it waits.
    until: Instant,
    has_waited: bool,
}

/// The stages before the body, in order.
#[derive(Debug)]
enum Step {
    Pause,
    CircuitBreaker,
    RateLimit,
    Bulkhead,
    Body,
}

impl<'p> Call<'p> {
    /// Starts an attempt of a pipeline in which no stage can reject.
    #[inline]
    pub fn begin_attempt(&mut self) {
        self.arrive();
        self.clock.begin_attempt();
    }

    /// Admits an attempt of an asynchronous call if no stage makes it wait.
    ///
    /// If it returns false, await [`admitted`](Self::admitted). It is a separate method so that a call that is admitted
    /// at once creates no future.
    pub fn enter(&mut self) -> bool {
        self.asynchronous = true;
        self.enter_plainly()
    }

    /// Waits for the pause before a retry and in the queues, then admits the attempt or rejects it.
    pub fn admitted<'c>(&'c mut self) -> Admitted<'c, 'p> {
        Admitted { queued: None, call: self }
    }

    fn poll_queue(
        &mut self,
        queued: &mut Option<Queued<'p>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejection>> {
        if self.is_held() {
            return self.poll_entered(cx);
        }
        let queued = match queued {
            Some(queued) => queued,
            None => {
                let mut entering = self.entering()?;
                let Some(wait) = self.next_wait(&mut entering)? else { return self.poll_entered(cx) };
                queued.insert(Queued { entering, wait })
            }
        };
        loop {
            self.activity = Activity::Suspended;
            let Poll::Ready(waited) = Pin::new(&mut queued.wait).poll(cx) else { return Poll::Pending };
            self.activity = Activity::Between;
            self.waited(&mut queued.entering, waited, queued.wait.has_waited())?;
            let Some(wait) = self.next_wait(&mut queued.entering)? else { return self.poll_entered(cx) };
            queued.wait = wait;
        }
    }

    /// Admits an attempt of a synchronous call. Blocks for the pause before a retry and in the queues.
    #[inline]
    pub fn enter_blocking(&mut self) -> Result<(), Rejection> {
        if self.enter_plainly() { Ok(()) } else { self.enter_later_blocking() }
    }

    #[cold]
    fn enter_later_blocking(&mut self) -> Result<(), Rejection> {
        let mut entering = self.entering()?;
        while let Some(mut wait) = self.next_wait(&mut entering)? {
            let waited = wait.block(&self.pipeline.clock);
            if wait.has_waited() {
                self.warn_of_blocking();
            }
            self.waited(&mut entering, waited, wait.has_waited())?;
        }
        self.held_blocking()
    }

    /// The fast path: nothing to wait for, the circuit is closed, and a permit is free. It takes no lock and counts
    /// nothing if it fails.
    #[inline(never)]
    fn enter_plainly(&mut self) -> bool {
        let may_enter = !self.is_targeted()
            && !self.must_pause()
            && !self.clock.is_late()
            && self.pass_shedder_plainly()
            && self.pass_breaker_plainly()
            && self.pay_plainly()
            && self.take_slot_plainly();
        if may_enter {
            self.entered();
        }
        may_enter
    }

    fn entering(&mut self) -> Result<Entering, Rejection> {
        self.pass_shedder()?;
        Ok(Entering { next: Step::Pause, until: self.latest_start(), has_waited: false })
    }

    /// Passes the stages up to the first one that requires waiting. Returns `None` once the body can start.
    fn next_wait(&mut self, entering: &mut Entering) -> Result<Option<Wait<'p>>, Rejection> {
        loop {
            let (next, wait) = match entering.next {
                Step::Pause => {
                    let wait = self.must_pause().then(|| Wait::Pause(self.take_pause()));
                    (Step::CircuitBreaker, wait)
                }
                Step::CircuitBreaker => {
                    self.pass_breaker()?;
                    (Step::RateLimit, None)
                }
                Step::RateLimit => (Step::Bulkhead, self.rate_limit_turn(entering.until)),
                Step::Bulkhead => (Step::Body, self.bulkhead_queue(entering.until)),
                Step::Body => {
                    self.entered_in_time(entering.has_waited)?;
                    return Ok(None);
                }
            };
            entering.next = next;
            if wait.is_some() {
                return Ok(wait);
            }
        }
    }

    /// Applies the result of a wait.
    fn waited(&mut self, entering: &mut Entering, waited: Waited, has_waited: bool) -> Result<(), Rejection> {
        entering.has_waited |= has_waited;
        match waited {
            Waited::Paused => Ok(()),
            Waited::Turn(paid) => self.had_turn(paid, has_waited),
            Waited::Queue(admitted) => self.left_queue(admitted, has_waited),
        }
    }

    /// Continues after a queue, or rejects the attempt.
    pub(super) fn back_from_queue<T>(
        &mut self,
        admitted: Result<T, Rejection>,
        has_waited: bool,
    ) -> Result<T, Rejection> {
        self.clock.read(&self.pipeline.clock);
        let refused = match admitted {
            Ok(admitted) => return Ok(admitted),
            Err(refused) => refused,
        };
        let rejection = self.leave_before_body(refused);
        self.ending = Ending::of(&rejection);
        if !has_waited && self.progress.retries == 0 {
            // Rejected at once: only the clock reading above took time.
            self.clock.now = self.clock.started;
        }
        Err(self.after_attempts(rejection))
    }

    /// Rejected by an inner stage: the circuit breaker records no result, and a probe is returned.
    #[cold]
    fn leave_before_body(&mut self, refused: Rejection) -> Rejection {
        self.settle(None);
        // The queue gave up because the deadline of the call had passed.
        if self.clock.is_late() { self.out_of_time() } else { refused }
    }

    /// A first attempt uses the time read when the call began. After a pause that time is stale.
    #[inline]
    pub(super) fn arrive(&mut self) {
        if self.progress.retries > 0 {
            self.clock.read(&self.pipeline.clock);
        }
    }

    /// Every stage admitted the attempt.
    #[inline]
    fn entered(&mut self) {
        self.held.token.spend();
        self.clock.begin_attempt();
    }

    /// Rejects an attempt whose permit arrives at or after the deadline: its body does not start. The pause before a
    /// retry is chosen to end before the deadline, but the wait in a queue after it is not.
    fn entered_in_time(&mut self, has_waited: bool) -> Result<(), Rejection> {
        if self.clock.is_late() || has_waited && self.has_elapsed() {
            let rejection = self.out_of_time();
            self.settle(None);
            self.ending = Ending::of(&rejection);
            return Err(rejection);
        }
        self.entered();
        Ok(())
    }

    /// Logs once if the call blocks a thread that runs asynchronous code.
    #[cold]
    pub(super) fn warn_of_blocking(&self) {
        self.pipeline.clock.warn_of_blocking(self.pipeline.operation.name());
    }
}

/// Without the feature `chaos`, no fault holds an attempt.
#[cfg(not(feature = "chaos"))]
#[allow(clippy::unused_self)] // the signatures with the feature
impl Call<'_> {
    #[inline]
    fn is_targeted(&self) -> bool {
        false
    }

    #[inline]
    fn is_held(&self) -> bool {
        false
    }

    #[inline]
    fn poll_entered(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    #[allow(clippy::unnecessary_wraps)]
    fn held_blocking(&mut self) -> Result<(), Rejection> {
        Ok(())
    }

    #[inline]
    pub(super) fn was_stopped_by_fault(&mut self) -> bool {
        false
    }

    /// Faults alone ask about it.
    #[inline]
    pub fn set_in_threads(&mut self) {}
}
