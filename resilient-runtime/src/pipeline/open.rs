//! A call that goes on after its outcome was handed out: that of a client ends with the body of the response.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::call::Repeats;
use super::drive::{CallFailure, Described, Judges};
use super::methods::Method;
use super::spans::Rare;
use super::{Call, Next, Options, Pipeline};
use crate::circuit_breaker::Ticket;
use crate::classify::Class;
use crate::clock::{BoxedTimer, Instant};
use crate::idempotency::Effect;
use crate::observe::{Ending, Words};
use crate::outcome::{Judgement, Reject, Verdict};
use crate::priority::Priority;
use crate::rate_limit::RateKey;
use crate::rejection::{Rejection, RejectionKind};
use crate::retry::Progress;

/// A call whose outcome was handed out before its end, such as a response whose body is still to be read. Made by
/// [`Pipeline::call_open_async`].
///
/// Until it ends it holds its permit of the bulkhead and its place at the load shedder, and the circuit breaker has not heard
/// of it. It ends once, in one of these ways:
///
/// | | the call is counted as | the circuit breaker sees |
/// |---|---|---|
/// | [`end`](Self::end) | the verdict says | the verdict |
/// | [`poll_part`](Self::poll_part) waits longer than `timeout(read = ..)`, or beyond the deadline | timed out | a failure |
/// | a part comes after the deadline, because nobody asked for it sooner | timed out | nothing |
/// | dropped after [`poll_part`](Self::poll_part) was called | cancelled | nothing |
/// | dropped before that: only the outcome was wanted | the judge said | what the judge said |
///
/// How long a call took is counted to its outcome, not to the end of the body, which depends on the reader; unless it fails.
/// An outcome that the judge calls a failure ends the call at once; its body is then bounded in time, too.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::{future::poll_fn, sync::Arc, task::Poll};
/// use resilient_runtime::{Component, Registry, Verdict, pipeline::Options};
///
/// let registry = Registry::new();
/// let pipeline = Arc::new(registry.pipeline("download").circuit_breaker("mirror").bulkhead("mirror").build());
/// let send = async || Some("200 OK");
/// let (head, mut call) = pipeline.call_open_async(Options::default(), send, Verdict::of, |_, _| ()).await;
/// assert_eq!((head, registry.bulkhead("mirror").stats().in_use), (Some("200 OK"), 1));
///
/// let part = poll_fn(|cx| call.poll_part(cx, |_| Poll::Ready(Some("a part of the body")))).await;
/// assert_eq!(part, Some(Ok("a part of the body")));
/// call.end(Verdict::Success);
/// assert_eq!(registry.bulkhead("mirror").stats().in_use, 0);
/// assert_eq!((pipeline.stats().succeeded, registry.circuit_breaker("mirror").stats().successful), (1, 1));
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "the call ends when this is dropped"]
pub struct OpenCall(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    pipeline: Arc<Pipeline>,
    started: Instant,
    deadline: Instant,
    /// What the outcome was worth.
    judgement: Judgement,
    /// `None` where the outcome has ended the call, and only the time of its body is bounded.
    parked: Option<Parked>,
    is_read: bool,
    /// Since when a part is waited for; [`Instant::NEVER`] while none is.
    waiting_since: Instant,
    timer: Option<BoxedTimer>,
}

/// What a call is made of, but for its hold on the pipeline.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // as in the call itself
struct Parked {
    /// It goes past the stages of its pipeline.
    is_bypassing: bool,
    started: Instant,
    deadline: Instant,
    now: Instant,
    attempt_started: Instant,
    progress: Progress,
    rare: Option<Box<Rare>>,
    ticket: Option<Ticket>,
    rate_key: RateKey,
    weight: u32,
    holds_slot: bool,
    holds_load: bool,
    is_watched: bool,
    priority: Priority,
    effect: Effect,
}

