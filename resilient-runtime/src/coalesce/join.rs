//! Joining a flight: becoming its leader, or waiting for its result.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::Coalesce;
use super::flight::{Answer, Beat, Flight, Term, Turn};
use super::table::{self, Place};
use crate::clock::{BoxedTimer, Instant, unparker};
use crate::rejection::{Rejection, RejectionKind};

/// The result of joining a flight.
#[derive(Debug)]
pub(crate) enum Joined<'a> {
    /// The caller must run the work and share the result.
    Lead(Lead<'a>),
    /// Another call provided the result.
    Shared(SharedAnswer),
}

/// The result of another call.
#[derive(Debug)]
pub(crate) struct SharedAnswer(Answer);

impl SharedAnswer {
    /// Clones the result. Returns `None` if it has another type.
    pub(crate) fn get<S: Any + Clone>(&self) -> Option<S> {
        self.0.downcast_ref::<S>().cloned()
    }
}

/// The lead of a flight: the duty to run the work and share its result.
///
/// If the lead is dropped without a result, the next waiting call takes over.
///
/// ```
/// use resilient_runtime::{Component, Registry, __rt::{Call, Shared}};
///
/// let registry = Registry::new();
/// let pipeline = registry.pipeline("rate").coalesce("rates").build();
/// let mut call = Call::begin(&pipeline);
/// let Shared::Lead(Some(lead)) = call.share_blocking::<Option<f64>, _>("EUR").unwrap() else { panic!() };
/// assert_eq!(registry.coalesce("rates").stats().in_flight, 1);
/// drop(lead);
/// assert_eq!(registry.coalesce("rates").stats().in_flight, 0, "no waiting call takes over");
/// ```
#[derive(Debug)]
pub struct Lead<'a> {
    coalesce: &'a Coalesce,
    key: u128,
    /// `None` if the call is not coalesced.
    flight: Option<Arc<Flight>>,
    term: Term,
}

impl<'a> Lead<'a> {
    /// Shares the result with the waiting calls, if there are any.
    pub(super) fn share<S: Any + Clone + Send + Sync>(self, answer: &S) {
        self.share_made(|| answer.clone());
    }

    /// Shares the result of `make`, which is only called if a call waits for it. If `make` panics, the next waiting
    /// call takes the lead.
    pub(crate) fn share_made<S: Any + Send + Sync>(mut self, make: impl FnOnce() -> S) {
        let Some(flight) = self.flight.take() else { return };
        flight.forget_leader();
        // Remove the flight first, so that a later call does not get a result that may be stale by then (T101).
        self.flight = self.coalesce.table.remove(self.key, flight);
        if self.flight.is_some() {
            // While `make` runs, this is still the leader, which hands over when it is dropped.
            let answer = Arc::new(make());
            if let Some(flight) = self.flight.take() {
                flight.land(answer);
            }
        }
    }

    /// Runs the work.
    ///
    /// Calls with the same key inside `work` run at once instead of waiting for it.
    ///
    /// ```
    /// use resilient_runtime::{Registry, __rt::{Call, Shared}};
    ///
    /// let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
    /// let mut call = Call::begin(&pipeline);
    /// let Shared::Lead(Some(lead)) = call.share_blocking::<Option<f64>, _>("EUR").unwrap() else { panic!() };
    /// let inner = lead.lead(|| pipeline.request().coalesce_key("EUR").call(|| Some(1.1)));
    /// assert_eq!(inner, Some(1.1), "it does not wait for itself");
    /// ```
    pub fn lead<R>(&self, work: impl FnOnce() -> R) -> R {
        let _inside = table::enter(self.key, self.flight.as_deref());
        work()
    }

