//! The hedge stage: several concurrent attempts of a call, each with its own admission, permit and limit.

use std::future::Future;
use std::pin::pin;

use crate::classify::Judgement;
use crate::clock::Instant;
use crate::error_text::Words;
use crate::hedge::{Hedge, Left, Race, RaceOutcome, Sent};
use crate::pipeline::Call;
use crate::pipeline::admission::Admission;
use crate::pipeline::attempt_clock::{AttemptClock, Reading};
use crate::pipeline::body::{Activity, Polled};
use crate::pipeline::call::Next;
use crate::pipeline::driver::{self, Judges};
use crate::pipeline::stages::bulkhead::Slot;
use crate::pipeline::stages::load_shed::Load;
use crate::pipeline::stages::retry::Repeats;
use crate::rejection::{Rejection, RejectionKind};

/// Which part of the logical call a [`Call`] represents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Role {
    /// The whole call.
    Call,
    /// One of several concurrent attempts: it writes no record and is not retried.
    Racer {
        /// Whether it was sent in addition to an earlier attempt.
        is_hedge: bool,
    },
    /// A call whose only outcome was already returned.
    HandedOut,
    /// A call whose state was taken out.
    Empty,
}

impl Role {
    /// Whether the operation counts it.
    #[inline]
    pub(in crate::pipeline) fn has_record(self) -> bool {
        matches!(self, Self::Call | Self::HandedOut)
    }

    #[inline]
    pub(in crate::pipeline) fn is_hedge(self) -> bool {
        self == Self::Racer { is_hedge: true }
    }
}

/// A finished attempt that has settled with the stages.
struct FinishedAttempt<'p, R> {
    end: Result<R, Rejection>,
    judgement: Judgement,
    worth: RaceOutcome,
    /// The winning call, if it stays open after its outcome and has not settled.
    open: Option<Box<Call<'p>>>,
}

/// The closures that generated code passes to judge an attempt.
struct By<J, D, H> {
    judge: J,
    describe: D,
    hear: H,
}

impl<R, J, D, H> Judges<R> for By<J, D, H>
where
    J: Fn(&R) -> Judgement,
    D: Fn(&R, &mut Words),
    H: Fn(&Rejection) -> Judgement,
{
    fn judge(&self, outcome: &R) -> Judgement {
        (self.judge)(outcome)
    }

    fn hear(&self, rejection: &Rejection) -> Judgement {
        (self.hear)(rejection)
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        (self.describe)(outcome, words);
    }
}

impl<'p> Call<'p> {
    #[inline]
    pub(in crate::pipeline) fn is_racer(&self) -> bool {
        matches!(self.role, Role::Racer { .. })
    }

    /// Whether a slow attempt is hedged. A call that must not run twice is not hedged.
    pub(in crate::pipeline) fn is_hedged(&self) -> bool {
        self.pipeline.stages.hedge.is_some() && self.repeats != Repeats::Unsafe
    }

    /// Runs an attempt and hedges it if it is slow. Waits first if it is a retry.
    ///
    /// Returns the outcome with the judgement of `judge`. `describe` writes the text of a failure, and `hear` judges
    /// the error that a rejection or timeout of an attempt becomes.
    ///
    /// # Cancel safety
    /// Dropping the future drops all attempts, which release what they hold.
    pub async fn hedged<R, F: Future<Output = R>>(
        &mut self,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Judgement,
        describe: impl Fn(&R, &mut Words),
        hear: impl Fn(&Rejection) -> Judgement,
    ) -> Result<(R, Judgement), Rejection> {
        self.raced(&mut work, &By { judge, describe, hear }, false).await
    }

    /// Runs an attempt and hedges it if it is slow. If `stays_open`, the winning attempt does not end, and the call
    /// takes over what it holds.
    pub(in crate::pipeline) async fn raced<R, F: Future<Output = R>>(
        &mut self,
        work: &mut impl FnMut() -> F,
        by: &impl Judges<R>,
        stays_open: bool,
    ) -> Result<(R, Judgement), Rejection> {
        // The pause before the next round is asynchronous.
        self.asynchronous = true;
        self.pass_shedder()?;
        self.pause().await;
        self.arrive();
        if self.progress.retries > 0 && self.has_elapsed() {
            // The pause took longer than planned.
            return Err(self.out_of_time());
        }
        let pipeline = self.pipeline;
        let Some(hedge) = &pipeline.stages.hedge else {
            // Boxed: it happens only while protection is turned off.
            self.begin_attempt();
            let outcome = Box::pin(self.attempt(work())).await?;
            let judgement = by.judge(&outcome);
            return Ok((outcome, judgement));
        };
        let budget = match &pipeline.stages.retry {
            Some(retry) => retry.budget(),
            None => {
                if self.progress.retries == 0 {
                    hedge.budget().deposit();
                }
                hedge.budget()
            }
        };
        let (started, left) = (self.time(), self.left_to_send(hedge));
        #[cfg(feature = "chaos")]
        self.share_injections();
        let template = self.racer();
        let send = |sent: Sent| {
            let mut call = template.racer();
            if let Sent::Hedge { repeated } = sent {
                call.role = Role::Racer { is_hedge: true };
                call.progress.retries += repeated;
                if call.clock.now.is_taken() {
                    call.clock.read(&pipeline.clock);
                }
            }
            run_attempt(call, work(), by, stays_open)
        };
        let worth = |finished: &mut FinishedAttempt<'_, R>| finished.worth;
        let race = pin!(Race::new(hedge, budget, &pipeline.clock, started, left, send, worth));
        let (FinishedAttempt { end, judgement, open, .. }, spent) = Polled::new(self, race).await;
        if let Some(open) = open {
            self.adopt(*open);
        }
        if spent.beside > 0 {
            self.rare.get_or_insert_default().hedges += spent.beside;
        }
        self.progress.retries += spent.repeated;
        // A fault on a component targets no call, so that the attempts do not tell.
        #[cfg(feature = "chaos")]
        self.note_injected_refusal(end.as_ref().err());
        end.map(|outcome| (outcome, judgement))
    }

