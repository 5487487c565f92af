//! The timeout stage: a deadline for the whole call, and a limit for each attempt that excludes time in queues.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::classify::{Class, Classify, Judgement, Verdict};
use crate::clock::{Instant, NoTimer, Timer};
use crate::context::{self, Scope};
use crate::idempotency::Effect;
use crate::load_shed::End;
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::pipeline::attempted::{Attempted, ran};
use crate::pipeline::body::poll_body;
use crate::pipeline::call::Next;
#[cfg(feature = "chaos")]
use crate::pipeline::stages::chaos::Held;
use crate::rejection::{Rejection, RejectionKind};
use crate::timeout::Timeout;

impl<'p> Call<'p> {
    /// The rejection of an attempt whose time was over before its body began. If there was an earlier or concurrent
    /// attempt, the call may still have had an effect.
    #[cold]
    pub(in crate::pipeline) fn out_of_time(&self) -> Rejection {
        let is_first = self.progress.retries == 0 && !self.is_racer();
        self.late(if is_first { RejectionKind::QueueTimeout } else { RejectionKind::TotalTimeout })
    }

    #[cold]
    pub(in crate::pipeline) fn late(&self, kind: RejectionKind) -> Rejection {
        let elapsed = self.clock.elapsed();
        self.with_errors(match &self.pipeline.stages.timeout {
            Some(timeout) => timeout.fired(kind, elapsed),
            None => Rejection::timed_out(kind, self.pipeline.operation.name(), elapsed),
        })
    }

    /// The rejection of a running attempt that reached a limit.
    #[cold]
    pub(in crate::pipeline) fn cut_off(&self, timeout: &Timeout, kind: RejectionKind) -> Rejection {
        let since =
            if kind == RejectionKind::AttemptTimeout { self.clock.attempt } else { self.clock.started };
        let rejection = timeout.fired(kind, self.pipeline.clock.now().since(since.or_never()));
        // An attempt timeout can be retried. Its text is then added to the earlier errors.
        if kind == RejectionKind::AttemptTimeout { rejection } else { self.with_errors(rejection) }
    }

    /// Returns the verdict if it says something about the dependency.
    ///
    /// `None` if the attempt ended only because an outer deadline passed: callers with short deadlines must not open
    /// the circuit for all others. The verdict counts if the call's own limits were reached too, or if the attempt was
    /// already slow. An error that a deadline cannot cause (not executed, overloaded, permanent) always counts.
    #[cold]
    pub(in crate::pipeline) fn evidence(&self, verdict: Verdict) -> Option<Verdict> {
        match verdict {
            Verdict::Failure(class) if class.may_be_cut_short() && self.is_cut_short() => None,
            verdict => Some(verdict),
        }
    }

    /// Like `evidence`, for an attempt that is timing out now.
    #[cold]
    pub(in crate::pipeline) fn evidence_of_time(&mut self) -> Option<Verdict> {
        self.clock.read(&self.pipeline.clock);
        self.evidence(Verdict::Failure(Class::UNCERTAIN))
    }

    /// Whether an outer deadline has passed, but none of the call's own limits.
    #[cold]
    pub(in crate::pipeline) fn is_cut_short(&self) -> bool {
        if !self.clock.is_late() {
            return false;
        }
        let (started, now) = (self.clock.attempt.or_never(), self.clock.now.or_never());
        let own = self.pipeline.stages.timeout.as_ref().map(|timeout| {
            let total = timeout.deadline(self.clock.started.or_never(), Instant::NEVER);
            timeout.limit(started, total).at
        });
        own.is_none_or(|own| now < own) && !self.is_slow(started, now)
    }

