//! A call on its way through the stages, in order. It is not generic: it is compiled once, here, for every annotated
//! function.

use super::Pipeline;
use super::admission::Admission;
use super::attempt_clock::{AttemptClock, Reading, Timing};
use super::body::Activity;
use super::stages::bulkhead::Slot;
use super::stages::hedge::Role;
use super::stages::load_shed::Load;
use super::stages::observe::Rare;
use super::stages::retry::Repeats;
use crate::__rt::{Rule, Wording};
use crate::classify::{Class, Judgement, Verdict};
use crate::clock::Instant;
use crate::context::Scope;
use crate::error_text::Words;
use crate::idempotency::Effect;
use crate::last_error::Cause;
use crate::load_shed::End;
use crate::observe::Ending;
use crate::priority::Priority;
use crate::rate_limit::{RateKey, Request};
use crate::rejection::RejectionKind;
use crate::retry::Progress;

/// One call. When dropped at any point, it releases what it holds and records how it ended.
#[derive(Debug)]
pub struct Call<'p> {
    pub(super) pipeline: &'p Pipeline,
    pub(super) clock: AttemptClock,
    pub(super) progress: Progress,
    /// State that few calls need, behind one pointer.
    pub(super) rare: Option<Box<Rare>>,
    /// The tickets and tokens of the current attempt.
    pub(super) held: Admission,
    /// The key and the weight of the call for the rate limit: the fields of a [`Request`], without its padding.
    pub(super) rate_key: RateKey,
    pub(super) weight: u32,
    pub(super) timing: Timing,
    pub(super) slot: Slot,
    pub(super) load: Load,
    pub(super) activity: Activity,
    pub(super) role: Role,
    pub(super) repeats: Repeats,
    pub(super) asynchronous: bool,
    /// The limit for which the timer of an asynchronous attempt was armed. Later reconfiguration does not change it.
    /// `None` before the first `Pending`. It is stored here because a field of the attempt would enlarge the future by
    /// a word.
    pub(super) limited_by: Option<RejectionKind>,
    pub(super) priority: Priority,
    /// How the call ends if it is dropped now.
    pub(super) ending: Ending,
    /// How the call would have ended without its fallback.
    pub(super) ending_without_fallback: Ending,
    /// The possible effect of its failed attempts, for the next call with the same idempotency key.
    pub(super) effect: Effect,
}

/// The next step after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It succeeded, or its error is ignored: return it.
    Return,
    /// It failed and is not retried: use the fallback or return the error.
    Fail,
    /// It failed and is retried: request admission again, which waits first.
    Retry,
}

impl<'p> Call<'p> {
    /// Starts a call. Reads the clock for the first of two times, if needed.
    pub fn begin(pipeline: &'p Pipeline) -> Self {
        let sample = pipeline.operation.started();
        let (pipeline, is_on) = pipeline.in_use();
        if let Some(retry) = &pipeline.stages.retry {
            retry.budget().deposit();
        }
        let around = Scope::current();
        // While protection is off, an inherited deadline does not reject the call either.
        let inherited = if is_on { around.deadline_on(&pipeline.clock) } else { Instant::NEVER };
        let needs_time = inherited != Instant::NEVER || pipeline.needs_time();
        let counts_for = if needs_time { 1 } else { sample };
        let started = if counts_for > 0 { Reading::of(pipeline.clock.now()) } else { Reading::NONE };
        let deadline = match &pipeline.stages.timeout {
            Some(timeout) => timeout.deadline(started.or_never(), inherited),
            None => inherited,
        };
        let wants_attempts = pipeline.stages.timeout.as_ref().is_some_and(|timeout| timeout.is_adaptive())
            || !around.suppressed().is_empty();
        Self {
            pipeline,
            clock: AttemptClock::of(started, deadline),
            progress: Progress::default(),
            rare: Rare::of(pipeline.operation.name()),
            held: Admission::default(),
            rate_key: Request::ONE.key(),
            weight: Request::ONE.weight(),
            timing: Timing::of(counts_for, wants_attempts),
            slot: Slot::None,
            load: Load::None,
            activity: Activity::Between,
            role: Role::Call,
            repeats: Repeats::AsPipeline,
            asynchronous: false,
            limited_by: None,
            priority: Priority::Normal,
            // A call counts as cancelled until it ends in another way.
            ending: Ending::Cancelled,
            ending_without_fallback: Ending::Failed,
            effect: Effect::None,
        }
    }

