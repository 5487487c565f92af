//! Several attempts of a call at the same time, each with an admission, a permit and a limit of its own.

use std::future::Future;

use super::Call;
use super::call::Next;
use crate::clock::{Delay, Instant};
use crate::hedge::{Race, Worth};
use crate::outcome::Verdict;
use crate::rejection::{Rejection, RejectionKind};

/// One of the attempts when it has ended.
struct Flown<'p, R> {
    call: Call<'p>,
    end: Result<R, Rejection>,
    verdict: Verdict,
}

impl<'p> Call<'p> {
    /// Makes an attempt, and another where it is slow; waits before a retry. What `judge` thinks of the outcome comes
    /// with it.
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
            return Err(Rejection::new(RejectionKind::NoTimer, pipeline.operation.name()));
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
        let template = self.flight();
        let race = Race::new(
            hedge,
            budget,
            &pipeline.clock,
            || fly(template.flight_again(), work()),
            |flown: &mut Flown<'_, R>| flown.land(&judge),
        );
        let Flown { end, verdict, .. } = self.ask(race).await;
        end.map(|outcome| (outcome, verdict))
    }

    /// All attempts of [`hedged`](Self::hedged) were refused or cut off: what comes after that.
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
            pause: Delay::NONE,
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
            inside_retry: self.inside_retry,
            is_flight: true,
            priority: self.priority,
            ending: self.ending,
            missed: self.missed,
        }
    }

    /// Another one, that starts now.
    fn flight_again(&self) -> Call<'p> {
        let mut call = self.flight();
        if call.now != Instant::NEVER {
            call.now = call.pipeline.clock.now();
        }
        call
    }
}

async fn fly<R, F: Future<Output = R>>(mut call: Call<'_>, body: F) -> Flown<'_, R> {
    let mut end = Ok(());
    if !call.enter() {
        end = call.enter_later().await;
    }
    let end = match end {
        Ok(()) => call.attempt(body).await,
        Err(rejection) => Err(rejection),
    };
    Flown { call, end, verdict: Verdict::Success }
}

impl<R> Flown<'_, R> {
    /// Settles with the stages.
    fn land(&mut self, judge: &impl Fn(&R) -> Verdict) -> Worth {
        match &self.end {
            Ok(outcome) => {
                self.verdict = judge(outcome);
                self.call.finish(self.verdict);
                Worth::of(self.verdict)
            }
            Err(rejection) => {
                // What was refused before it began has settled already.
                self.call.timed_out(rejection);
                // Out of its own time another may be faster; out of the call's, there is none for another.
                let may_be_faster = rejection.kind() == RejectionKind::AttemptTimeout;
                if may_be_faster { Worth::Failed } else { Worth::Refused }
            }
        }
    }
}
