//! Several attempts of a call at the same time, each with an admission, a permit and a limit of its own.

use std::future::Future;
use std::pin::pin;

use super::attempt::Polled;
use super::call::{Next, Repeats};
use super::{Call, open};
use crate::clock::Instant;
use crate::hedge::{Hedge, Left, Race, RaceOutcome, Sent};
use crate::observe::Words;
use crate::outcome::Judgement;
use crate::rejection::{Rejection, RejectionKind};

/// One of the attempts when it has ended, and has settled with the stages.
struct Flown<'p, R> {
    end: Result<R, Rejection>,
    judgement: Judgement,
    worth: RaceOutcome,
    /// It has not settled: the call goes on behind its outcome.
    open: Option<Box<Call<'p>>>,
}

/// What is asked about an attempt: how to judge it, its words, and how to judge what a refusal becomes.
struct By<'a, J, D, H> {
    judge: &'a J,
    describe: &'a D,
    hear: &'a H,
}

impl<'p> Call<'p> {
    #[inline]
    pub(super) fn is_flight(&self) -> bool {
        matches!(self.repeats, Repeats::Flight | Repeats::Hedge)
    }

    /// Whether a slow attempt gets another beside it: where the call must not be carried out twice, it does not.
    pub(super) fn is_hedged(&self) -> bool {
        self.pipeline.hedge.is_some() && self.repeats != Repeats::Unsafe
    }

    /// Makes an attempt, and another where it is slow; waits before a retry. What `judge` thinks of the outcome comes
    /// with it; `hear` judges the error that a refusal or timeout of an attempt becomes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Class, Component, Judgement, Registry, Rejection, Verdict, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let hear = |_: &Rejection| Judgement::from(Class::UNKNOWN);
    /// let pipeline = registry.pipeline("read").hedge("replicas").build();
    /// let mut call = Call::begin(&pipeline);
    /// let mut replicas = [None, Some("row")].into_iter();
    /// let read = call.hedged(|| std::future::ready(replicas.next().flatten()), Judgement::of, hear).await;
    /// assert_eq!(read.unwrap(), (Some("row"), Verdict::Success.into()));
    /// assert_eq!(registry.hedge("replicas").stats().sent, 1);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops all attempts; they give back what they hold.
    pub async fn hedged<R, F: Future<Output = R>>(
        &mut self,
        work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Judgement,
        hear: impl Fn(&Rejection) -> Judgement,
    ) -> Result<(R, Judgement), Rejection> {
        self.hedged_with(work, judge, |_, words| words.type_of::<R>(), hear).await
    }