    /// Sets the priority of the call.
    #[inline]
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
    }

    /// Returns the last clock reading, or reads the clock.
    #[inline]
    pub(super) fn time(&self) -> Instant {
        self.clock.now.get().unwrap_or_else(|| self.pipeline.clock.now())
    }

    /// Records how an attempt ended. Reads the clock for the second time, if needed.
    #[inline]
    pub fn finish(&mut self, judgement: impl Into<Judgement>) -> Next {
        let judgement = judgement.into();
        if judgement == Verdict::Success { self.succeeded() } else { self.finish_failure(judgement, None) }
    }

    /// Like `finish`, with `describe` for the text of the error.
    ///
    /// It is called only for a failure. The text is used in statistics, events and spans, and in rejections that the
    /// failure causes.
    #[inline]
    pub fn finish_with(
        &mut self,
        judgement: impl Into<Judgement>,
        describe: impl FnOnce(&mut Words),
    ) -> Next {
        let judgement = judgement.into();
        match judgement.verdict() {
            Verdict::Success => self.succeeded(),
            Verdict::Failure(Class::Ignored) => self.finish_failure(judgement, None),
            Verdict::Failure(_) => self.failed(judgement, describe),
        }
    }

    /// Like `finish`, with the judgement of `rule` and the text of `wording`.
    #[inline]
    pub fn finish_as<R>(&mut self, outcome: &R, rule: impl Rule<R>, wording: impl Wording<R>) -> Next {
        self.finish_with(rule.judge(outcome), |words| wording.describe(outcome, words))
    }

    #[inline]
    fn succeeded(&mut self) -> Next {
        // A time read before the body, for a retry or a queue, must not count as the end of the call.
        if self.clock.now.is_taken() {
            self.clock.read(&self.pipeline.clock);
        }
        if self.timing.wants_attempts() {
            self.completed();
        }
        self.settle(Some(Judgement::SUCCESS));
        self.ending = Ending::Succeeded;
        if self.progress.retries > 0 {
            self.recovered();
        }
        Next::Return
    }

    #[cold]
    #[inline(never)]
    fn failed(&mut self, judgement: Judgement, describe: impl FnOnce(&mut Words)) -> Next {
        self.pipeline.texts.capture(describe, |text| self.finish_failure(judgement, text))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn finish_failure(&mut self, judgement: Judgement, text: Option<&str>) -> Next {
        self.clock.read(&self.pipeline.clock);
        let cause = self.note_error(text);
        let next = self.finish_failed(judgement, cause);
        self.keep_error(next, cause);
        next
    }

    #[cold]
    #[inline(never)]
    fn finish_failed(&mut self, judgement: Judgement, cause: Option<Cause<'_>>) -> Next {
        let verdict = judgement.verdict();
        if judgement.is_unexecuted() {
            // Rejected by an inner call: refund what the attempt paid.
            self.pay_back();
        }
        let evidence = self.evidence(verdict);
        self.settle_with(evidence.map(|_| judgement), cause);
        match verdict {
            Verdict::Success => Next::Return,
            Verdict::Failure(Class::Ignored) => {
                self.ending = Ending::Ignored;
                // Returned like a success, unless the judgement asks for a retry.
                match judgement.again() {
                    Some(true) if self.repeat(judgement, cause) == Next::Retry => Next::Retry,
                    _ => Next::Return,
                }
            }
            Verdict::Failure(_) => {
                self.ending = Ending::Failed;
                self.note(Effect::of(verdict));
                let next = self.repeat(judgement, cause);
                if next == Next::Fail {
                    self.leave_shedder(evidence.map_or(End::Unknown, End::Judged));
                }
                next
            }
        }
    }

    /// Releases what the attempt held and reports its result to the circuit breaker.
    #[inline]
    pub(super) fn settle(&mut self, judgement: Option<Judgement>) {
        self.settle_with(judgement, None);
    }

    /// Like `settle`, with the cause of the failure.
    #[inline]
    pub(super) fn settle_with(&mut self, judgement: Option<Judgement>, cause: Option<Cause<'_>>) {
        if self.held.token.is_paid() {
            self.pay_back();
        }
        self.give_back_slot(judgement);
        self.settle_breaker(judgement, cause);
        self.clock.attempt = Reading::NONE;
    }

    /// The call around several concurrent attempts is not an attempt itself. An attempt that can still be refunded has
    /// not begun.
    #[inline]
    pub(super) fn is_attempt(&self) -> bool {
        self.clock.attempt.is_taken() && !self.held.token.is_paid()
    }

    /// Not inlined, to keep it out of the path of successful calls.
    #[inline(never)]
    fn settle_the_rest(&mut self) {
        let is_attempt = self.timing.wants_attempts() && self.is_attempt();
        if self.activity == Activity::InBody || is_attempt || self.slot.is_held() || self.held.is_any() {
            self.abandon();
        }
        if self.load.is_in_flight() {
            self.leave_shedder_at_end();
        }
        if self.role.has_record() && matches!(self.ending, Ending::Cancelled | Ending::FellBack) {
            self.end_later();
        }
    }

    /// Handles a drop while the call holds something: the body panicked, or the call was cancelled.
    #[cold]
    fn abandon(&mut self) {
        self.clock.read(&self.pipeline.clock);
        if self.activity == Activity::InBody {
            self.ending = Ending::Panicked;
            let cause = self.note_error(Some("it panicked"));
            self.settle_with(Some(Judgement::UNKNOWN), cause);
        } else {
            if !self.is_cut_short() {
                self.ended_early();
            }
            self.settle(None);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // A successful call has already settled its attempt.
        if self.ending != Ending::Succeeded || self.load.is_in_flight() {
            self.settle_the_rest();
        }
        if self.role.has_record() {
            self.record();
        }
    }
}