impl Parked {
    /// Takes all out of a call whose outcome is there; what is left of it ends without a trace.
    fn take(mut call: Call<'_>, pipeline: &Pipeline) -> Self {
        if call.is_timed() || call.ticket.is_some() {
            call.now = call.pipeline.clock.now();
        }
        let parked = Self {
            is_bypassing: !std::ptr::eq(call.pipeline, pipeline),
            started: call.started,
            deadline: call.deadline,
            now: call.now,
            attempt_started: call.attempt_started,
            progress: call.progress,
            rare: call.rare.take(),
            ticket: call.ticket.take(),
            rate_key: call.rate_key,
            weight: call.weight,
            holds_slot: std::mem::take(&mut call.holds_slot),
            holds_load: std::mem::take(&mut call.holds_load),
            is_watched: call.is_watched,
            priority: call.priority,
            effect: call.effect,
        };
        // Nothing is left that could go back, and it has no record.
        call.attempt_started = Instant::NEVER;
        call.ending = Ending::Succeeded;
        call.repeats = Repeats::Flight;
        parked
    }

    /// The call again, as it was.
    fn resume(self, pipeline: &Pipeline) -> Call<'_> {
        Call {
            pipeline: if self.is_bypassing { pipeline.bypass() } else { pipeline },
            started: self.started,
            deadline: self.deadline,
            now: self.now,
            attempt_started: self.attempt_started,
            progress: self.progress,
            rare: self.rare,
            ticket: self.ticket,
            rate_key: self.rate_key,
            weight: self.weight,
            holds_token: false,
            holds_slot: self.holds_slot,
            holds_load: self.holds_load,
            in_body: false,
            // A panic of whoever reads is none of the call.
            suspended: true,
            asynchronous: true,
            is_watched: self.is_watched,
            repeats: Repeats::HandedOut,
            priority: self.priority,
            ending: Ending::Cancelled,
            missed: Ending::Failed,
            effect: self.effect,
        }
    }

    /// The call again, as long as it had taken to its outcome.
    fn resume_at_outcome(self, pipeline: &Pipeline) -> Call<'_> {
        let ended = self.now;
        let mut call = self.resume(pipeline);
        if ended != Instant::NEVER {
            let shift = pipeline.clock.now().since(ended);
            let later = |at: Instant| if at == Instant::NEVER { at } else { at.after(shift) };
            (call.started, call.attempt_started) = (later(call.started), later(call.attempt_started));
        }
        call
    }
}

/// How a body was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// The other side let it wait.
    Stalled(RejectionKind),
    /// It was asked for too late.
    ReadTooLate,
}

impl Open {
    fn ended(pipeline: &Arc<Pipeline>, call: &Call<'_>, judgement: Judgement) -> Self {
        Self {
            pipeline: Arc::clone(pipeline),
            started: call.started,
            deadline: call.deadline,
            judgement,
            parked: None,
            is_read: false,
            waiting_since: Instant::NEVER,
            timer: None,
        }
    }

    /// How long a part may be waited for.
    fn read_limit(&self) -> Duration {
        self.pipeline.timeout.as_ref().map_or(Duration::MAX, |timeout| timeout.read_limit())
    }

    /// Which limit ends the waiting for a part, and when.
    fn limit(&self) -> (Instant, RejectionKind) {
        let read = self.waiting_since.after(self.read_limit());
        if read < self.deadline {
            (read, RejectionKind::ReadTimeout)
        } else {
            (self.deadline, RejectionKind::TotalTimeout)
        }
    }