    /// The same, with the words of `describe` for a failure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Class, Judgement, Registry, Rejection, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("read").hedge("replicas").build();
    /// let mut call = Call::begin(&pipeline);
    /// let hear = |_: &Rejection| Judgement::from(Class::UNKNOWN);
    /// let work = async || None::<u32>;
    /// let read = call.hedged_with(work, Judgement::of, |_, words| words.display(&"no row"), hear).await;
    /// assert!(read.unwrap().0.is_none());
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "no row");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`hedged`](Self::hedged).
    pub async fn hedged_with<R, F: Future<Output = R>>(
        &mut self,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Judgement,
        describe: impl Fn(&R, &mut Words),
        hear: impl Fn(&Rejection) -> Judgement,
    ) -> Result<(R, Judgement), Rejection> {
        let by = By { judge: &judge, describe: &describe, hear: &hear };
        self.raced(&mut work, &by, false).await
    }

    /// As [`hedged`](Self::hedged), but the attempt that has won does not end: the call takes over what it holds.
    pub(super) async fn hedged_open<R, F: Future<Output = R>>(
        &mut self,
        mut work: impl FnMut() -> F,
        judge: &impl Fn(&R) -> Judgement,
        describe: &impl Fn(&R, &mut Words),
        hear: &impl Fn(&Rejection) -> Judgement,
    ) -> Result<(R, Judgement), Rejection> {
        self.raced(&mut work, &By { judge, describe, hear }, true).await
    }

    async fn raced<R, F, J, D, H>(
        &mut self,
        work: &mut impl FnMut() -> F,
        by: &By<'_, J, D, H>,
        stays_open: bool,
    ) -> Result<(R, Judgement), Rejection>
    where
        F: Future<Output = R>,
        J: Fn(&R) -> Judgement,
        D: Fn(&R, &mut Words),
        H: Fn(&Rejection) -> Judgement,
    {
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
        let Some(hedge) = &pipeline.hedge else {
            // Boxed: it is so only while the registry is switched off.
            self.begin_attempt();
            let outcome = Box::pin(self.attempt(work())).await?;
            let judgement = (by.judge)(&outcome);
            return Ok((outcome, judgement));
        };
        let budget = match &pipeline.retry {
            Some(retry) => retry.budget(),
            None => {
                if self.progress.retries == 0 {
                    hedge.budget().deposit();
                }
                hedge.budget()
            }
        };
        let (started, left) = (self.time(), self.left_to_send(hedge));
        let template = self.flight();
        let send = |sent: Sent| {
            let mut call = template.flight();
            if let Sent::Hedge { repeated } = sent {
                call.repeats = Repeats::Hedge;
                call.progress.retries += repeated;
                if call.now != Instant::NEVER {
                    call.now = pipeline.clock.now();
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
        if self.pipeline.idempotency.is_some() && !self.may_run_twice() {
            // A hedge runs the body a second time, which `on_unknown = reject` forbids.
            return Left::NONE;
        }
        match &self.pipeline.retry {
            Some(retry) => Left {
                beside: hedge.max().saturating_sub(self.rare.as_ref().map_or(0, |rare| rare.hedges)),
                repeated: retry.left(self.progress),
                until: if self.is_timed() { retry.latest(self.started) } else { Instant::NEVER },
            },
            None => Left::UNBOUNDED,
        }
    }

    /// All attempts of [`hedged`](Self::hedged) were refused or cut off: what comes after that.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Class, Judgement, Registry, Rejection, pipeline::{Call, Next}};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("db").force_open();
    /// let pipeline = registry.pipeline("read").hedge("db").circuit_breaker("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// let hear = |_: &Rejection| Judgement::from(Class::UNKNOWN);
    /// let refused = call.hedged(async || Some(7), Judgement::of, hear).await.unwrap_err();
    /// assert_eq!(call.hedges_refused(&refused), Next::Fail);
    /// # }
    /// ```
    #[cold]
    pub fn hedges_refused(&mut self, rejection: &Rejection) -> Next {
        self.hedges_refused_as(rejection, Judgement::UNKNOWN)
    }

    /// Likewise, where the error that the rejection becomes was judged.
    #[cold]
    pub fn hedges_refused_as(&mut self, rejection: &Rejection, heard: Judgement) -> Next {
        if rejection.is_timeout() {
            return self.timed_out_as(rejection, heard);
        }
        self.repeat_refused(rejection, heard.of_rejection(rejection))
    }

    /// A call like this one, for one attempt: without a record, and without what comes around attempts.
    fn flight(&self) -> Call<'p> {
        Call {
            pipeline: self.pipeline,
            started: self.started,
            deadline: self.deadline,
            now: self.now,
            attempt_started: Instant::NEVER,
            progress: self.progress,
            rare: self.rare.as_ref().and_then(|rare| rare.for_flight()),
            ticket: None,
            rate_key: self.rate_key,
            weight: self.weight,
            counts_for: self.counts_for,
            holds_token: false,
            holds_slot: false,
            holds_load: false,
            in_body: false,
            suspended: false,
            asynchronous: true,
            is_watched: self.is_watched,
            repeats: Repeats::Flight,
            priority: self.priority,
            ending: self.ending,
            missed: self.missed,
            effect: self.effect,
        }
    }
}

async fn fly<'p, R, F, J, D, H>(
    mut call: Call<'p>,
    body: F,
    by: &By<'_, J, D, H>,
    stays_open: bool,
) -> Flown<'p, R>
where
    F: Future<Output = R>,
    J: Fn(&R) -> Judgement,
    D: Fn(&R, &mut Words),
    H: Fn(&Rejection) -> Judgement,
{
    if !call.enter()
        && let Err(rejection) = call.enter_later().await
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
    if stays_open && let Ok(outcome) = &end {
        let judgement = (by.judge)(outcome);
        if open::stays_open(judgement.verdict()) {
            return Flown { worth: RaceOutcome::of(judgement), end, judgement, open: Some(Box::new(call)) };
        }
    }
    let (judgement, worth) = match &end {
        Ok(outcome) => {
            let judgement = (by.judge)(outcome);
            call.finish_with(judgement, |words| (by.describe)(outcome, words));
            (judgement, RaceOutcome::of(judgement))
        }
        Err(rejection) => {
            let is_evidence = call.evidence_of_time().is_some();
            call.timed_out_as(rejection, (by.hear)(rejection));
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
