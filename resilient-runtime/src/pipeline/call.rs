//! One call on its way through the stages, in their order. Not generic: compiled once, here, for every annotated function.

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

/// One call. Dropped at any point, it gives back what it holds and records how it ended.
#[derive(Debug)]
pub struct Call<'p> {
    pub(super) pipeline: &'p Pipeline,
    pub(super) clock: AttemptClock,
    pub(super) progress: Progress,
    /// What few calls have, behind one pointer.
    pub(super) rare: Option<Box<Rare>>,
    /// What the attempt holds.
    pub(super) held: Admission,
    /// By whose rate limit it goes, and for how many calls it counts: a [`Request`], without the gap in one.
    pub(super) rate_key: RateKey,
    pub(super) weight: u32,
    pub(super) timing: Timing,
    pub(super) slot: Slot,
    pub(super) load: Load,
    pub(super) activity: Activity,
    pub(super) role: Role,
    pub(super) repeats: Repeats,
    pub(super) asynchronous: bool,
    /// The limit for which the timer of an asynchronous attempt was armed, whatever is reconfigured meanwhile; `None` before
    /// the first `Pending`. Here, and not in the attempt: there it would be a word of the future.
    pub(super) limited_by: Option<RejectionKind>,
    pub(super) priority: Priority,
    /// How it ends if it is dropped now.
    pub(super) ending: Ending,
    /// How it would have ended without its fallback.
    pub(super) ending_without_fallback: Ending,
    /// What its failed attempts did, for whoever comes with its idempotency key.
    pub(super) effect: Effect,
}

/// What comes after an attempt.
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
    pub fn begin(pipeline: &'p Pipeline) -> Self {
        let sample = pipeline.operation.started();
        let is_on = pipeline.switch.is_on();
        let pipeline = if is_on { pipeline } else { pipeline.bypass() };
        if let Some(retry) = &pipeline.stages.retry {
            retry.budget().deposit();
        }
        let around = Scope::current();
        // Nor is anything refused because of a time around it.
        let inherited = if is_on { around.deadline_on(&pipeline.clock) } else { Instant::NEVER };
        let needs_time = inherited != Instant::NEVER || pipeline.needs_time();
        let counts_for = if needs_time { 1 } else { sample };
        let started = if counts_for > 0 { Reading::of(pipeline.clock.now()) } else { Reading::NONE };
        let deadline = match &pipeline.stages.timeout {
            Some(timeout) => timeout.deadline(started.or_never(), inherited),
            None => inherited,
        };
        let wants_attempts = pipeline.stages.timeout.as_ref().is_some_and(|timeout| timeout.is_adaptive())
            || !around.standing_back().is_empty();
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
            // What a call is until it has ended in another way.
            ending: Ending::Cancelled,
            ending_without_fallback: Ending::Failed,
            effect: Effect::None,
        }
    }

    /// How important the call is.
    #[inline]
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
    }

    /// The time as last read, or as it is now.
    #[inline]
    pub(super) fn time(&self) -> Instant {
        self.clock.now.get().unwrap_or_else(|| self.pipeline.clock.now())
    }

    /// Takes note of how an attempt ended: the second reading of the clock, if it matters.
    #[inline]
    pub fn finish(&mut self, judgement: impl Into<Judgement>) -> Next {
        let judgement = judgement.into();
        if judgement == Verdict::Success { self.succeeded() } else { self.finish_failure(judgement, None) }
    }

    /// The same, with the words of `describe` for the error, which is asked only about a failure: for the statistics, events,
    /// spans, and whoever is refused because of it.
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

    /// The same, judged by `rule` and put in words by `wording`.
    #[inline]
    pub fn finish_as<R>(&mut self, outcome: &R, rule: impl Rule<R>, wording: impl Wording<R>) -> Next {
        self.finish_with(rule.judge(outcome), |words| wording.describe(outcome, words))
    }

    #[inline]
    fn succeeded(&mut self) -> Next {
        // Once read, before a retry or behind the queue, the time of before the body must not be that of its end.
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
    fn finish_failure(&mut self, judgement: Judgement, text: Option<&str>) -> Next {
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
            // Refused further in: what was paid for the attempt goes back.
            self.pay_back();
        }
        let evidence = self.evidence(verdict);
        self.settle_with(evidence.map(|_| judgement), cause);
        match verdict {
            Verdict::Success => Next::Return,
            Verdict::Failure(Class::Ignored) => {
                self.ending = Ending::Ignored;
                // An answer like any other, unless somebody insists.
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

    /// Gives back what the attempt held and tells the breaker what it was worth.
    #[inline]
    pub(super) fn settle(&mut self, judgement: Option<Judgement>) {
        self.settle_with(judgement, None);
    }

    /// The same, with what it failed with.
    #[inline]
    pub(super) fn settle_with(&mut self, judgement: Option<Judgement>, cause: Option<Cause<'_>>) {
        if self.held.token.is_paid() {
            self.pay_back();
        }
        self.give_back_slot(judgement);
        self.settle_breaker(judgement, cause);
        self.clock.attempt = Reading::NONE;
    }

    /// The call around several attempts at a time is none itself; nor has begun who can still get back what it paid.
    #[inline]
    pub(super) fn is_attempt(&self) -> bool {
        self.clock.attempt.is_taken() && !self.held.token.is_paid()
    }

    /// Not inline: away from the calls that succeed.
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

    /// Dropped while it holds something: a panic in the body, or a cancellation.
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
        // What succeeded has settled with all that concerns a single attempt.
        if self.ending != Ending::Succeeded || self.load.is_in_flight() {
            self.settle_the_rest();
        }
        if self.role.has_record() {
            self.record();
        }
    }
}