    /// Runs the work as a future. See [`lead`](Self::lead).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, __rt::{Call, Shared}};
    ///
    /// let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
    /// let mut call = Call::begin(&pipeline);
    /// let Shared::Lead(Some(lead)) = call.share::<Option<f64>, _>("EUR").await.unwrap() else { panic!() };
    /// let inner = lead.lead_async(pipeline.request().coalesce_key("EUR").call_async(async || Some(1.1))).await;
    /// assert_eq!(inner, Some(1.1));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Depends on `work`.
    pub fn lead_async<F: Future>(&self, work: F) -> Led<'_, F> {
        Led::of(Some(self), work)
    }

    fn of(coalesce: &'a Coalesce, key: u128, flight: Option<Arc<Flight>>, term: Term) -> Self {
        Self { coalesce, key, flight, term }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            flight.forget_leader();
            if !flight.vacate(self.term) {
                self.coalesce.table.remove_abandoned(self.key, &flight);
            }
        }
    }
}

pin_project! {
    /// The future of a leader's work.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, __rt::{Call, Shared}};
    ///
    /// let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
    /// let mut call = Call::begin(&pipeline);
    /// let Shared::Lead(Some(lead)) = call.share::<Option<f64>, _>("NOK").await.unwrap() else { panic!() };
    /// let work = lead.lead_async(async { Some(0.1) });
    /// assert_eq!(work.await, Some(0.1));
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct Led<'l, F> {
        #[pin]
        work: F,
        lead: Option<&'l Lead<'l>>,
    }
}

impl<'l, F> Led<'l, F> {
    /// Wraps `work` to run under `lead`. Without a lead, it only polls `work`.
    pub(crate) fn of(lead: Option<&'l Lead<'_>>, work: F) -> Self {
        Self { work, lead }
    }
}

impl<F: Future> Future for Led<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(lead) = *this.lead else { return this.work.poll(cx) };
        let flight = lead.flight.as_deref();
        let inside = table::enter(lead.key, flight);
        let poll = this.work.poll(cx);
        drop(inside);
        if let (Some(flight), true) = (flight, poll.is_pending()) {
            flight.suspended(lead.term, cx.waker());
        }
        poll
    }
}

/// A waiting call. It leaves the flight when dropped.
#[derive(Debug)]
struct Waiter<'a> {
    coalesce: &'a Coalesce,
    key: u128,
    flight: Arc<Flight>,
    number: u64,
    open: bool,
    /// The beat of the leader's work when its task was last woken to check whether it is polled.
    asked: Option<Beat>,
}

impl<'a> Waiter<'a> {
    fn try_take(&mut self, waker: &Waker) -> Option<Joined<'a>> {
        self.taken(self.flight.turn(self.number, waker))
    }

    fn taken(&mut self, turn: Turn) -> Option<Joined<'a>> {
        let coalesce = self.coalesce;
        let joined = match turn {
            Turn::Wait => return None,
            Turn::Take(answer) => {
                coalesce.counters.shared();
                Joined::Shared(SharedAnswer(answer))
            }
            Turn::Lead(term) => {
                coalesce.counters.handed_over();
                Joined::Lead(Lead::of(coalesce, self.key, Some(Arc::clone(&self.flight)), term))
            }
        };
        self.open = false;
        Some(joined)
    }

    /// Checks whether the leader is polled: wakes its task, and takes the lead if it was not polled since the last
    /// check.
    fn check_leader(&mut self) -> Option<Joined<'a>> {
        let beat = self.flight.beat();
        if beat.is_running() {
            self.asked = None;
            return None;
        }
        if self.asked.replace(beat) == Some(beat) {
            let turn = self.flight.take_over(self.number, beat);
            if matches!(turn, Turn::Lead(_)) {
                let name = self.coalesce.core.name;
                tracing::debug!(target: "resilient_runtime::coalesce", coalesce = %name, "the leading call is not polled; a waiting call takes over");
            }
            return self.taken(turn);
        }
        self.flight.wake_leader();
        None
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.open {
            self.flight.leave(self.number);
            self.coalesce.table.remove_abandoned(self.key, &self.flight);
        }
    }
}

/// Waits for the result of the call with the same key, or for the lead.
///
/// # Cancel safety
/// If it is dropped, the call leaves the flight. If it was about to take the lead, the next waiting call does.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Join<'a> {
    coalesce: &'a Coalesce,
    key: u128,
    deadline: Instant,
    /// Boxed, so that calls that do not wait stay small.
    waiting: Option<Box<Waiting<'a>>>,
}

