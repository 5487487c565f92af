//! The hedge: several attempts of a call at the same time, each with an admission, a permit and a limit of its own.

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

/// What a [`Call`] is of the logical call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Role {
    /// All of it.
    Call,
    /// One of several attempts at the same time: it has no record of its own, and is not repeated.
    Racer {
        /// It was sent beside another one or after it.
        is_hedge: bool,
    },
    /// Its outcome was handed out, and is the only one.
    HandedOut,
    /// What is left where all of it was taken out: nothing.
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

/// One of the attempts when it has ended, and has settled with the stages.
struct Flown<'p, R> {
    end: Result<R, Rejection>,
    judgement: Judgement,
    worth: RaceOutcome,
    /// It has not settled: the call goes on behind its outcome.
    open: Option<Box<Call<'p>>>,
}

/// Expanded code asks closures about an attempt.
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

    /// Whether a slow attempt gets another beside it: where the call must not be carried out twice, it does not.
    pub(in crate::pipeline) fn is_hedged(&self) -> bool {
        self.pipeline.stages.hedge.is_some() && self.repeats != Repeats::Unsafe
    }

    /// Makes an attempt, and another where it is slow; waits before a retry. What `judge` thinks of the outcome comes with it;
    /// `describe` puts a failure in words, and `hear` judges the error that a refusal or timeout of an attempt becomes.
    ///
    /// # Cancel safety
    /// Dropping the future drops all attempts; they give back what they hold.
    pub async fn hedged<R, F: Future<Output = R>>(
        &mut self,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Judgement,
        describe: impl Fn(&R, &mut Words),
        hear: impl Fn(&Rejection) -> Judgement,
    ) -> Result<(R, Judgement), Rejection> {
        self.raced(&mut work, &By { judge, describe, hear }, false).await
    }

    /// Makes an attempt, and another where it is slow. Where it `stays_open`, the attempt that has won does not end: the call
    /// takes over what it holds.
    pub(in crate::pipeline) async fn raced<R, F: Future<Output = R>>(
        &mut self,
        work: &mut impl FnMut() -> F,
        by: &impl Judges<R>,
        stays_open: bool,
    ) -> Result<(R, Judgement), Rejection> {
        // The pause before the next round is that of a future.
        self.asynchronous = true;
        self.pass_shedder()?;
        self.pause().await;
        self.arrive();
        if self.progress.retries > 0 && self.has_elapsed() {
            // The pause has lasted longer than was planned.
            return Err(self.out_of_time());
        }
        let pipeline = self.pipeline;
        let Some(hedge) = &pipeline.stages.hedge else {
            // Boxed: it is so only while the registry is switched off.
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
            fly(call, work(), by, stays_open)
        };
        let worth = |flown: &mut Flown<'_, R>| flown.worth;
        let race = pin!(Race::new(hedge, budget, &pipeline.clock, started, left, send, worth));
        let (Flown { end, judgement, open, .. }, spent) = Polled::new(self, race).await;
        if let Some(open) = open {
            self.adopt(*open);
        }
        if spent.beside > 0 {
            self.rare.get_or_insert_default().hedges += spent.beside;
        }
        self.progress.retries += spent.repeated;
        end.map(|outcome| (outcome, judgement))
    }

    /// How many attempts the hedge may still send. In one call no more than `max` of the hedge are sent beside slow ones. An
    /// attempt that is sent because another failed repeats it, and is one of the `max` of the retry where there is one. So
    /// a call is never carried out more often than once, and `max` of the retry, and `max` of the hedge.
    fn left_to_send(&self, hedge: &Hedge) -> Left {
        if self.pipeline.stages.idempotency.is_some() && !self.may_run_twice() {
            // A hedge runs the body a second time, which `on_unknown = reject` forbids.
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

    /// All attempts of [`hedged`](Self::hedged) were refused or cut off, and what that becomes was judged.
    #[cold]
    pub(in crate::pipeline) fn no_winner(&mut self, rejection: &Rejection, heard: Judgement) -> Next {
        if rejection.is_timeout() {
            return self.timed_out(rejection, heard);
        }
        self.repeat_refused(rejection, heard.of_rejection(rejection))
    }

    /// A call like this one, for one attempt: without a record, and without what comes around attempts.
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

    /// Takes over what the best of several attempts at the same time holds.
    fn adopt(&mut self, mut racer: Call<'_>) {
        self.held = std::mem::take(&mut racer.held);
        self.slot = std::mem::take(&mut racer.slot);
        self.clock.attempt = std::mem::replace(&mut racer.clock.attempt, Reading::NONE);
    }
}

async fn fly<'p, R, F: Future<Output = R>>(
    mut call: Call<'p>,
    body: F,
    by: &impl Judges<R>,
    stays_open: bool,
) -> Flown<'p, R> {
    if !call.enter()
        && let Err(rejection) = call.admitted().await
    {
        // It was not made, and has settled already.
        return Flown {
            worth: RaceOutcome::Refused,
            end: Err(rejection),
            judgement: Judgement::SUCCESS,
            open: None,
        };
    }
    let end = call.attempt(body).await;
    let (judgement, worth) = match &end {
        Ok(outcome) => {
            let judgement = by.judge(outcome);
            let worth = RaceOutcome::of(judgement);
            if stays_open && driver::stays_open(judgement.verdict()) {
                return Flown { worth, end, judgement, open: Some(Box::new(call)) };
            }
            call.finish_with(judgement, |words| by.describe(outcome, words));
            (judgement, worth)
        }
        Err(rejection) => {
            let is_evidence = call.evidence_of_time().is_some();
            call.timed_out(rejection, by.hear(rejection));
            // Out of its own time another may be faster; out of the call's, there is none for another. What the time of the
            // calls around cut off says nothing about how long attempts take.
            let worth = match rejection.kind() {
                RejectionKind::AttemptTimeout => RaceOutcome::Failed,
                _ if is_evidence => RaceOutcome::TooLate,
                _ => RaceOutcome::Refused,
            };
            (Judgement::SUCCESS, worth)
        }
    };
    Flown { end, judgement, worth, open: None }
}
