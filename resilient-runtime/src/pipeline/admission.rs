//! How an attempt passes the stages in front of the body: at once where nothing is in the way, else step by step.

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

/// What an attempt holds of the stages around it, but for its permit of the bulkhead, which is one byte of the call.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) ticket: Option<Ticket>,
    pub(super) token: RateToken,
}

impl Admission {
    /// Whether something has to go back.
    #[inline]
    pub(super) fn is_any(&self) -> bool {
        self.token.is_paid() || self.ticket.is_some()
    }
}

/// What an attempt waits for before its body: awaited, or blocked on.
#[derive(Debug)]
pub(super) enum Wait<'p> {
    /// The pause before a retry.
    Pause(Delay),
    /// Its turn at the rate limit.
    Turn(Turn<'p>),
    /// A permit of the bulkhead.
    Queue(Queue<'p>),
}

/// What came of a [`Wait`].
#[derive(Debug)]
pub(super) enum Waited {
    Paused,
    Turn(Result<Instant, Rejection>),
    Queue(Result<(), Rejection>),
}

impl Wait<'_> {
    /// Whether it took time: else it was decided at once.
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

/// An attempt that waits before its body.
#[derive(Debug)]
pub(super) struct Queued<'p> {
    entering: Entering,
    wait: Wait<'p>,
}

/// The way of an attempt to its body.
///
/// # Cancel safety
/// Dropping it leaves the queue; the call then gives back what it holds.
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

/// How far an attempt has come.
#[derive(Debug)]
struct Entering {
    next: Step,
    /// Until when it waits.
    until: Instant,
    has_waited: bool,
}

/// The stages in front of the body, in their order.
#[derive(Debug)]
enum Step {
    Pause,
    CircuitBreaker,
    RateLimit,
    Bulkhead,
    Body,
}

impl<'p> Call<'p> {
    /// Starts an attempt of a pipeline in which nothing can refuse.
    #[inline]
    pub fn begin_attempt(&mut self) {
        self.arrive();
        self.clock.begin_attempt();
    }

    /// Enters an attempt of an asynchronous call, if that takes no more than a look at the stages; else
    /// [`admitted`](Self::admitted) must be awaited. It is a separate method so that a call that is admitted at once makes no
    /// future for it.
    pub fn enter(&mut self) -> bool {
        self.asynchronous = true;
        self.enter_plainly()
    }

    /// Enters after the pause before a retry and the queues, or is refused.
    pub fn admitted<'c>(&'c mut self) -> Admitted<'c, 'p> {
        Admitted { queued: None, call: self }
    }

    fn poll_queue(
        &mut self,
        queued: &mut Option<Queued<'p>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejection>> {
        let queued = match queued {
            Some(queued) => queued,
            None => {
                let mut entering = self.entering()?;
                let Some(wait) = self.next_wait(&mut entering)? else { return Poll::Ready(Ok(())) };
                queued.insert(Queued { entering, wait })
            }
        };
        loop {
            self.activity = Activity::Suspended;
            let Poll::Ready(waited) = Pin::new(&mut queued.wait).poll(cx) else { return Poll::Pending };
            self.activity = Activity::Between;
            self.waited(&mut queued.entering, waited, queued.wait.has_waited())?;
            let Some(wait) = self.next_wait(&mut queued.entering)? else { return Poll::Ready(Ok(())) };
            queued.wait = wait;
        }
    }

    /// Enters an attempt of a synchronous call: blocks for the pause before a retry and in the queues.
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
        Ok(())
    }

    /// Nothing to wait for, the circuit closed, a permit free: no lock, and nothing that is counted if it fails.
    #[inline(never)]
    fn enter_plainly(&mut self) -> bool {
        let may_enter = !self.must_pause()
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

    /// Passes the stages up to the first that must be waited for; `None` once the body may begin.
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

    /// Takes what the wait has brought.
    fn waited(&mut self, entering: &mut Entering, waited: Waited, has_waited: bool) -> Result<(), Rejection> {
        entering.has_waited |= has_waited;
        match waited {
            Waited::Paused => Ok(()),
            Waited::Turn(paid) => self.had_turn(paid, has_waited),
            Waited::Queue(admitted) => self.left_queue(admitted, has_waited),
        }
    }

    /// Back from a queue: on, or refused.
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
            // At once: only to find out has taken time.
            self.clock.now = self.clock.started;
        }
        Err(self.after_attempts(rejection))
    }

    /// Refused further in: no evidence for the breaker, and a probe goes back.
    #[cold]
    fn leave_before_body(&mut self, refused: Rejection) -> Rejection {
        self.settle(None);
        // The queue gave up because the call's own time was over.
        if self.clock.is_late() { self.out_of_time() } else { refused }
    }

    /// The time of a first attempt was read when the call began; a pause has made it old.
    #[inline]
    pub(super) fn arrive(&mut self) {
        if self.progress.retries > 0 {
            self.clock.read(&self.pipeline.clock);
        }
    }

    /// Nothing refuses the attempt any more.
    #[inline]
    fn entered(&mut self) {
        self.held.token.spend();
        self.clock.begin_attempt();
    }

    /// A permit that comes with the end of the call's time comes too late: the body has not begun, and does not. The pause
    /// before a retry was chosen to end in time; what comes after it, in a queue, was not.
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

    /// Says once that the call blocks a thread on which asynchronous code runs, if it does.
    #[cold]
    pub(super) fn warn_of_blocking(&self) {
        self.pipeline.clock.warn_of_blocking(self.pipeline.operation.name());
    }
}
