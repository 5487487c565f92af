//! The circuit breaker: the result of an attempt goes to the epoch that admitted it.

use crate::classify::Judgement;
use crate::clock::Instant;
use crate::last_error::Cause;
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::rejection::Rejection;

impl Call<'_> {
    /// Passes it if the circuit is closed; counts nothing if not.
    #[inline]
    pub(in crate::pipeline) fn pass_breaker_plainly(&mut self) -> bool {
        let Some(breaker) = &self.pipeline.stages.circuit_breaker else { return true };
        self.held.ticket = breaker.admit_plainly();
        self.held.ticket.is_some()
    }

    /// Passes it, unless the call has done so before it looked for a permit.
    pub(in crate::pipeline) fn pass_breaker(&mut self) -> Result<(), Rejection> {
        self.arrive();
        let passed = match &self.pipeline.stages.circuit_breaker {
            _ if self.clock.is_late() => Err(self.out_of_time()),
            Some(breaker) if self.held.ticket.is_none() => breaker.admit(|| self.time()).map(Some),
            _ => return Ok(()),
        };
        match passed {
            Ok(ticket) => self.held.ticket = ticket,
            Err(rejection) => {
                self.settle(None);
                self.ending = Ending::of(&rejection);
                return Err(self.after_attempts(rejection));
            }
        }
        Ok(())
    }

    /// Tells it what the attempt was worth; nothing for one that was not made, or says nothing about the dependency.
    #[inline]
    pub(in crate::pipeline) fn settle_breaker(
        &mut self,
        judgement: Option<Judgement>,
        cause: Option<Cause<'_>>,
    ) {
        if let (Some(ticket), Some(breaker)) =
            (self.held.ticket.take(), &self.pipeline.stages.circuit_breaker)
        {
            let verdict = judgement.map(Judgement::for_breaker);
            breaker.settle(ticket, verdict, cause, self.clock.attempt.or_never(), || self.time());
        }
    }

    /// Whether the attempt is slow by its rules.
    pub(in crate::pipeline) fn is_slow(&self, started: Instant, now: Instant) -> bool {
        let breaker = self.pipeline.stages.circuit_breaker.as_ref().filter(|_| self.is_attempt());
        breaker.is_some_and(|breaker| breaker.is_slow(started, now))
    }
}
