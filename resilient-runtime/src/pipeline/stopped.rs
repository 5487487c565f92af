//! An attempt without an outcome: what it becomes, or that another one follows.

use super::Call;
use super::call::Next;
use crate::__rt::Rule;
use crate::classify::Judgement;
use crate::rejection::{Rejection, RejectionKind};

/// What stopped an attempt that has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A stage refused it: its body has not begun.
    Refused,
    /// Its body was cut off.
    CutOff,
    /// None of several attempts at the same time had an outcome.
    NoWinner,
}

impl Call<'_> {
    /// What the rejection becomes, or `None` where the attempt is repeated. What is returned is made once, and judged as it is.
    #[cold]
    pub fn stopped<R, J: Rule<R>>(
        &mut self,
        stop: Stop,
        rejection: Rejection,
        reject: impl FnOnce(Rejection) -> R,
        rule: J,
    ) -> Option<R> {
        if !self.asks_about(stop, &rejection, J::INSISTS) {
            return Some(self.unheard(stop, rejection, reject));
        }
        let refused = reject(rejection.clone());
        let judgement = rule.judge(&refused);
        (self.after_stop(stop, &rejection, judgement) == Next::Fail).then_some(refused)
    }

    /// The same of a call whose attempt is never repeated.
    #[cold]
    pub fn stopped_for_good<R>(
        &mut self,
        stop: Stop,
        rejection: Rejection,
        reject: impl FnOnce(Rejection) -> R,
        rule: impl Rule<R>,
    ) -> R {
        if !self.asks_about(stop, &rejection, false) {
            return self.unheard(stop, rejection, reject);
        }
        let refused = reject(rejection.clone());
        let judgement = rule.judge(&refused);
        self.after_stop(stop, &rejection, judgement);
        refused
    }

    fn unheard<R>(&mut self, stop: Stop, rejection: Rejection, reject: impl FnOnce(Rejection) -> R) -> R {
        // A refusal was noted by the stage that refused.
        if stop != Stop::Refused {
            self.after_stop(stop, &rejection, Judgement::UNKNOWN);
        }
        reject(rejection)
    }

    /// Whether anything acts on what the rejection becomes. Of a refusal only a retry does: where the refusal says when to come
    /// again, or the rule may insist.
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