    /// Arms the timer for what comes first. Once armed it stays: it is looked at anew when it has fired.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        if self.waiting_since == Instant::NEVER {
            self.waiting_since = self.pipeline.clock.now();
        }
        loop {
            let (at, kind) = self.limit();
            if at == Instant::NEVER {
                return Poll::Pending;
            }
            if self.pipeline.clock.now() >= at {
                return Poll::Ready(self.late(Late::Stalled(kind)));
            }
            let timer = match &mut self.timer {
                Some(timer) => timer,
                none => match BoxedTimer::armed(&self.pipeline.clock, at) {
                    Ok(timer) => none.insert(timer),
                    Err(_) => return Poll::Ready(self.no_timer()),
                },
            };
            if std::pin::Pin::new(timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            // For an earlier part, maybe.
            self.timer = None;
        }
    }

    #[cold]
    fn late(&mut self, late: Late) -> Rejection {
        let (kind, since) = match late {
            Late::Stalled(RejectionKind::ReadTimeout) => (RejectionKind::ReadTimeout, self.waiting_since),
            Late::Stalled(kind) => (kind, self.started),
            Late::ReadTooLate => (RejectionKind::TotalTimeout, self.started),
        };
        let elapsed = self.pipeline.clock.now().since(since);
        let rejection = match &self.pipeline.timeout {
            Some(timeout) => timeout.fired(kind, elapsed),
            None => Rejection::timed_out(kind, self.pipeline.operation.name(), elapsed),
        };
        if let Some(parked) = self.parked.take() {
            let mut call = parked.resume(&self.pipeline);
            match late {
                Late::Stalled(RejectionKind::ReadTimeout) => {
                    call.finish(Verdict::Failure(Class::UNCERTAIN));
                    call.ending = Ending::TimedOut;
                }
                Late::Stalled(_) => {
                    call.timed_out(&rejection);
                }
                Late::ReadTooLate => {
                    call.now = self.pipeline.clock.now();
                    call.settle(None);
                    call.ending = Ending::TimedOut;
                }
            }
        }
        rejection
    }

    #[cold]
    fn no_timer(&mut self) -> Rejection {
        let rejection = match &self.pipeline.timeout {
            Some(timeout) => timeout.no_timer(),
            None => Rejection::new(RejectionKind::NoTimer, self.pipeline.operation.name()),
        };
        if let Some(parked) = self.parked.take() {
            parked.resume(&self.pipeline).timed_out(&rejection);
        }
        rejection
    }

    fn end(&mut self, judgement: Judgement, describe: impl FnOnce(&mut Words)) {
        let Some(parked) = self.parked.take() else { return };
        let is_failure = !stays_open(judgement.verdict());
        let mut call =
            if is_failure { parked.resume(&self.pipeline) } else { parked.resume_at_outcome(&self.pipeline) };
        call.suspended = false;
        call.finish_with(judgement, describe);
    }
}

impl OpenCall {
    /// Polls for a part of the body, `None` at its end, within the limits of the call: the `read` limit of its timeout for each
    /// part, and its deadline for all of them. It is `Err` once one of them is over; the call has ended then, and the body is
    /// to be dropped. At the end of the body the call is still to be [ended](Self::end).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};
    /// use resilient_runtime::{Component, Registry, RejectionKind, Verdict, clock::Clock, pipeline::Options, timeout::Config};
    ///
    /// let registry = Registry::with_clock(Clock::tokio());
    /// registry.timeout("mirror").reconfigure(Config::default().read(Duration::from_secs(5))).unwrap();
    /// let pipeline = Arc::new(registry.pipeline("download").timeout("mirror").build());
    /// let (_head, mut call) = pipeline.call_open_async(Options::default(), async || Some(200), Verdict::of, |_, _| ()).await;
    /// let stalled = poll_fn(|cx| call.poll_part(cx, |_| Poll::<Option<()>>::Pending)).await;
    /// assert_eq!(stalled.unwrap().unwrap_err().kind(), RejectionKind::ReadTimeout);
    /// assert_eq!(pipeline.stats().timed_out, 1);
    /// # }
    /// ```
    pub fn poll_part<T>(
        &mut self,
        cx: &mut Context<'_>,
        part: impl FnOnce(&mut Context<'_>) -> Poll<Option<T>>,
    ) -> Poll<Option<Result<T, Rejection>>> {
        let Some(open) = self.0.as_deref_mut() else {
            return part(cx).map(|part| part.map(Ok));
        };
        open.is_read = true;
        // The part first: what is ready in the same poll as its timer has made it (T65).
        let late = match part(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(part)) => {
                let has_waited = open.waiting_since != Instant::NEVER;
                open.waiting_since = Instant::NEVER;
                let is_late = open.deadline != Instant::NEVER
                    && !has_waited
                    && open.pipeline.clock.now() >= open.deadline;
                if !is_late {
                    return Poll::Ready(Some(Ok(part)));
                }
                Poll::Ready(open.late(Late::ReadTooLate))
            }
            Poll::Pending => open.poll_limit(cx),
        };
        late.map(|rejection| {
            self.0 = None;
            Some(Err(rejection))
        })
    }