    /// Records an attempt that timed out. It may have had an effect (T33).
    ///
    /// `heard` is the judgement of the error that the rejection becomes. It can be `Permanent` or `Ignored`, and
    /// predicates can decide whether to retry and whether the circuit breaker counts it. Otherwise a timeout is
    /// [`Class::Uncertain`], whatever the class of the error.
    #[cold]
    pub(in crate::pipeline) fn timed_out(&mut self, rejection: &Rejection, heard: Judgement) -> Next {
        #[cfg(feature = "chaos")]
        if rejection.is_from_injection_point() {
            return self.failed_by_injection(rejection, heard);
        }
        let judgement = heard.of_rejection(rejection);
        #[cfg(feature = "chaos")]
        self.end_injection();
        self.clock.read(&self.pipeline.clock);
        // The body was pending, but the call itself is being polled.
        self.set_suspended(false);
        let evidence = self.evidence(Verdict::Failure(Class::UNCERTAIN));
        if rejection.is_timeout() && evidence.is_some() {
            self.ended_early();
        }
        if matches!(rejection.classify(), Class::Uncertain { .. }) {
            self.note(Effect::Unknown);
        }
        let next = match rejection.kind() {
            RejectionKind::AttemptTimeout => {
                let words = rejection.words();
                self.pipeline.texts.capture(
                    |text| text.display(&words),
                    |text| {
                        let cause = self.note_error(text);
                        self.settle_with(Some(judgement), cause);
                        self.ending = Ending::TimedOut;
                        let next = self.repeat(judgement, cause);
                        self.keep_error(next, cause);
                        next
                    },
                )
            }
            RejectionKind::TotalTimeout => {
                let words = rejection.words();
                self.pipeline.texts.capture(
                    |text| text.display(&words),
                    |text| {
                        let cause = self.note_error(text);
                        self.settle_with(evidence.map(|_| judgement), cause);
                    },
                );
                self.ending = Ending::TimedOut;
                Next::Fail
            }
            _ => {
                self.settle(None);
                self.repeat_refused(rejection, judgement)
            }
        };
        if next == Next::Fail {
            let is_cut_off = rejection.is_timeout() && evidence.is_some();
            self.leave_shedder(if is_cut_off { End::CutOff } else { End::Unknown });
        }
        next
    }

    /// Records that the attempt timed out or was cancelled: its work would have taken longer.
    #[cold]
    pub(in crate::pipeline) fn ended_early(&self) {
        if let (Some(timeout), true) =
            (&self.pipeline.stages.timeout, self.timing.wants_attempts() && self.is_attempt())
        {
            timeout.ended_early(self.clock.attempt.or_never(), self.clock.now.or_never());
        }
    }

    /// Not inlined, to keep it out of the path of calls that need no attempt times.
    #[inline(never)]
    pub(in crate::pipeline) fn completed(&self) {
        if let (Some(retry), false) = (&self.pipeline.stages.retry, Scope::current().suppressed().is_empty())
        {
            context::stop_suppressing(retry.bit());
        }
        if let (Some(timeout), true) = (&self.pipeline.stages.timeout, self.is_attempt()) {
            timeout.completed(self.clock.attempt.or_never(), self.clock.now.or_never());
        }
    }

    /// Runs an asynchronous body within its time limit.
    #[inline]
    pub fn attempt<'c, F: Future>(&'c mut self, body: F) -> Attempt<'c, 'p, F> {
        self.asynchronous = true;
        Attempt::new(self, body)
    }

    /// Runs an asynchronous body that has no time limit of its own.
    #[inline]
    pub fn attempt_untimed<'c, F: Future>(&'c mut self, body: F) -> UntimedAttempt<'c, 'p, F> {
        self.asynchronous = true;
        UntimedAttempt::new(self, body)
    }
}

pin_project! {
    /// An attempt of a call with a time limit.
    ///
    /// # Cancel safety
    /// Dropping it drops the body. The call then releases what it holds.
    #[derive(Debug)]
    pub struct Attempt<'c, 'p, F> {
        #[pin]
        body: F,
        #[pin]
        timer: Option<Timer>,
        call: &'c mut Call<'p>,
    }
}

