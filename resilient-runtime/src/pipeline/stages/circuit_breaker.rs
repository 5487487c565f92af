//! The circuit breaker stage: an attempt reports its result to the epoch that admitted it.

use crate::classify::Judgement;
use crate::clock::Instant;
use crate::last_error::Cause;
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::rejection::Rejection;

impl Call<'_> {
    /// Passes the circuit breaker if it is closed. Otherwise counts nothing.
    #[inline]
    pub(in crate::pipeline) fn pass_breaker_plainly(&mut self) -> bool {
        let Some(breaker) = &self.pipeline.stages.circuit_breaker else { return true };
        self.held.ticket = breaker.admit_plainly();
        self.held.ticket.is_some()
    }

    /// Passes the circuit breaker, unless the attempt already holds a ticket.
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

    /// Reports the result of the attempt. `None` if it was not executed, or its result says nothing about the
    /// dependency.
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

    /// Whether the circuit breaker counts the attempt as slow.
    pub(in crate::pipeline) fn is_slow(&self, started: Instant, now: Instant) -> bool {
        let breaker = self.pipeline.stages.circuit_breaker.as_ref().filter(|_| self.is_attempt());
        breaker.is_some_and(|breaker| breaker.is_slow(started, now))
    }
}