    /// Ends the call in this way: the body was read to its end, or broke off. Nothing is repeated: the outcome was handed out.
    /// Further calls of this change nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::{Class, Component, Registry, Verdict, pipeline::Options};
    ///
    /// let registry = Registry::new();
    /// let pipeline = Arc::new(registry.pipeline("download").circuit_breaker("mirror").build());
    /// let (_head, mut call) = pipeline.call_open_async(Options::default(), async || Some(200), Verdict::of, |_, _| ()).await;
    /// call.end(Verdict::Failure(Class::UNCERTAIN)); // the connection broke in the middle of the body
    /// assert_eq!((pipeline.stats().failed, registry.circuit_breaker("mirror").stats().failed), (1, 1));
    /// # }
    /// ```
    pub fn end(&mut self, judgement: impl Into<Judgement>) {
        self.end_with(judgement, |_| ());
    }

    /// Like [`end`](Self::end), with words for a failure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::{Class, Registry, Verdict, pipeline::Options};
    ///
    /// let pipeline = Arc::new(Registry::new().pipeline("download").build());
    /// let send = async || Some(200);
    /// let (_head, mut call) = pipeline.call_open_async(Options::default(), send, Verdict::of, |_, _| ()).await;
    /// call.end_with(Class::UNCERTAIN, |words| words.display(&"the connection broke off"));
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "the connection broke off");
    /// # }
    /// ```
    pub fn end_with(&mut self, judgement: impl Into<Judgement>, describe: impl FnOnce(&mut Words)) {
        if let Some(mut open) = self.0.take() {
            open.end(judgement.into(), describe);
        }
    }

    /// What the judge said of the outcome; `None` once the call has ended.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, Verdict, pipeline::Options};
    ///
    /// let pipeline = Arc::new(Registry::new().pipeline("download").build());
    /// let (_head, mut call) = pipeline.call_open_async(Options::default(), async || Some(200), Verdict::of, |_, _| ()).await;
    /// assert_eq!(call.judgement(), Some(Verdict::Success.into()));
    /// call.end(Verdict::Success);
    /// assert_eq!(call.judgement(), None);
    /// # }
    /// ```
    pub fn judgement(&self) -> Option<Judgement> {
        self.0.as_ref().map(|open| open.judgement)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let Some(mut open) = self.0.take() else { return };
        if !open.is_read {
            let judgement = open.judgement;
            open.end(judgement, |_| ());
        } else if let Some(parked) = open.parked.take() {
            // Cancelled: that is what dropping it says.
            drop(parked.resume(&open.pipeline));
        }
    }
}

impl Call<'_> {
    /// Takes over what the best of several attempts at the same time holds.
    pub(super) fn adopt(&mut self, mut flight: Call<'_>) {
        self.ticket = flight.ticket.take();
        self.holds_slot = std::mem::take(&mut flight.holds_slot);
        self.attempt_started = std::mem::replace(&mut flight.attempt_started, Instant::NEVER);
    }
}

/// Whether the call goes on behind an outcome of this kind.
pub(super) fn stays_open(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Success | Verdict::Failure(Class::Ignored))
}

