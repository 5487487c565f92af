//! One call on its way through the stages. Not generic: compiled once, here, for every annotated function.

use std::hash::Hash;

use super::Pipeline;
use super::attempt::{Attempt, UntimedAttempt};
use super::spans::{InBody, Rare};
use crate::circuit_breaker::Ticket;
use crate::clock::Instant;
use crate::idempotency::{self, Effect};
use crate::observe::Ending;
use crate::priority::Priority;
use crate::rate_limit::{RateKey, RateLimiter, Request};
use crate::rejection::{Rejection, RejectionKind};
use crate::retry::Progress;
use crate::scope::{Entered, Scope};
use crate::timeout::Timeout;

/// One call. Dropped at any point, it gives back what it holds and records how it ended.
///
/// ```
/// use resilient_runtime::{Registry, Verdict, pipeline::{Call, Next}};
///
/// let pipeline = Registry::new().pipeline("order").retry("db").bulkhead("db").build();
/// let mut call = Call::begin(&pipeline);
/// let order = loop {
///     call.enter_blocking().unwrap();
///     let order = call.attempt_sync(|| Some(7));
///     if call.finish(Verdict::of(&order)) != Next::Retry {
///         break order;
///     }
/// };
/// drop(call);
/// assert_eq!((order, pipeline.stats().succeeded), (Some(7), 1));
/// ```
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each a question of its own, and the call must be small
pub struct Call<'p> {
    pub(super) pipeline: &'p Pipeline,
    /// [`Instant::NEVER`] if the time is not taken.
    pub(super) started: Instant,
    /// The earlier one of the own total and the deadline around it.
    pub(super) deadline: Instant,
    /// The time as last read; [`Instant::NEVER`] if it was not. While the body of an attempt runs that has paid a rate limit:
    /// the mark by which the limit finds what was paid, as nobody asks for the time until the attempt has ended.
    pub(super) now: Instant,
    /// When the body of this attempt began, after all queueing; [`Instant::NEVER`] before and after it, but for the mark of
    /// the token, while it holds one.
    pub(super) attempt_started: Instant,
    pub(super) progress: Progress,
    /// What few calls have, behind one pointer.
    pub(super) rare: Option<Box<Rare>>,
    pub(super) ticket: Option<Ticket>,
    /// By whose rate limit it goes, and for how many calls it counts: a [`Request`], without the gap in one.
    pub(super) rate_key: RateKey,
    pub(super) weight: u32,
    /// For how many calls its time counts; 0 if it is not taken.
    pub(super) counts_for: u8,
    /// It has a place in the rate, and has not begun.
    pub(super) holds_token: bool,
    pub(super) holds_slot: bool,
    /// It is in flight for the load shedder: from before the first attempt until after the last.
    pub(super) holds_load: bool,
    /// The body runs, or is being polled: who drops the call now is a panic.
    pub(super) in_body: bool,
    /// Nobody polls it: who drops it now, though it be in a panic of something else, cancels it.
    pub(super) suspended: bool,
    pub(super) asynchronous: bool,
    /// Its timeout wants to know how long each attempt takes, or retries stand back that need not once it has succeeded.
    pub(super) is_watched: bool,
    pub(super) repeats: Repeats,
    pub(super) priority: Priority,
    pub(super) ending: Ending,
    /// How it ended before its fallback was asked.
    pub(super) missed: Ending,
    /// What its failed attempts did, for whoever comes with its idempotency key.
    pub(super) effect: Effect,
}

/// Whether a call may run twice. One byte: it is in the future of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    /// As the pipeline says.
    AsPipeline,
    /// It has the effect of once.
    Safe,
    /// It must not.
    Unsafe,
    /// It is one of several attempts at the same time: it has no record of its own, and is not repeated.
    Flight,
    /// Likewise, and it was sent beside another one or after it.
    Hedge,
    /// Its outcome was handed out, and is the only one.
    HandedOut,
}

/// What comes after an attempt.
///
/// ```
/// use resilient_runtime::{Registry, Verdict, clock::ManualClock, pipeline::{Call, Next}};
///
/// let registry = Registry::with_clock(ManualClock::new().clock());
/// let (once, again) = (registry.pipeline("post").build(), registry.pipeline("get").retry("db").build());
/// let failed = Verdict::of(&None::<u32>);
/// assert_eq!(Call::begin(&once).finish(failed), Next::Fail);
/// assert_eq!(Call::begin(&again).finish(failed), Next::Retry);
/// assert_eq!(Call::begin(&once).finish(Verdict::Success), Next::Return);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It succeeded, or its error is the caller's own affair: return it.
    Return,
    /// It failed and will not be repeated: fall back, or return it.
    Fail,
    /// It failed and will be repeated: ask for admission again, which waits first.
    Retry,
}