#[derive(Debug)]
struct Waiting<'a> {
    waiter: Waiter<'a>,
    until: Instant,
    /// For the next check of the leader.
    timer: BoxedTimer,
}

/// How long a leader may stay unpolled after its task was woken. A task that is running needs microseconds.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl<'a> Join<'a> {
    pub(super) fn new(coalesce: &'a Coalesce, key: u128, deadline: Instant) -> Self {
        Self { coalesce, key, deadline, waiting: None }
    }

    /// The lead or a result, if available without a wait; otherwise a waiter.
    fn look(&self) -> Result<Joined<'a>, Waiter<'a>> {
        let (coalesce, key) = (self.coalesce, self.key);
        match coalesce.table.find(key) {
            Place::First(flight) => {
                let term = flight.term();
                Ok(Joined::Lead(Lead::of(coalesce, key, Some(flight), term)))
            }
            Place::None => {
                coalesce.counters.alone();
                Ok(Joined::Lead(Lead::of(coalesce, key, None, 0)))
            }
            Place::Found(flight, turn, number) => {
                let mut waiter = Waiter { coalesce, key, flight, number, open: true, asked: None };
                waiter.taken(turn).ok_or(waiter)
            }
        }
    }

    /// Rejects the call. Without timers it could not detect a leader that is not polled, and might wait forever.
    #[cold]
    fn refuse_without_timer(&mut self) -> Poll<Result<Joined<'a>, Rejection>> {
        self.waiting = None;
        Poll::Ready(Err(self.coalesce.refuse(RejectionKind::NoTimer)))
    }

    /// Like awaiting it, but blocks the thread.
    pub(crate) fn block(self) -> Result<Joined<'a>, Rejection> {
        let coalesce = self.coalesce;
        let until = coalesce.patience(self.deadline);
        let mut waiter = match self.look() {
            Ok(joined) => return Ok(joined),
            Err(waiter) => waiter,
        };
        let (clock, waker) = (coalesce.core.clock(), unparker());
        let mut look_at = clock.now().after(LOOK_AGAIN).min(until);
        let mut over = clock.now() >= until;
        loop {
            if let Some(joined) = waiter.try_take(&waker) {
                return Ok(joined);
            }
            if over {
                drop(waiter);
                return Err(coalesce.give_up());
            }
            if clock.park(look_at) {
                over = look_at >= until;
                if let Some(joined) = waiter.check_leader() {
                    return Ok(joined);
                }
                look_at = look_at.after(LOOK_AGAIN).min(until);
            }
        }
    }
}

impl<'a> Future for Join<'a> {
    type Output = Result<Joined<'a>, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.waiting.is_none() {
            let waiter = match this.look() {
                Ok(joined) => return Poll::Ready(Ok(joined)),
                Err(waiter) => waiter,
            };
            let (clock, until) = (this.coalesce.core.clock(), this.coalesce.patience(this.deadline));
            let Ok(timer) = BoxedTimer::armed(clock, clock.now().after(LOOK_AGAIN).min(until)) else {
                return this.refuse_without_timer();
            };
            this.waiting = Some(Box::new(Waiting { waiter, until, timer }));
        }
        let clock = this.coalesce.core.clock();
        while let Some(waiting) = &mut this.waiting {
            if let Some(joined) = waiting.waiter.try_take(cx.waker()) {
                return Poll::Ready(Ok(joined));
            }
            if Pin::new(&mut waiting.timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = clock.now();
            if now >= waiting.until {
                this.waiting = None;
                return Poll::Ready(Err(this.coalesce.give_up()));
            }
            if let Some(joined) = waiting.waiter.check_leader() {
                return Poll::Ready(Ok(joined));
            }
            let Ok(timer) = BoxedTimer::armed(clock, now.after(LOOK_AGAIN).min(waiting.until)) else {
                return this.refuse_without_timer();
            };
            waiting.timer = timer;
        }
        Poll::Pending
    }
}
