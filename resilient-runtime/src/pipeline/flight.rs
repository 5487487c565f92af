//! Several attempts of a call at the same time, each with an admission, a permit and a limit of its own.

use std::future::Future;
use std::pin::pin;

use super::attempt::Polled;
use super::call::{Next, Repeats};
use super::{Call, open};
use crate::clock::Instant;
use crate::hedge::{Race, Worth};
use crate::observe::Words;
use crate::outcome::Verdict;
use crate::rejection::{Rejection, RejectionKind};

/// One of the attempts when it has ended, and has settled with the stages.
struct Flown<'p, R> {
    end: Result<R, Rejection>,
    verdict: Verdict,
    worth: Worth,
    /// It has not settled: the call goes on behind its outcome.
    open: Option<Box<Call<'p>>>,
}

impl<'p> Call<'p> {
    #[inline]
    pub(super) fn is_flight(&self) -> bool {
        self.repeats == Repeats::Flight
    }

    /// Whether a slow attempt gets another beside it: where the call must not be carried out twice, it does not.
    pub(super) fn is_hedged(&self) -> bool {
        self.pipeline.hedge.is_some() && self.repeats != Repeats::Unsafe
    }

    /// Makes an attempt, and another where it is slow; waits before a retry. What `judge` thinks of the outcome comes
    /// with it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient::{Component, Registry, Verdict, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("read").hedge("replicas").build();
    /// let mut call = Call::begin(&pipeline);
    /// let mut replicas = [None, Some("row")].into_iter();
    /// let read = call.hedged(|| std::future::ready(replicas.next().flatten()), Verdict::of).await;
    /// assert_eq!(read.unwrap(), (Some("row"), Verdict::Success));
    /// assert_eq!(registry.hedge("replicas").stats().sent, 1);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops all attempts; they give back what they hold.
    pub async fn hedged<R, F: Future<Output = R>>(
        &mut self,
        work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Verdict,
    ) -> Result<(R, Verdict), Rejection> {
        self.hedged_with(work, judge, |_, words| words.type_of::<R>()).await
    }

    /// The same, with the words of `describe` for a failure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient::{Registry, Verdict, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("read").hedge("replicas").build();
    /// let mut call = Call::begin(&pipeline);
    /// let read = call.hedged_with(async || None::<u32>, Verdict::of, |_, words| words.display(&"no row")).await;
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
        judge: impl Fn(&R) -> Verdict,
        describe: impl Fn(&R, &mut Words),
    ) -> Result<(R, Verdict), Rejection> {
        self.raced(&mut work, &judge, &describe, false).await
    }

    /// As [`hedged`](Self::hedged), but the attempt that has won does not end: the call takes over what it holds.
    pub(super) async fn hedged_open<R, F: Future<Output = R>>(
        &mut self,
        mut work: impl FnMut() -> F,
        judge: &impl Fn(&R) -> Verdict,
    ) -> Result<(R, Verdict), Rejection> {
        self.raced(&mut work, judge, &|_: &R, words: &mut Words| words.type_of::<R>(), true).await
    }

    async fn raced<R, F: Future<Output = R>>(
        &mut self,
        work: &mut impl FnMut() -> F,
        judge: &impl Fn(&R) -> Verdict,
        describe: &impl Fn(&R, &mut Words),
        stays_open: bool,
    ) -> Result<(R, Verdict), Rejection> {
        self.pass_shedder()?;
        self.pause().await;
        self.arrive();
        let pipeline = self.pipeline;
        let Some(hedge) = &pipeline.hedge else {
            // Boxed: it is so only while the registry is switched off.
            self.begin_attempt();
            let outcome = Box::pin(self.attempt(work())).await?;
            let verdict = judge(&outcome);
            return Ok((outcome, verdict));
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
        let started = self.time();
        let template = self.flight();
        let mut is_first = true;
        let send = || {
            let mut call = template.flight();
            if !std::mem::take(&mut is_first) && call.now != Instant::NEVER {
                call.now = pipeline.clock.now();
            }
            fly(call, work(), judge, describe, stays_open)
        };
        let worth = |flown: &mut Flown<'_, R>| flown.worth;
        let race = pin!(Race::new(hedge, budget, &pipeline.clock, started, send, worth));
        let Flown { end, verdict, open, .. } = Polled::new(self, race).await;
        if let Some(open) = open {
            self.adopt(*open);
        }
        end.map(|outcome| (outcome, verdict))
    }

    /// All attempts of [`hedged`](Self::hedged) were refused or cut off: what comes after that.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient::{Registry, Verdict, pipeline::{Call, Next}};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("db").force_open();
    /// let pipeline = registry.pipeline("read").hedge("db").circuit_breaker("db").build();
    /// let mut call = Call::begin(&pipeline);
    /// let refused = call.hedged(async || Some(7), Verdict::of).await.unwrap_err();
    /// assert_eq!(call.hedges_refused(&refused), Next::Fail);
    /// # }
    /// ```
    #[cold]
    pub fn hedges_refused(&mut self, rejection: &Rejection) -> Next {
        if rejection.is_timeout() {
            return self.timed_out(rejection);
        }
        self.refused(rejection)
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
            rare: self.rare.as_ref().and_then(|rare| rare.spans_alone()),
            ticket: None,
            rate_key: self.rate_key,
            weight: self.weight,
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

async fn fly<'p, R, F: Future<Output = R>>(
    mut call: Call<'p>,
    body: F,
    judge: &impl Fn(&R) -> Verdict,
    describe: &impl Fn(&R, &mut Words),
    stays_open: bool,
) -> Flown<'p, R> {
    if !call.enter()
        && let Err(rejection) = call.enter_later().await
    {
        // It was not made, and has settled already.
        return Flown { worth: Worth::Refused, end: Err(rejection), verdict: Verdict::Success, open: None };
    }
    let end = call.attempt(body).await;
    if stays_open && let Ok(outcome) = &end {
        let verdict = judge(outcome);
        if open::stays_open(verdict) {
            return Flown { worth: Worth::of(verdict), end, verdict, open: Some(Box::new(call)) };
        }
    }
    let (verdict, worth) = match &end {
        Ok(outcome) => {
            let verdict = judge(outcome);
            call.finish_with(verdict, |words| describe(outcome, words));
            (verdict, Worth::of(verdict))
        }
        Err(rejection) => {
            call.timed_out(rejection);
            // Out of its own time another may be faster; out of the call's, there is none for another.
            let may_be_faster = rejection.kind() == RejectionKind::AttemptTimeout;
            (Verdict::Success, if may_be_faster { Worth::Failed } else { Worth::TooLate })
        }
    };
    Flown { end, verdict, worth, open: None }
}
