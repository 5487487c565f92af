//! Handles an attempt that ends without an outcome: its rejection is returned, or another attempt follows.

use super::Call;
use super::call::Next;
use crate::__rt::Rule;
use crate::classify::Judgement;
use crate::rejection::{Rejection, RejectionKind};

/// Why an attempt has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A stage rejected it before its body began.
    Refused,
    /// Its body timed out.
    CutOff,
    /// None of several concurrent attempts had an outcome.
    NoWinner,
}

impl Call<'_> {
    /// Returns the outcome of the rejection, or `None` if the attempt is retried.
    ///
    /// The outcome is made once, and the returned outcome is the one that was judged.
    #[cold]
    pub fn stopped<R, J: Rule<R>>(
        &mut self,
        stop: Stop,
        rejection: Rejection,
        reject: impl FnOnce(Rejection) -> R,
        rule: J,
    ) -> Option<R> {
        let stop = self.cause_of(stop);
        if !self.asks_about(stop, &rejection, J::INSISTS) {
            return Some(self.unheard(stop, rejection, reject));
        }
        let refused = reject(rejection.clone());
        let judgement = rule.judge(&refused);
        (self.after_stop(stop, &rejection, judgement) == Next::Fail).then_some(refused)
    }

    /// Like `stopped`, for a call that is never retried.
    #[cold]
    pub fn stopped_for_good<R>(
        &mut self,
        stop: Stop,
        rejection: Rejection,
        reject: impl FnOnce(Rejection) -> R,
        rule: impl Rule<R>,
    ) -> R {
        let stop = self.cause_of(stop);
        if !self.asks_about(stop, &rejection, false) {
            return self.unheard(stop, rejection, reject);
        }
        let refused = reject(rejection.clone());
        let judgement = rule.judge(&refused);
        self.after_stop(stop, &rejection, judgement);
        refused
    }

    /// A fault that ends an attempt after its admission acts like a body that fails or times out.
    fn cause_of(&mut self, stop: Stop) -> Stop {
        if self.was_stopped_by_fault() { Stop::CutOff } else { stop }
    }

    fn unheard<R>(&mut self, stop: Stop, rejection: Rejection, reject: impl FnOnce(Rejection) -> R) -> R {
        // The stage that rejected has already recorded a rejection.
        if stop != Stop::Refused {
            self.after_stop(stop, &rejection, Judgement::UNKNOWN);
        }
        reject(rejection)
    }

    /// Whether the judgement of the rejection is used. After [`Stop::Refused`] only a retry uses it: if the rejection
    /// has a retry-after hint, or if the rule may request a retry.
    fn asks_about(&self, stop: Stop, rejection: &Rejection, may_insist: bool) -> bool {
        let stages = &self.pipeline.stages;
        match stop {
            Stop::Refused if stages.retry.is_none() || self.is_racer() => false,
            Stop::Refused => match rejection.kind() {
                RejectionKind::BulkheadFull | RejectionKind::RateLimited => {
                    may_insist || rejection.retry_after().is_some()
                }
                _ => may_insist,
            },
            Stop::CutOff | Stop::NoWinner => stages.retry.is_some() || stages.circuit_breaker.is_some(),
        }
    }

    #[cold]
    #[inline(never)]
    fn after_stop(&mut self, stop: Stop, rejection: &Rejection, judgement: Judgement) -> Next {
        match stop {
            Stop::Refused => self.refused(rejection, judgement),
            Stop::CutOff => self.timed_out(rejection, judgement),
            Stop::NoWinner => self.no_winner(rejection, judgement),
        }
    }
}