impl<'p> Call<'p> {
    /// Starts a call: the first of its two readings of the clock, if it needs any.
    ///
    /// ```
    /// use resilient_runtime::{Registry, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("order").build();
    /// let call = Call::begin(&pipeline);
    /// assert_eq!(pipeline.stats().in_flight, 1);
    /// drop(call);
    /// assert_eq!(pipeline.stats().cancelled, 1, "it was never made");
    /// ```
    pub fn begin(pipeline: &'p Pipeline) -> Self {
        let sample = pipeline.operation.started();
        let is_on = pipeline.switch.is_on();
        let pipeline = if is_on { pipeline } else { pipeline.bypass() };
        if let Some(retry) = &pipeline.retry {
            retry.budget().deposit();
        }
        let around = Scope::current();
        // Nor is anything refused because of a time around it.
        let inherited = if is_on { around.deadline_on(&pipeline.clock) } else { Instant::NEVER };
        let needs_time = inherited != Instant::NEVER || pipeline.needs_time();
        let counts_for = if needs_time { 1 } else { sample };
        let started = if counts_for > 0 { pipeline.clock.now() } else { Instant::NEVER };
        let deadline = match &pipeline.timeout {
            Some(timeout) => timeout.deadline(started, inherited),
            None => inherited,
        };
        Self {
            pipeline,
            started,
            deadline,
            now: started,
            attempt_started: Instant::NEVER,
            progress: Progress::default(),
            rare: Rare::of(pipeline.operation.name()),
            ticket: None,
            rate_key: Request::ONE.key(),
            weight: Request::ONE.weight(),
            counts_for,
            holds_token: false,
            holds_slot: false,
            holds_load: false,
            in_body: false,
            suspended: false,
            asynchronous: false,
            is_watched: pipeline.timeout.as_ref().is_some_and(|timeout| timeout.is_adaptive())
                || !around.standing_back().is_empty(),
            repeats: Repeats::AsPipeline,
            priority: Priority::Normal,
            // What a call is until it has ended in another way.
            ending: Ending::Cancelled,
            missed: Ending::Failed,
            effect: Effect::None,
        }
    }

