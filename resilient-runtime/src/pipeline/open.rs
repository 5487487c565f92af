//! Calls that stay open after their outcome was returned: the call of an HTTP client ends with the response body.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::calls::begin;
use super::driver::{CallFailure, attempts_open, stays_open};
use super::honour::{Demands, Entry};
use super::judges::{Asked, Judge, Refusal};
use super::parked::Parked;
use super::{Call, Pipeline, Request};
use crate::classify::{Class, Judgement, Verdict};
use crate::clock::{BoxedTimer, Instant};
use crate::error_text::Words;
use crate::observe::Ending;
use crate::outcome::Reject;
use crate::rejection::{Rejection, RejectionKind};

/// A call that stays open after its outcome was returned.
///
/// An example is a response whose body is not read yet. It is returned by [`Request::call_open_async`].
///
/// Until it ends, it holds its bulkhead permit and its load shedder slot, and the circuit breaker has no result of it.
/// It ends once, in one of these ways:
///
/// | end | outcome in the statistics | result for the circuit breaker |
/// |---|---|---|
/// | [`end`](Self::end) | as the verdict | the verdict |
/// | [`poll_part`](Self::poll_part) waits longer than `timeout(read = ..)`, or beyond the deadline | timed out | a failure |
/// | a part arrives after the deadline because it was not polled earlier | timed out | none |
/// | dropped after [`poll_part`](Self::poll_part) was called | cancelled | none |
/// | dropped before that: only the outcome was needed | as the judgement | the judgement |
///
/// The recorded duration of a call ends with its outcome, not with the body, because the reader determines how long the
/// body takes. If the call fails, the duration includes the body. An outcome that the judge calls a failure ends the
/// call at once; its body is still limited in time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::{future::poll_fn, sync::Arc, task::Poll};
/// use resilient_runtime::{Component, Registry, Verdict};
///
/// let registry = Registry::new();
/// let pipeline = Arc::new(registry.pipeline("download").circuit_breaker("mirror").bulkhead("mirror").build());
/// let send = async || Some("200 OK");
/// let (head, mut call) = pipeline.open_request().call_open_async(send).await;
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
    /// The judgement of the outcome.
    judgement: Judgement,
    /// `None` if the outcome ended the call, and only the time of its body is limited.
    parked: Option<Parked>,
    is_read: bool,
    /// When the current wait for a part began.
    waiting_since: Option<Instant>,
    timer: Option<BoxedTimer>,
}

/// How a body exceeded a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// The other side did not send a part in time.
    Stalled(RejectionKind),
    /// The reader polled for it too late.
    ReadTooLate,
}

impl Open {
    fn ended(pipeline: &Arc<Pipeline>, call: &Call<'_>, judgement: Judgement) -> Self {
        Self {
            pipeline: Arc::clone(pipeline),
            started: call.clock.started.or_never(),
            deadline: call.clock.deadline,
            judgement,
            parked: None,
            is_read: false,
            waiting_since: None,
            timer: None,
        }
    }

    /// The maximum wait for a part.
    fn read_limit(&self) -> Duration {
        self.pipeline.stages.timeout.as_ref().map_or(Duration::MAX, |timeout| timeout.read_limit())
    }

    /// Which limit ends the wait for a part, and when.
    fn limit(&self) -> (Instant, RejectionKind) {
        let read = self.waiting_since.map_or(Instant::NEVER, |since| since.after(self.read_limit()));
        if read < self.deadline {
            (read, RejectionKind::ReadTimeout)
        } else {
            (self.deadline, RejectionKind::TotalTimeout)
        }
    }

    /// Arms the timer for the earliest limit. An armed timer is kept; when it fires, the limit is computed again.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        self.waiting_since.get_or_insert_with(|| self.pipeline.clock.now());
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
            // It may have fired for an earlier part.
            self.timer = None;
        }
    }

    #[cold]
    fn late(&mut self, late: Late) -> Rejection {
        let (kind, since) = match late {
            Late::Stalled(RejectionKind::ReadTimeout) => {
                (RejectionKind::ReadTimeout, self.waiting_since.unwrap_or(self.started))
            }
            Late::Stalled(kind) => (kind, self.started),
            Late::ReadTooLate => (RejectionKind::TotalTimeout, self.started),
        };
        let elapsed = self.pipeline.clock.now().since(since);
        let rejection = match &self.pipeline.stages.timeout {
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
                    call.timed_out(&rejection, Judgement::UNKNOWN);
                }
                Late::ReadTooLate => {
                    call.clock.read(&self.pipeline.clock);
                    call.settle(None);
                    call.ending = Ending::TimedOut;
                }
            }
        }
        rejection
    }

    #[cold]
    fn no_timer(&mut self) -> Rejection {
        let rejection = match &self.pipeline.stages.timeout {
            Some(timeout) => timeout.no_timer(),
            None => Rejection::new(RejectionKind::NoTimer, self.pipeline.operation.name()),
        };
        if let Some(parked) = self.parked.take() {
            parked.resume(&self.pipeline).timed_out(&rejection, Judgement::UNKNOWN);
        }
        rejection
    }

    fn end(&mut self, judgement: Judgement, describe: impl FnOnce(&mut Words)) {
        let Some(parked) = self.parked.take() else { return };
        let is_failure = !stays_open(judgement.verdict());
        let mut call =
            if is_failure { parked.resume(&self.pipeline) } else { parked.resume_at_outcome(&self.pipeline) };
        call.set_suspended(false);
        call.finish_with(judgement, describe);
    }
}