impl Pipeline {
    /// As [`call_judged_async`](Self::call_judged_async), but a call that succeeded goes on after its outcome was handed out:
    /// until the [`OpenCall`] that comes with it has ended, or is dropped. For responses whose body is read later.
    ///
    /// `describe` has words for a failed outcome, as in [`call_worded_async`](Self::call_worded_async).
    ///
    /// Retries and hedges end with the first outcome that is not a failure; nothing is repeated behind it. The limit of an
    /// attempt (`timeout(attempt = ..)`) bounds the outcome alone, the total all of the call. A pipeline with idempotency needs
    /// a key, and refuses the call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, Rejection, Verdict, pipeline::Options};
    ///
    /// let pipeline = Arc::new(Registry::new().pipeline("download").retry("mirror").build());
    /// let send = async || Ok::<_, Rejection>("200 OK");
    /// let (head, call) = pipeline.call_open_async(Options::default(), send, Verdict::by_class, |_, _| ()).await;
    /// assert_eq!((head, pipeline.stats().in_flight), (Ok("200 OK"), 1));
    /// drop(call);
    /// assert_eq!((pipeline.stats().in_flight, pipeline.stats().succeeded), (0, 1), "nobody wanted the body");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async). Once the outcome is there, dropping the [`OpenCall`] ends the call.
    pub async fn call_open_async<R: Reject, F: Future<Output = R>, J: Into<Judgement>>(
        self: &Arc<Self>,
        options: impl Into<Options>,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
        describe: impl Fn(&R, &mut Words),
    ) -> (R, OpenCall) {
        let mut call = self.begin(options.into());
        let (ended, judgement) = drive_open(&mut call, &mut work, &Described { judge, describe }).await;
        match ended {
            Ok(outcome) => {
                let (started, deadline) = (call.started, call.deadline);
                let mut parked = Parked::take(call, self);
                if let (Some(ticket), Some(breaker)) = (&mut parked.ticket, &self.circuit_breaker) {
                    breaker.answered(ticket);
                }
                let open = Open {
                    pipeline: Arc::clone(self),
                    started,
                    deadline,
                    judgement,
                    parked: Some(parked),
                    is_read: false,
                    waiting_since: Instant::NEVER,
                    timer: None,
                };
                (outcome, OpenCall(Some(Box::new(open))))
            }
            Err(CallFailure::Failed(outcome)) => {
                let open = Open::ended(self, &call, judgement);
                (outcome, OpenCall(Some(Box::new(open))))
            }
            Err(missed) => (missed.surface(), OpenCall::default()),
        }
    }
}

/// As `attempts_async`, up to the outcome that is handed out.
async fn drive_open<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    judge: &impl Judges<R>,
) -> (Result<R, CallFailure<R>>, Judgement) {
    let refused = |rejection| (Err(CallFailure::Rejected(rejection)), Judgement::SUCCESS);
    if let Err(rejection) = call.honoured_by(Method::CallOpenAsync) {
        return refused(rejection);
    }
    let is_hedged = call.is_hedged();
    loop {
        let attempt = if is_hedged {
            // Boxed: who does not hedge does not pay for it with a larger future.
            let judged = |outcome: &R| judge.judge(outcome);
            let describe = |outcome: &R, words: &mut Words| judge.describe(outcome, words);
            let hear = |rejection: &Rejection| judge.hear(rejection);
            Box::pin(call.hedged_open(&mut *work, &judged, &describe, &hear)).await
        } else {
            if !call.enter()
                && let Err(rejection) = call.enter_later().await
            {
                match call.refused(&rejection, || judge.hear(&rejection)) {
                    Next::Retry => continue,
                    _ => return refused(rejection),
                }
            }
            match call.attempt(work()).await {
                Ok(outcome) => {
                    let judgement = judge.judge(&outcome);
                    Ok((outcome, judgement))
                }
                Err(rejection) => Err(rejection),
            }
        };
        match attempt {
            Ok((outcome, judgement)) if stays_open(judgement.verdict()) => {
                return (Ok(outcome), judgement);
            }
            Ok((outcome, judgement)) => {
                if call.finish_with(judgement, |words| judge.describe(&outcome, words)) != Next::Retry {
                    return (Err(CallFailure::Failed(outcome)), judgement);
                }
            }
            Err(rejection) => {
                let heard = judge.hear(&rejection);
                let next = if is_hedged {
                    call.hedges_refused_as(&rejection, heard)
                } else {
                    call.timed_out_as(&rejection, heard)
                };
                if next == Next::Fail {
                    return refused(rejection);
                }
            }
        }
    }
}