    /// How important the call is.
    ///
    /// ```
    /// use resilient_runtime::{Component, Priority, Registry, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("pay").load_shed("api").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.set_priority(Priority::Critical);
    /// call.enter_blocking().unwrap();
    /// assert_eq!(registry.load_shedder("api").stats().classes.critical.admitted, 1);
    /// ```
    #[inline]
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
    }

    /// By whose rate limit the call goes.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, pipeline::Call, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// registry.rate_limiter("users").reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// let pipeline = registry.pipeline("search").rate_limit("users").build();
    /// let enters = |user: &str| {
    ///     let mut call = Call::begin(&pipeline);
    ///     call.set_rate_key(user);
    ///     call.enter_blocking().is_ok()
    /// };
    /// assert_eq!((enters("ada"), enters("ada"), enters("bob")), (true, false, true));
    /// ```
    #[inline]
    pub fn set_rate_key<K: Hash + ?Sized>(&mut self, key: &K) {
        if let Some(limiter) = &self.pipeline.rate_limit {
            self.rate_key = limiter.request(key).key();
        }
    }

    /// How many calls this one counts for, in whatever kind of integer; what is no `u32` is more than any limit.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, pipeline::Call, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// registry.rate_limiter("rows").reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// let pipeline = registry.pipeline("export").rate_limit("rows").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.set_weight(501);
    /// assert!(call.enter_blocking().is_err());
    /// ```
    #[inline]
    pub fn set_weight(&mut self, weight: impl TryInto<u32>) {
        self.weight = weight.try_into().unwrap_or(u32::MAX);
    }

    /// What it asks of the rate limit.
    #[inline]
    pub(super) fn request(&self) -> Request {
        Request::of(self.rate_key, self.weight)
    }

    // Admission ------------------------------------------------------------------------------------------

    /// Starts an attempt of a pipeline in which nothing can refuse.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict, pipeline::{Call, Next}};
    ///
    /// let pipeline = Registry::new().pipeline("plain").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.begin_attempt();
    /// let outcome = call.attempt_sync(|| Some(7));
    /// assert_eq!(call.finish(Verdict::of(&outcome)), Next::Return);
    /// ```
    #[inline]
    pub fn begin_attempt(&mut self) {
        self.arrive();
        self.attempt_started = self.now;
    }

    /// Enters an attempt of an asynchronous call, if that takes no more than a look at the stages; else
    /// [`enter_later`](Self::enter_later) is to be awaited. Apart from that, so that a call in good times makes no
    /// future for it.
    ///
    /// ```
    /// use resilient_runtime::{Registry, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("order").circuit_breaker("db").build();
    /// assert!(Call::begin(&pipeline).enter());
    /// registry.circuit_breaker("db").force_open();
    /// assert!(!Call::begin(&pipeline).enter(), "the breaker has more to say");
    /// ```
    pub fn enter(&mut self) -> bool {
        self.asynchronous = true;
        self.enter_plainly()
    }

    /// Enters after the pause before a retry and the bulkhead's queue, or is refused; [`refused`](Self::refused) then says
    /// whether to try again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, RejectionKind, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("db").force_open();
    /// let pipeline = registry.pipeline("order").circuit_breaker("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// let refused = if call.enter() { Ok(()) } else { call.enter_later().await };
    /// assert_eq!(refused.unwrap_err().kind(), RejectionKind::CircuitOpen);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue; the call then gives back what it holds.
    pub async fn enter_later(&mut self) -> Result<(), Rejection> {
        self.pass_shedder()?;
        let (until, mut was_late) = (self.latest_start(), self.must_pause());
        self.pause().await;
        self.pass_breaker()?;
        if let Some(limiter) = self.unpaid() {
            let mut turn = limiter.turn(self.request(), until);
            let admitted = self.suspended(&mut turn).await;
            let has_waited = turn.has_waited();
            was_late |= has_waited;
            let mark = self.passed(admitted, has_waited)?;
            self.hold_token(mark);
        }
        if let Some(bulkhead) = &self.pipeline.bulkhead {
            let mut queue = bulkhead.queue(self.priority, until);
            let since = self.now;
            let admitted = self.suspended(&mut queue).await;
            let has_waited = queue.has_waited();
            was_late |= has_waited;
            self.was_queued(has_waited, admitted.is_ok(), since);
            self.passed(admitted, has_waited)?;
            self.holds_slot = true;
        }
        self.entered_in_time(was_late)
    }

    /// Enters an attempt of a synchronous call: blocks for the pause before a retry and in the bulkhead's queue.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("order").bulkhead("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.enter_blocking().unwrap();
    /// assert_eq!(registry.bulkhead("db").stats().in_use, 1);
    /// ```
    #[inline]
    pub fn enter_blocking(&mut self) -> Result<(), Rejection> {
        if self.enter_plainly() { Ok(()) } else { self.enter_later_blocking() }
    }

    #[cold]
    fn enter_later_blocking(&mut self) -> Result<(), Rejection> {
        self.pass_shedder()?;
        let (until, mut was_late) = (self.latest_start(), self.must_pause());
        self.pause_blocking();
        self.pass_breaker()?;
        if let Some(limiter) = self.unpaid() {
            let mut turn = limiter.turn(self.request(), until);
            let admitted = turn.block();
            was_late |= self.has_blocked(turn.has_waited());
            let mark = self.passed(admitted, turn.has_waited())?;
            self.hold_token(mark);
        }
        if let Some(bulkhead) = &self.pipeline.bulkhead {
            let mut queue = bulkhead.queue(self.priority, until);
            let since = self.now;
            let admitted = queue.block();
            let has_waited = queue.has_waited();
            was_late |= self.has_blocked(has_waited);
            self.was_queued(has_waited, admitted.is_ok(), since);
            self.passed(admitted, has_waited)?;
            self.holds_slot = true;
        }
        self.entered_in_time(was_late)
    }

    /// Whether it was in a queue, with the thread blocked.
    fn has_blocked(&self, has_waited: bool) -> bool {
        if has_waited {
            self.warn_of_blocking();
        }
        has_waited
    }

    /// Until when it waits for admission: no attempt begins after the deadline, nor after `max_elapsed`.
    pub(super) fn latest_start(&self) -> Instant {
        match &self.pipeline.retry {
            Some(retry) => self.deadline.min(retry.latest(self.started)),
            None => self.deadline,
        }
    }

    /// Whether `max_elapsed` is over, so that no attempt begins any more.
    pub(super) fn has_elapsed(&self) -> bool {
        let retry = self.pipeline.retry.as_ref().filter(|_| self.now != Instant::NEVER);
        retry.is_some_and(|retry| self.now > retry.latest(self.started))
    }

    /// Whether the first attempt of a call that has waited for another one may still begin.
    pub(super) fn begins_in_time(&mut self) -> Result<(), Rejection> {
        if !self.has_elapsed() {
            return Ok(());
        }
        let rejection = self.late(RejectionKind::QueueTimeout);
        self.end_shared(Ending::of(&rejection));
        Err(rejection)
    }

    /// The rate limit, where it has not been paid yet.
    fn unpaid(&self) -> Option<&'p RateLimiter> {
        self.pipeline.rate_limit.as_deref().filter(|_| !self.holds_token)
    }

    /// It has a place in the rate. The attempt has not started, so that there is room for the mark of the place.
    #[inline]
    fn hold_token(&mut self, mark: Instant) {
        self.holds_token = true;
        self.attempt_started = mark;
    }

    /// Nothing refuses the attempt any more: its place in the rate is spent.
    #[inline]
    fn entered(&mut self) {
        if self.holds_token {
            self.holds_token = false;
            std::mem::swap(&mut self.attempt_started, &mut self.now);
        } else {
            self.attempt_started = self.now;
        }
    }

    /// A permit that comes with the end of the call's time comes too late: the body has not begun, and does not. The pause
    /// before a retry was chosen to end in time; what comes after it, in a queue, was not.
    fn entered_in_time(&mut self, was_queued: bool) -> Result<(), Rejection> {
        if self.is_late() || was_queued && self.has_elapsed() {
            let rejection = self.out_of_time();
            self.settle(None);
            self.ending = Ending::of(&rejection);
            return Err(rejection);
        }
        self.entered();
        Ok(())
    }

    /// Whether a retry waits for its time: [`pause`](Self::pause) is to be awaited. Where stages can refuse,
    /// admission does that.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict, clock::ManualClock, pipeline::Call};
    ///
    /// let pipeline = Registry::with_clock(ManualClock::new().clock()).pipeline("order").retry("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.enter_blocking().unwrap();
    /// assert!(!call.must_pause());
    /// call.finish(Verdict::of(&None::<u32>));
    /// assert!(call.must_pause(), "it is to be repeated");
    /// ```
    #[inline]
    pub fn must_pause(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.pause.is_none())
    }

    /// The pause before a retry.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, Verdict, clock::Clock, pipeline::{Call, Next}};
    ///
    /// let pipeline = Registry::with_clock(Clock::tokio()).pipeline("order").retry("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// assert!(call.enter());
    /// assert_eq!(call.finish(Verdict::of(&None::<u32>)), Next::Retry);
    /// assert!(call.must_pause());
    /// call.pause().await;
    /// assert!(!call.must_pause());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn pause(&mut self) {
        if self.must_pause() {
            let pause = self.take_pause();
            self.suspended(pause).await;
        }
    }

    pub(super) async fn suspended<F: Future>(&mut self, wait: F) -> F::Output {
        self.suspended = true;
        let output = wait.await;
        self.suspended = false;
        output
    }

    /// The pause before a retry, if there is one, blocking the thread.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict, clock::ManualClock, pipeline::{Call, Next}};
    ///
    /// let time = ManualClock::new();
    /// let pipeline = Registry::with_clock(time.clock()).pipeline("order").retry("db").build();
    /// let (mut call, before) = (Call::begin(&pipeline), time.clock().now());
    /// call.begin_attempt();
    /// assert_eq!(call.finish(Verdict::of(&None::<u32>)), Next::Retry);
    /// call.pause_blocking();
    /// assert!(time.clock().now() > before);
    /// ```
    #[inline]
    pub fn pause_blocking(&mut self) {
        if self.must_pause() {
            self.warn_of_blocking();
            self.take_pause().block(&self.pipeline.clock);
        }
    }

    /// Nothing to wait for, the circuit closed, a permit free: no lock, and nothing that is counted if it fails.
    #[inline(never)]
    fn enter_plainly(&mut self) -> bool {
        if self.must_pause() || self.is_late() || !self.pass_shedder_plainly() {
            return false;
        }
        if let Some(breaker) = &self.pipeline.circuit_breaker {
            self.ticket = breaker.admit_plainly();
            if self.ticket.is_none() {
                return false;
            }
        }
        if let Some(limiter) = &self.pipeline.rate_limit {
            let Some(mark) = limiter.try_enter(self.request(), self.now) else {
                return false;
            };
            self.hold_token(mark);
        }
        if let Some(bulkhead) = &self.pipeline.bulkhead {
            if !bulkhead.try_enter(self.priority) {
                return false;
            }
            self.holds_slot = true;
            self.was_not_queued();
        }
        self.entered();
        true
    }

    /// Back from a queue: on, or refused.
    fn passed<T>(&mut self, admitted: Result<T, Rejection>, has_waited: bool) -> Result<T, Rejection> {
        self.now = self.pipeline.clock.now();
        let refused = match admitted {
            Ok(admitted) => return Ok(admitted),
            Err(refused) => refused,
        };
        let rejection = self.leave_before_body(refused);
        self.ending = Ending::of(&rejection);
        let rejection = self.with_errors(rejection);
        if !has_waited && self.progress.retries == 0 {
            // At once: only to find out has taken time.
            self.now = self.started;
        }
        Err(self.after_attempts(rejection))
    }

    /// The time of a first attempt was read when the call began; a pause has made it old.
    #[inline]
    pub(super) fn arrive(&mut self) {
        if self.progress.retries > 0 {
            self.now = self.pipeline.clock.now();
        }
    }

    /// Passes the circuit breaker, unless the call has done so before it looked for a permit.
    fn pass_breaker(&mut self) -> Result<(), Rejection> {
        self.arrive();
        let passed = match &self.pipeline.circuit_breaker {
            _ if self.is_late() => Err(self.out_of_time()),
            Some(breaker) if self.ticket.is_none() => breaker.admit(|| self.time()).map(Some),
            _ => return Ok(()),
        };
        match passed {
            Ok(ticket) => self.ticket = ticket,
            Err(rejection) => {
                self.settle(None);
                self.ending = Ending::of(&rejection);
                return Err(self.after_attempts(self.with_errors(rejection)));
            }
        }
        Ok(())
    }

    /// The refusal of a retry: an attempt that was made before may have had its effect, and whoever gets the refusal must
    /// not take the call for one that was not made.
    fn after_attempts(&self, rejection: Rejection) -> Rejection {
        if self.effect.may_be() { rejection.of_a_retry() } else { rejection }
    }

    /// Says once that the call blocks a thread on which asynchronous code runs, if it does.
    #[cold]
    pub(super) fn warn_of_blocking(&self) {
        self.pipeline.clock.warn_of_blocking(self.pipeline.operation.name());
    }

    /// Where there is a deadline, the time is always taken.
    #[inline]
    pub(super) fn is_late(&self) -> bool {
        self.now >= self.deadline && self.deadline != Instant::NEVER
    }

    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.started != Instant::NEVER
    }

    /// The time as last read, or as it is now.
    #[inline]
    pub(super) fn time(&self) -> Instant {
        if self.now == Instant::NEVER { self.pipeline.clock.now() } else { self.now }
    }

    /// Refused further in: no evidence for the breaker, and a probe goes back.
    #[cold]
    fn leave_before_body(&mut self, refused: Rejection) -> Rejection {
        self.settle(None);
        // The queue gave up because the call's own time was over.
        if self.is_late() { self.out_of_time() } else { refused }
    }

    /// The time was over before the body began. Where an attempt was made before, or is made at the same time, the call
    /// may have had its effect nevertheless.
    #[cold]
    pub(super) fn out_of_time(&self) -> Rejection {
        let is_first = self.progress.retries == 0 && !self.is_flight();
        self.late(if is_first { RejectionKind::QueueTimeout } else { RejectionKind::TotalTimeout })
    }

    #[cold]
    pub(super) fn late(&self, kind: RejectionKind) -> Rejection {
        let elapsed = self.now.since(self.started);
        self.with_errors(match &self.pipeline.timeout {
            Some(timeout) => timeout.fired(kind, elapsed),
            None => Rejection::timed_out(kind, self.pipeline.operation.name(), elapsed),
        })
    }

    /// The refusal says what attempts before failed with.
    #[cold]
    fn with_errors(&self, rejection: Rejection) -> Rejection {
        match self.rare.as_ref().and_then(|rare| rare.errors()) {
            Some(errors) => rejection.after_errors(errors),
            None => rejection,
        }
    }

    /// The attempt met a limit while it ran.
    #[cold]
    pub(super) fn cut_off(&self, timeout: &Timeout, kind: RejectionKind) -> Rejection {
        let since = if kind == RejectionKind::AttemptTimeout { self.attempt_started } else { self.started };
        let rejection = timeout.fired(kind, self.pipeline.clock.now().since(since));
        // An attempt that is repeated says so itself.
        if kind == RejectionKind::AttemptTimeout { rejection } else { self.with_errors(rejection) }
    }

    // The attempt ----------------------------------------------------------------------------------------

    /// Runs the body of a synchronous function. It is a `FnOnce`, so that the body may give out what it
    /// captured.
    ///
    /// ```
    /// use resilient_runtime::{Registry, deadline, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("order").timeout("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.enter_blocking().unwrap();
    /// assert!(call.attempt_sync(deadline::remaining).is_some(), "it has the deadline of the call");
    /// ```
    #[inline]
    pub fn attempt_sync<R>(&mut self, body: impl FnOnce() -> R) -> R {
        let _scope = self.enter_body();
        let outcome = body();
        self.in_body = false;
        outcome
    }

    /// Runs the body of an asynchronous function within its time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, RejectionKind, clock::Clock, pipeline::Call};
    ///
    /// let pipeline = Registry::with_clock(Clock::tokio()).pipeline("order").timeout("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// assert!(call.enter());
    /// let late = call.attempt(std::future::pending::<()>()).await.unwrap_err();
    /// assert_eq!(late.kind(), RejectionKind::TotalTimeout);
    /// # }
    /// ```
    #[inline]
    pub fn attempt<'c, F: Future>(&'c mut self, body: F) -> Attempt<'c, 'p, F> {
        self.asynchronous = true;
        Attempt::new(self, body)
    }

    /// Runs the body of an asynchronous function that has no limit of time of its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("order").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.begin_attempt();
    /// assert_eq!(call.attempt_untimed(async { 7 }).await, 7);
    /// # }
    /// ```
    #[inline]
    pub fn attempt_untimed<'c, F: Future>(&'c mut self, body: F) -> UntimedAttempt<'c, 'p, F> {
        self.asynchronous = true;
        UntimedAttempt::new(self, body)
    }

    #[inline]
    pub(super) fn enter_body(&mut self) -> InBody {
        let scope = self.enter_scope();
        self.in_body(scope)
    }

    #[inline]
    fn enter_scope(&mut self) -> Entered {
        self.in_body = true;
        let has_deadline = self.deadline != Instant::NEVER || self.pipeline.timeout.is_some();
        if !has_deadline && self.pipeline.retry.is_none() && !self.is_flight() {
            return Entered::none();
        }
        self.enter_own_scope(has_deadline)
    }

    fn enter_own_scope(&self, has_deadline: bool) -> Entered {
        if self.is_flight() {
            return self.flight_scope().enter();
        }
        // The scope around the call is that of whoever polls it.
        let mut scope = Scope::current();
        let attempt = self.progress.retries + 1;
        if !has_deadline && scope.is_as_in_attempt(attempt) {
            return Entered::none();
        }
        if has_deadline {
            scope = scope.with_deadline(self.deadline, &self.pipeline.clock);
        }
        if let Some(timeout) = &self.pipeline.timeout {
            scope = scope.in_timeout(timeout.number());
        }
        if self.pipeline.retry.is_some() {
            scope = scope.with_attempt(attempt, self.standing_back());
        }
        scope.enter()
    }

    /// That of the body of one of several attempts at the same time.
    fn flight_scope(&self) -> Scope {
        self.body_scope().hedged(self.repeats == Repeats::Hedge)
    }

    /// What the body sees: the scope around the call, the call's deadline and timeout, and the number of the attempt.
    pub(super) fn body_scope(&self) -> Scope {
        let mut scope = Scope::current().with_deadline(self.deadline, &self.pipeline.clock);
        if let Some(timeout) = &self.pipeline.timeout {
            scope = scope.in_timeout(timeout.number());
        }
        if self.pipeline.retry.is_some() {
            scope = scope.with_attempt(self.progress.retries + 1, self.standing_back());
        }
        scope
    }

    /// The body is pending: what has succeeded in it need not stand back when it is polled again.
    #[inline]
    pub(super) fn note_progress(&mut self) {
        if self.progress.retries > 0
            && let Some(rare) = &mut self.rare
        {
            rare.standing_back = rare.standing_back.still_in(Scope::current().standing_back());
        }
    }

    #[inline]
    pub(super) fn left_body(&mut self, is_pending: bool) {
        self.in_body = false;
        self.suspended = is_pending;
        if is_pending && self.pipeline.idempotency.is_some() {
            idempotency::has_begun();
        }
    }

    pub(super) fn pipeline(&self) -> &'p Pipeline {
        self.pipeline
    }
}
