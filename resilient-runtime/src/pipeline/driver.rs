//! The attempt loop of a call without the attribute. The attribute generates the same loop around the body in place.

use std::convert::identity;
use std::future::Future;

use super::Call;
use super::call::Next;
use super::stopped::Stop;
use crate::classify::{Class, Judgement, Verdict};
use crate::error_text::Words;
use crate::fallback::into_failure;
use crate::outcome::{Failure, Outcome, Reject};
use crate::rejection::Rejection;

/// A call that did not succeed.
#[derive(Debug)]
pub enum CallFailure<R> {
    /// A stage rejected it or timed it out.
    Rejected(Rejection),
    /// The work failed.
    Failed(R),
}

/// The result of all attempts of a call.
pub(super) type Ended<R> = Result<R, CallFailure<R>>;

impl<R: Reject> CallFailure<R> {
    pub(super) fn surface(self) -> R {
        match self {
            Self::Rejected(rejection) => R::from_rejection(rejection),
            Self::Failed(outcome) => outcome,
        }
    }
}

impl<R: Outcome> CallFailure<R> {
    pub(super) fn into_failure(self) -> Failure<R::Error> {
        match self {
            Self::Rejected(rejection) => Failure::Rejected(rejection),
            Self::Failed(outcome) => into_failure(outcome),
        }
    }
}

/// Judges the attempts of the loop.
pub(super) trait Judges<R> {
    fn judge(&self, outcome: &R) -> Judgement;

    /// Judges the outcome that a rejection or timeout becomes.
    fn hear(&self, rejection: &Rejection) -> Judgement;

    /// Writes the text of a failure.
    fn describe(&self, outcome: &R, words: &mut Words);
}

/// Admits an attempt, runs the body and handles the outcome, until the attempt is not retried.
///
/// `admit` waits for admission. `run` returns the outcome of an attempt, matched by the pattern, or a rejection; `stop`
/// is then the reason. `judged` is the judgement of the outcome. If `hands_out` returns true, the loop ends but the
/// call does not.
macro_rules! attempts {
    (
        $call:ident, $by:ident,
        admit: $admit:expr,
        run: $run:expr => $done:pat,
        stop: $stop:expr,
        judged: $outcome:ident, $judged:expr,
        hands_out: $hands_out:expr
    ) => {
        loop {
            let hear = |rejection: &Rejection| $by.hear(rejection);
            if let Err(rejection) = $admit {
                match $call.stopped(Stop::Refused, rejection, identity, hear) {
                    Some(rejection) => break Err(CallFailure::Rejected(rejection)),
                    None => continue,
                }
            }
            match $run {
                Ok($done) => {
                    let judgement: Judgement = $judged;
                    if $hands_out(judgement) {
                        break Ok($outcome);
                    }
                    match $call.finish_with(judgement, |words| $by.describe(&$outcome, words)) {
                        Next::Return => break Ok($outcome),
                        Next::Fail => break Err(CallFailure::Failed($outcome)),
                        Next::Retry => {}
                    }
                }
                Err(rejection) => {
                    if let Some(rejection) = $call.stopped($stop, rejection, identity, hear) {
                        break Err(CallFailure::Rejected(rejection));
                    }
                }
            }
        }
    };
}

#[inline]
fn never(_: Judgement) -> bool {
    false
}

/// Runs the work on the current thread.
#[inline]
pub(super) fn attempts<R>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> R,
    by: &impl Judges<R>,
) -> Ended<R> {
    attempts!(
        call,
        by,
        admit: call.enter_blocking(),
        run: Ok::<_, Rejection>(call.attempt_sync(&mut *work)) => outcome,
        stop: Stop::CutOff,
        judged: outcome, by.judge(&outcome),
        hands_out: never
    )
}

/// Runs a clone of the work on a thread of the bulkhead.
pub(super) fn attempts_in_threads<R: Send + 'static>(
    call: &mut Call<'_>,
    work: &(impl FnOnce() -> R + Clone + Send + 'static),
    by: &impl Judges<R>,
) -> Ended<R> {
    call.set_in_threads();
    attempts!(
        call,
        by,
        admit: call.enter_blocking(),
        run: call.attempt_in_pool(work.clone()) => outcome,
        stop: Stop::CutOff,
        judged: outcome, by.judge(&outcome),
        hands_out: never
    )
}

/// Waits asynchronously if [`Call::enter`] did not admit the attempt at once.
macro_rules! entered {
    ($call:ident) => {
        if $call.enter() { Ok(()) } else { $call.admitted().await }
    };
}

/// Runs the future of the work; several concurrently if the pipeline has a hedge.
pub(super) async fn attempts_async<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    by: &impl Judges<R>,
) -> Ended<R> {
    if call.is_hedged() {
        // Boxed, so that a hedge does not enlarge the future of other pipelines.
        return Box::pin(attempts_hedged(call, work, by, None)).await;
    }
    attempts!(
        call,
        by,
        admit: entered!(call),
        run: call.attempt(work()).await => outcome,
        stop: Stop::CutOff,
        judged: outcome, by.judge(&outcome),
        hands_out: never
    )
}

/// Like [`attempts_async`], but stops at the outcome that is handed out. Also returns its judgement.
pub(super) async fn attempts_open<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    by: &impl Judges<R>,
) -> (Ended<R>, Judgement) {
    let mut said = Judgement::SUCCESS;
    if call.is_hedged() {
        let ended = Box::pin(attempts_hedged(call, work, by, Some(&mut said))).await;
        return (ended, said);
    }
    let ended = attempts!(
        call,
        by,
        admit: entered!(call),
        run: call.attempt(work()).await => outcome,
        stop: Stop::CutOff,
        judged: outcome, noted(by.judge(&outcome), Some(&mut said)),
        hands_out: |judgement: Judgement| stays_open(judgement.verdict())
    );
    (ended, said)
}

/// Runs each attempt as a race in which each racer is admitted separately. Outcomes are handed out only if the caller
/// wants the judgement.
async fn attempts_hedged<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    by: &impl Judges<R>,
    mut said: Option<&mut Judgement>,
) -> Ended<R> {
    let hands_out = said.is_some();
    attempts!(
        call,
        by,
        admit: Ok::<(), Rejection>(()),
        run: call.raced(&mut *work, by, hands_out).await => (outcome, judgement),
        stop: Stop::NoWinner,
        judged: outcome, noted(judgement, said.as_deref_mut()),
        hands_out: |judgement: Judgement| hands_out && stays_open(judgement.verdict())
    )
}

/// Whether the call stays open after an outcome with this verdict.
pub(super) fn stays_open(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Success | Verdict::Failure(Class::Ignored))
}

/// Runs a clone of the work on a thread of the bulkhead, without blocking this one. It takes `work` by value: a
/// reference would be `Send` only if `work` were `Sync`.
pub(super) async fn attempts_in_threads_async<R: Send + 'static>(
    call: &mut Call<'_>,
    work: impl FnOnce() -> R + Clone + Send + 'static,
    by: &impl Judges<R>,
) -> Ended<R> {
    call.set_in_threads();
    attempts!(
        call,
        by,
        admit: entered!(call),
        run: call.attempt_in_pool_async(work.clone()).await => outcome,
        stop: Stop::CutOff,
        judged: outcome, by.judge(&outcome),
        hands_out: never
    )
}

fn noted(judgement: Judgement, said: Option<&mut Judgement>) -> Judgement {
    if let Some(said) = said {
        *said = judgement;
    }
    judgement
}