impl<'c, 'p, F> Attempt<'c, 'p, F> {
    #[inline]
    pub(in crate::pipeline) fn new(call: &'c mut Call<'p>, body: F) -> Self {
        call.limited_by = None;
        #[cfg(feature = "chaos")]
        call.inject();
        Self { body, timer: None, call }
    }
}

impl<F: Future> Future for Attempt<'_, '_, F> {
    type Output = Result<F::Output, Rejection>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        #[cfg_attr(not(feature = "chaos"), allow(unused_mut))]
        let mut this = self.project();
        #[cfg(feature = "chaos")]
        if this.call.rare.is_some()
            && let Some(held) = poll_held(this.call, this.timer.as_mut(), cx)
        {
            return held.map(Err);
        }
        // The body comes first: if it is ready in the same poll as the timer, it is in time (T65).
        if let Poll::Ready(output) = poll_body(this.call, this.body, cx) {
            return Poll::Ready(Ok(output));
        }
        poll_limit(this.call, this.timer, cx).map(Err)
    }
}

/// Polls an attempt that faults may hold, within its time limit. Returns `None` once its body can run.
#[cfg(feature = "chaos")]
#[cold]
#[inline(never)]
fn poll_held(
    call: &mut Call<'_>,
    timer: Pin<&mut Option<Timer>>,
    cx: &mut Context<'_>,
) -> Option<Poll<Rejection>> {
    match call.poll_injection(cx) {
        Held::Run => None,
        Held::Pending => Some(poll_limit(call, timer, cx)),
        Held::Failed => Some(Poll::Ready(call.take_injected())),
    }
}

/// Not part of the generic future, so that it is compiled once.
fn poll_limit(
    call: &mut Call<'_>,
    mut timer: Pin<&mut Option<Timer>>,
    cx: &mut Context<'_>,
) -> Poll<Rejection> {
    let pipeline = call.pipeline;
    let Some(timeout) = &pipeline.stages.timeout else {
        return Poll::Pending;
    };
    let kind = match call.limited_by {
        Some(kind) => kind,
        None => {
            let limit = timeout.limit(call.clock.attempt.or_never(), call.clock.deadline);
            call.limited_by = Some(limit.kind);
            if limit.at != Instant::NEVER && pipeline.clock.arm(timer.as_mut(), limit.at) == Err(NoTimer) {
                return Poll::Ready(timeout.no_timer());
            }
            limit.kind
        }
    };
    match timer.as_pin_mut() {
        Some(timer) => timer.poll(cx).map(|()| call.cut_off(timeout, kind)),
        None => Poll::Pending,
    }
}

pin_project! {
    /// An attempt of a call without a time limit.
    ///
    /// # Cancel safety
    /// Dropping it drops the body. The call then releases what it holds.
    #[derive(Debug)]
    pub struct UntimedAttempt<'c, 'p, F> {
        #[pin]
        body: F,
        call: &'c mut Call<'p>,
    }
}

impl<'c, 'p, F> UntimedAttempt<'c, 'p, F> {
    #[inline]
    pub(in crate::pipeline) fn new(call: &'c mut Call<'p>, body: F) -> Self {
        #[cfg(feature = "chaos")]
        call.inject();
        Self { body, call }
    }
}

#[cfg(feature = "chaos")]
impl<'p, F> UntimedAttempt<'_, 'p, F> {
    pub(in crate::pipeline) fn call(self: Pin<&mut Self>) -> &mut Call<'p> {
        self.project().call
    }
}

impl<F: Future> Future for UntimedAttempt<'_, '_, F> {
    type Output = Attempted<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        #[cfg(feature = "chaos")]
        if this.call.rare.is_some() {
            match this.call.poll_injection(cx) {
                Held::Run => {}
                Held::Pending => return Poll::Pending,
                Held::Failed => return Poll::Ready(None),
            }
        }
        poll_body(this.call, this.body, cx).map(ran)
    }
}
