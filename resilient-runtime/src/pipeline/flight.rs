//! Several attempts of a call at the same time, each with an admission, a permit and a limit of its own.

use std::future::Future;
use std::pin::pin;

use super::Call;
use super::attempt::Polled;
use super::call::{Next, Repeats};
use crate::clock::Instant;
use crate::hedge::{Hedge, Left, Race, Sent, Worth};
use crate::outcome::Verdict;
use crate::rejection::{Rejection, RejectionKind};

/// One of the attempts when it has ended, and has settled with the stages.
struct Flown<R> {
    end: Result<R, Rejection>,
    verdict: Verdict,
    worth: Worth,
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
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Verdict,
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
            fly(call, work(), &judge)
        };
        let worth = |flown: &mut Flown<R>| flown.worth;
        let race = pin!(Race::new(hedge, budget, &pipeline.clock, started, left, send, worth));
        let (Flown { end, verdict, .. }, spent) = Polled::new(self, race).await;
        if spent.beside > 0 {
            self.rare.get_or_insert_default().hedges += spent.beside;
        }
        self.progress.retries += spent.repeated;
        end.map(|outcome| (outcome, verdict))
    }

    /// How many attempts the hedge may still send. In one call no more than `max` of the hedge are sent beside slow ones. An
    /// attempt that is sent because another failed repeats it, and is one of the `max` of the retry where there is one. So
    /// a call is never carried out more often than once, and `max` of the retry, and `max` of the hedge.
    fn left_to_send(&self, hedge: &Hedge) -> Left {
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
            rare: self.rare.as_ref().and_then(|rare| rare.for_flight()),
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

async fn fly<R, F: Future<Output = R>>(
    mut call: Call<'_>,
    body: F,
    judge: &impl Fn(&R) -> Verdict,
) -> Flown<R> {
    if !call.enter()
        && let Err(rejection) = call.enter_later().await
    {
        // It was not made, and has settled already.
        return Flown { worth: Worth::Refused, end: Err(rejection), verdict: Verdict::Success };
    }
    let end = call.attempt(body).await;
    let (verdict, worth) = match &end {
        Ok(outcome) => {
            let verdict = judge(outcome);
            call.finish(verdict);
            (verdict, Worth::of(verdict))
        }
        Err(rejection) => {
            let is_evidence = call.evidence_of_time().is_some();
            call.timed_out(rejection);
            // Out of its own time another may be faster; out of the call's, there is none for another. What the time of the
            // calls around cut off says nothing about how long attempts take.
            let worth = match rejection.kind() {
                RejectionKind::AttemptTimeout => Worth::Failed,
                _ if is_evidence => Worth::TooLate,
                _ => Worth::Refused,
            };
            (Verdict::Success, worth)
        }
    };
    Flown { end, verdict, worth }
}