impl OpenCall {
    /// Polls a part of the body within the time limits of the call, and returns `None` at its end.
    ///
    /// The limits are the `read` limit of the timeout for each part, and the deadline for all of them. When a limit is
    /// exceeded, it returns `Err`: the call has ended, and the caller must drop the body. At the end of the body the
    /// caller must still [end](Self::end) the call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};
    /// use resilient_runtime::{Component, Registry, RejectionKind, Verdict, clock::Clock, timeout::Config};
    ///
    /// let registry = Registry::with_clock(Clock::tokio());
    /// registry.timeout("mirror").reconfigure(Config::default().read(Duration::from_secs(5))).unwrap();
    /// let pipeline = Arc::new(registry.pipeline("download").timeout("mirror").build());
    /// let (_head, mut call) = pipeline.open_request().call_open_async(async || Some(200)).await;
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
        // The part comes first: a part that is ready in the same poll as the timer is in time (T65).
        let late = match part(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(part)) => {
                let has_waited = open.waiting_since.take().is_some();
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

    /// Ends the call with this judgement.
    ///
    /// Call it after the body was read to its end or broke off. The call is not retried, because the outcome
    /// was returned. Further calls of this method have no effect.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::{Class, Component, Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let pipeline = Arc::new(registry.pipeline("download").circuit_breaker("mirror").build());
    /// let (_head, mut call) = pipeline.open_request().call_open_async(async || Some(200)).await;
    /// call.end(Verdict::Failure(Class::UNCERTAIN)); // the connection broke in the middle of the body
    /// assert_eq!((pipeline.stats().failed, registry.circuit_breaker("mirror").stats().failed), (1, 1));
    /// # }
    /// ```
    pub fn end(&mut self, judgement: impl Into<Judgement>) {
        self.end_with(judgement, |_| ());
    }

    /// Like [`end`](Self::end), with a function for the text of a failure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::{Class, Registry};
    ///
    /// let pipeline = Arc::new(Registry::new().pipeline("download").build());
    /// let send = async || Some(200);
    /// let (_head, mut call) = pipeline.open_request().call_open_async(send).await;
    /// call.end_with(Class::UNCERTAIN, |words| words.display(&"the connection broke off"));
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "the connection broke off");
    /// # }
    /// ```
    pub fn end_with(&mut self, judgement: impl Into<Judgement>, describe: impl FnOnce(&mut Words)) {
        if let Some(mut open) = self.0.take() {
            open.end(judgement.into(), describe);
        }
    }

    /// Returns the judgement of the outcome, or `None` once the call has ended.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, Verdict};
    ///
    /// let pipeline = Arc::new(Registry::new().pipeline("download").build());
    /// let (_head, mut call) = pipeline.open_request().call_open_async(async || Some(200)).await;
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
            // Dropping a resumed call cancels it.
            drop(parked.resume(&open.pipeline));
        }
    }
}

/// Returns the outcome of a call that stays open.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'p>(pub(super) &'p Arc<Pipeline>);

impl<R: Reject> Refusal<R> for Opened<'_> {
    const HAS_LEVELS: bool = false;

    fn refused(&self, rejection: &Rejection) -> Option<R> {
        Some(R::from_rejection(rejection.clone()))
    }
}

impl<R: Reject, J: Judge<R>> Request<'_, R, J, Opened<'_>> {
    /// Runs `work` through the stages and returns an open call with the outcome.
    ///
    /// A successful call stays open until the returned [`OpenCall`] has ended or is dropped.
    ///
    /// Retries and hedges end with the first outcome that is not a failure; a later failure is not retried. The attempt
    /// timeout (`timeout(attempt = ..)`) limits the time to the outcome, the total timeout the whole call. A pipeline
    /// with coalescing, idempotency or a fallback rejects this call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::Registry;
    ///
    /// let pipeline = Arc::new(Registry::new().pipeline("download").build());
    /// let (head, call) = pipeline.open_request().call_open_async(async || Some("200 OK")).await;
    /// assert_eq!((head, pipeline.stats().in_flight), (Some("200 OK"), 1));
    /// # drop(call);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`Pipeline::call_async`]. Once the outcome was returned, dropping the [`OpenCall`] ends the
    /// call.
    pub async fn call_open_async<F: Future<Output = R>>(self, mut work: impl FnMut() -> F) -> (R, OpenCall) {
        let pipeline = self.answer.0;
        let mut call = begin(pipeline, self.options);
        let by = Asked { judge: &self.judge, answer: &self.answer };
        if let Err(rejection) = call.honoured_by(Entry::Open, Demands::NONE) {
            return (R::from_rejection(rejection), OpenCall::default());
        }
        match attempts_open(&mut call, &mut work, &by).await {
            (Ok(outcome), judgement) => {
                let (started, deadline) = (call.clock.started.or_never(), call.clock.deadline);
                let mut parked = Parked::take(call, pipeline);
                if let (Some(ticket), Some(breaker)) =
                    (&mut parked.held.ticket, &pipeline.stages.circuit_breaker)
                {
                    breaker.answered(ticket);
                }
                let open = Open {
                    pipeline: Arc::clone(pipeline),
                    started,
                    deadline,
                    judgement,
                    parked: Some(parked),
                    is_read: false,
                    waiting_since: None,
                    timer: None,
                };
                (outcome, OpenCall(Some(Box::new(open))))
            }
            (Err(CallFailure::Failed(outcome)), judgement) => {
                let open = Open::ended(pipeline, &call, judgement);
                (outcome, OpenCall(Some(Box::new(open))))
            }
            (Err(CallFailure::Rejected(rejection)), _) => (R::from_rejection(rejection), OpenCall::default()),
        }
    }
}