    /// How many attempts the hedge can still send.
    ///
    /// In one call at most `max` of the hedge are sent in addition to slow attempts. An attempt that replaces a failed
    /// one is a retry and counts for `max` of the retry, if there is one. A call is therefore executed at most 1 +
    /// `max` of the retry + `max` of the hedge times.
    fn left_to_send(&self, hedge: &Hedge) -> Left {
        if self.pipeline.stages.idempotency.is_some() && !self.may_run_twice() {
            // A hedge runs the body twice, which `on_unknown = reject` forbids.
            return Left::NONE;
        }
        match &self.pipeline.stages.retry {
            Some(retry) => Left {
                beside: hedge.max().saturating_sub(self.rare.as_ref().map_or(0, |rare| rare.hedges)),
                repeated: retry.left(self.progress),
                until: if self.clock.is_timed() {
                    retry.latest(self.clock.started.or_never())
                } else {
                    Instant::NEVER
                },
            },
            None => Left::UNBOUNDED,
        }
    }

    /// Handles a round in which all attempts of [`hedged`](Self::hedged) were rejected or timed out. `heard` is the
    /// judgement of the resulting error.
    #[cold]
    pub(in crate::pipeline) fn no_winner(&mut self, rejection: &Rejection, heard: Judgement) -> Next {
        #[cfg(feature = "chaos")]
        if rejection.is_from_injection_point() {
            return self.failed_by_injection(rejection, heard);
        }
        if rejection.is_timeout() {
            return self.timed_out(rejection, heard);
        }
        self.repeat_refused(rejection, heard.of_rejection(rejection))
    }

    /// Copies the call for one attempt: without a record, and without the stages around the attempts.
    fn racer(&self) -> Call<'p> {
        Call {
            pipeline: self.pipeline,
            clock: AttemptClock { attempt: Reading::NONE, ..self.clock },
            progress: self.progress,
            rare: self.rare.as_ref().and_then(|rare| rare.for_racer()),
            held: Admission::default(),
            rate_key: self.rate_key,
            weight: self.weight,
            timing: self.timing,
            slot: Slot::None,
            load: Load::None,
            activity: Activity::Between,
            role: Role::Racer { is_hedge: false },
            repeats: self.repeats,
            asynchronous: true,
            limited_by: None,
            priority: self.priority,
            ending: self.ending,
            ending_without_fallback: self.ending_without_fallback,
            effect: self.effect,
        }
    }

    /// Takes over what the winning attempt holds.
    fn adopt(&mut self, mut racer: Call<'_>) {
        self.held = std::mem::take(&mut racer.held);
        self.slot = std::mem::take(&mut racer.slot);
        self.clock.attempt = std::mem::replace(&mut racer.clock.attempt, Reading::NONE);
    }
}

async fn run_attempt<'p, R, F: Future<Output = R>>(
    mut call: Call<'p>,
    body: F,
    by: &impl Judges<R>,
    stays_open: bool,
) -> FinishedAttempt<'p, R> {
    let admitted = if call.enter() { Ok(()) } else { call.admitted().await };
    let end = match admitted {
        Ok(()) => call.attempt(body).await,
        Err(rejection) if call.was_stopped_by_fault() => Err(rejection),
        // The attempt was not executed and has already settled.
        Err(rejection) => {
            return FinishedAttempt {
                worth: RaceOutcome::Refused,
                end: Err(rejection),
                judgement: Judgement::SUCCESS,
                open: None,
            };
        }
    };
    let (judgement, worth) = match &end {
        Ok(outcome) => {
            let judgement = by.judge(outcome);
            let worth = RaceOutcome::of(judgement);
            if stays_open && driver::stays_open(judgement.verdict()) {
                return FinishedAttempt { worth, end, judgement, open: Some(Box::new(call)) };
            }
            call.finish_with(judgement, |words| by.describe(outcome, words));
            (judgement, worth)
        }
        Err(rejection) => {
            let is_evidence = call.evidence_of_time().is_some();
            let heard = by.hear(rejection);
            call.timed_out(rejection, heard);
            // After an attempt timeout another attempt may be faster. After the deadline of the call no time is left
            // for one. A timeout that only an outer deadline caused says nothing about how long attempts take.
            let worth = match rejection.kind() {
                #[cfg(feature = "chaos")]
                RejectionKind::Injected => RaceOutcome::of(super::chaos::judged(rejection, heard)),
                #[cfg(feature = "chaos")]
                _ if rejection.is_from_injection_point() => RaceOutcome::Refused,
                RejectionKind::AttemptTimeout => RaceOutcome::Failed,
                _ if is_evidence => RaceOutcome::TooLate,
                _ => RaceOutcome::Refused,
            };
            (Judgement::SUCCESS, worth)
        }
    };
    FinishedAttempt { end, judgement, worth, open: None }
}
