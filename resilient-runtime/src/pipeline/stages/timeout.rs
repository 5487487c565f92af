//! The timeout: a deadline for the whole call, and a limit for each attempt, which counts the work and not the queue.

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
use crate::pipeline::body::poll_body;
use crate::pipeline::call::Next;
use crate::rejection::{Rejection, RejectionKind};
use crate::timeout::Timeout;

impl<'p> Call<'p> {
    /// The time was over before the body began. Where an attempt was made before, or is made at the same time, the call
    /// may have had its effect nevertheless.
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

    /// The attempt met a limit while it ran.
    #[cold]
    pub(in crate::pipeline) fn cut_off(&self, timeout: &Timeout, kind: RejectionKind) -> Rejection {
        let since =
            if kind == RejectionKind::AttemptTimeout { self.clock.attempt } else { self.clock.started };
        let rejection = timeout.fired(kind, self.pipeline.clock.now().since(since.or_never()));
        // An attempt that is repeated says so itself.
        if kind == RejectionKind::AttemptTimeout { rejection } else { self.with_errors(rejection) }
    }

    /// What the end of an attempt says about the dependency: nothing where it ended only because the time of the calls
    /// around it was over. Those of a caller with little patience must not open the circuit of all others.
    ///
    /// It does say something where the call's own limits were reached as well, or the attempt was slow by then. And an error
    /// that cannot come from a deadline (refused, overloaded, permanent) is the dependency's own, however late.
    #[cold]
    pub(in crate::pipeline) fn evidence(&self, verdict: Verdict) -> Option<Verdict> {
        match verdict {
            Verdict::Failure(class) if class.may_be_cut_short() && self.is_cut_short() => None,
            verdict => Some(verdict),
        }
    }

    /// The same of an attempt that is being cut off now.
    #[cold]
    pub(in crate::pipeline) fn evidence_of_time(&mut self) -> Option<Verdict> {
        self.clock.read(&self.pipeline.clock);
        self.evidence(Verdict::Failure(Class::UNCERTAIN))
    }

    /// Whether the time of the calls around is over, and none of the own limits is reached.
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

    /// Takes note of an attempt that was cut off. It may have had its effect (T33). The error that the rejection becomes was
    /// judged: it can say `Permanent` or `Ignored`, and predicates can say whether to try again and whether the circuit breaker
    /// counts it. Otherwise a timeout is [`Class::Uncertain`], whatever the error says.
    #[cold]
    pub(in crate::pipeline) fn timed_out(&mut self, rejection: &Rejection, heard: Judgement) -> Next {
        let judgement = heard.of_rejection(rejection);
        self.clock.read(&self.pipeline.clock);
        // Its body was pending, but the call is polled.
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

    /// The attempt was cut off or cancelled: its work would have taken longer.
    #[cold]
    pub(in crate::pipeline) fn ended_early(&self) {
        if let (Some(timeout), true) =
            (&self.pipeline.stages.timeout, self.timing.wants_attempts() && self.is_attempt())
        {
            timeout.ended_early(self.clock.attempt.or_never(), self.clock.now.or_never());
        }
    }

    /// Apart from the way of all the calls that nobody watches.
    #[inline(never)]
    pub(in crate::pipeline) fn completed(&self) {
        if let (Some(retry), false) =
            (&self.pipeline.stages.retry, Scope::current().standing_back().is_empty())
        {
            context::stand_back_no_longer(retry.bit());
        }
        if let (Some(timeout), true) = (&self.pipeline.stages.timeout, self.is_attempt()) {
            timeout.completed(self.clock.attempt.or_never(), self.clock.now.or_never());
        }
    }

    /// Runs the body of an asynchronous function within its time.
    #[inline]
    pub fn attempt<'c, F: Future>(&'c mut self, body: F) -> Attempt<'c, 'p, F> {
        self.asynchronous = true;
        Attempt::new(self, body)
    }

    /// Runs the body of an asynchronous function that has no limit of time of its own.
    #[inline]
    pub fn attempt_untimed<'c, F: Future>(&'c mut self, body: F) -> UntimedAttempt<'c, 'p, F> {
        self.asynchronous = true;
        UntimedAttempt::new(self, body)
    }
}

pin_project! {
    /// One attempt of a call whose time is limited.
    ///
    /// # Cancel safety
    /// Dropping it drops the body; the call then gives back what it holds.
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
        Self { body, timer: None, call }
    }
}

impl<F: Future> Future for Attempt<'_, '_, F> {
    type Output = Result<F::Output, Rejection>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The body first: what is ready in the same poll as its timer has made it (T65).
        if let Poll::Ready(output) = poll_body(this.call, this.body, cx) {
            return Poll::Ready(Ok(output));
        }
        poll_limit(this.call, this.timer, cx).map(Err)
    }
}

/// Outside of the generic future, so that it is compiled once.
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
    /// One attempt of a call whose time is not limited.
    ///
    /// # Cancel safety
    /// Dropping it drops the body; the call then gives back what it holds.
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
        Self { body, call }
    }
}

impl<F: Future> Future for UntimedAttempt<'_, '_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        poll_body(this.call, this.body, cx)
    }
}
