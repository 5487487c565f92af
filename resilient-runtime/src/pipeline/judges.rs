//! How a request handles its outcome: who judges it, the text of an error, and the outcome of a rejection.

use std::future::Future;

use super::Call;
use super::driver::{CallFailure, Ended, Judges};
use crate::classify::Judgement;
use crate::error_text::Words;
use crate::fallback::{AllFailed, AsyncChain, Chain};
use crate::outcome::{Outcome, Reject};
use crate::rejection::Rejection;

/// Judges an outcome and writes its error text.
pub trait Judge<R> {
    /// Returns the judgement of the outcome.
    fn judge(&self, outcome: &R) -> Judgement;

    /// Writes the text of a failure.
    fn describe(&self, outcome: &R, words: &mut Words);
}

/// Judges by [`Verdict::of`](crate::Verdict::of).
#[derive(Clone, Copy, Debug, Default)]
pub struct ByType;

impl<R: Outcome<Error: 'static>> Judge<R> for ByType {
    #[inline]
    fn judge(&self, outcome: &R) -> Judgement {
        Judgement::of(outcome)
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        words.outcome(outcome);
    }
}

/// Judges by a function.
#[derive(Clone, Copy, Debug)]
pub struct By<F>(pub(super) F);

impl<R: Outcome<Error: 'static>, J: Into<Judgement>, F: Fn(&R) -> J> Judge<R> for By<F> {
    #[inline]
    fn judge(&self, outcome: &R) -> Judgement {
        (self.0)(outcome).into()
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        words.outcome(outcome);
    }
}

/// A judge with a function for the text of an error.
#[derive(Clone, Copy, Debug)]
pub struct Described<J, D> {
    pub(super) judge: J,
    pub(super) describe: D,
}

impl<R: Outcome, J: JudgeAlone<R>, D: Fn(&R::Error, &mut Words)> Judge<R> for Described<J, D> {
    #[inline]
    fn judge(&self, outcome: &R) -> Judgement {
        self.judge.judge_alone(outcome)
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        match outcome.error() {
            Some(error) => (self.describe)(error, words),
            None => words.type_of::<R>(),
        }
    }
}

/// A judge with a function for the text of a failed outcome, which need not be an `Err`.
#[derive(Clone, Copy, Debug)]
pub struct OutcomeDescribed<J, D> {
    pub(super) judge: J,
    pub(super) describe: D,
}

impl<R, J: JudgeAlone<R>, D: Fn(&R, &mut Words)> Judge<R> for OutcomeDescribed<J, D> {
    #[inline]
    fn judge(&self, outcome: &R) -> Judgement {
        self.judge.judge_alone(outcome)
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        (self.describe)(outcome, words);
    }
}

/// Judges an outcome without describing it.
pub trait JudgeAlone<R> {
    /// Returns the judgement of the outcome.
    fn judge_alone(&self, outcome: &R) -> Judgement;
}

impl<R: Outcome<Error: 'static>> JudgeAlone<R> for ByType {
    #[inline]
    fn judge_alone(&self, outcome: &R) -> Judgement {
        Judgement::of(outcome)
    }
}

impl<R, J: Into<Judgement>, F: Fn(&R) -> J> JudgeAlone<R> for By<F> {
    #[inline]
    fn judge_alone(&self, outcome: &R) -> Judgement {
        (self.0)(outcome).into()
    }
}

/// Turns a rejection or timeout into an outcome.
pub trait Refusal<R> {
    /// Whether fallback levels handle failures.
    const HAS_LEVELS: bool;

    /// The outcome of a rejection, unless a fallback replaces it.
    fn refused(&self, rejection: &Rejection) -> Option<R>;
}

/// Returns the result of a synchronous call.
pub trait Answer<R>: Refusal<R> {
    /// Returns the outcome, or the replacement of a failure.
    fn answer(self, call: &mut Call<'_>, ended: Ended<R>) -> R;
}

/// Returns the result of an asynchronous call.
pub trait AnswerLater<R>: Refusal<R> {
    /// Returns the outcome, or the replacement of a failure.
    fn answer_later(self, call: &mut Call<'_>, ended: Ended<R>) -> impl Future<Output = R>;
}

/// Returns a rejection as the outcome made from it, and judges that outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surface;

impl<R: Reject> Refusal<R> for Surface {
    const HAS_LEVELS: bool = false;

    #[cold]
    fn refused(&self, rejection: &Rejection) -> Option<R> {
        Some(R::from_rejection(rejection.clone()))
    }
}

impl<R: Reject> Answer<R> for Surface {
    #[inline]
    fn answer(self, _: &mut Call<'_>, ended: Ended<R>) -> R {
        ended.unwrap_or_else(CallFailure::surface)
    }
}

impl<R: Reject> AnswerLater<R> for Surface {
    #[inline]
    fn answer_later(self, _: &mut Call<'_>, ended: Ended<R>) -> impl Future<Output = R> {
        std::future::ready(ended.unwrap_or_else(CallFailure::surface))
    }
}

/// Handles a failure with the levels of a fallback. They are created only after a failure.
#[derive(Clone, Copy, Debug)]
pub struct Levels<C>(pub(super) C);

impl<R, C> Refusal<R> for Levels<C> {
    const HAS_LEVELS: bool = true;

    fn refused(&self, _: &Rejection) -> Option<R> {
        None
    }
}

impl<'a, R: AllFailed, C: FnOnce() -> Chain<'a, R>> Answer<R> for Levels<C> {
    #[inline]
    fn answer(self, call: &mut Call<'_>, ended: Ended<R>) -> R {
        match ended {
            Ok(outcome) => outcome,
            Err(failure) => (self.0)().answer(call, failure.into_failure()),
        }
    }
}

/// The fallback levels of an asynchronous call. They can be synchronous.
pub trait AnyChain<R: AllFailed> {
    /// Runs the levels.
    fn ask(self, call: &mut Call<'_>, failure: CallFailure<R>) -> impl Future<Output = R>;
}

impl<R: AllFailed> AnyChain<R> for Chain<'_, R> {
    fn ask(self, call: &mut Call<'_>, failure: CallFailure<R>) -> impl Future<Output = R> {
        std::future::ready(self.answer(call, failure.into_failure()))
    }
}

impl<R: AllFailed> AnyChain<R> for AsyncChain<'_, R> {
    async fn ask(self, call: &mut Call<'_>, failure: CallFailure<R>) -> R {
        self.answer(call, failure.into_failure()).await
    }
}

impl<R: AllFailed, X: AnyChain<R>, C: FnOnce() -> X> AnswerLater<R> for Levels<C> {
    async fn answer_later(self, call: &mut Call<'_>, ended: Ended<R>) -> R {
        match ended {
            Ok(outcome) => outcome,
            Err(failure) => (self.0)().ask(call, failure).await,
        }
    }
}

/// The judge and the handling of rejections, for the attempt loop.
pub(super) struct Asked<'a, J, A> {
    pub(super) judge: &'a J,
    pub(super) answer: &'a A,
}

impl<R, J: Judge<R>, A: Refusal<R>> Judges<R> for Asked<'_, J, A> {
    #[inline]
    fn judge(&self, outcome: &R) -> Judgement {
        self.judge.judge(outcome)
    }

    #[cold]
    fn hear(&self, rejection: &Rejection) -> Judgement {
        self.answer.refused(rejection).map_or(Judgement::UNKNOWN, |outcome| self.judge.judge(&outcome))
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        self.judge.describe(outcome, words);
    }
}
