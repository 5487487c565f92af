//! The loop around the attempts of a call that is made by hand. The attribute writes the same loop around the body in place.

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
    /// A stage refused it, or cut it off.
    Rejected(Rejection),
    /// The work failed.
    Failed(R),
}

/// How the attempts of a call ended.
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

/// What the loop asks about an attempt.
pub(super) trait Judges<R> {
    fn judge(&self, outcome: &R) -> Judgement;

    /// Judges what a refusal or timeout becomes.
    fn hear(&self, rejection: &Rejection) -> Judgement;

    /// Puts a failure in words.
    fn describe(&self, outcome: &R, words: &mut Words);
}

/// Admission, one run of the body, and what comes of it, until it is not repeated. `admit` waits for admission; `run` gives the
/// outcome of an attempt as this pattern, or a rejection, and then `stop` says what stopped it; `judged` is what the judge says
/// of the outcome. An outcome for which `hands_out` holds ends the loop, and not the call.
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

/// Runs the work in place.
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

/// Waits without blocking where [`Call::enter`] has not entered at once.
macro_rules! entered {
    ($call:ident) => {
        if $call.enter() { Ok(()) } else { $call.admitted().await }
    };
}

/// Runs the future of the work; several at the same time where the pipeline has a hedge.
pub(super) async fn attempts_async<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    by: &impl Judges<R>,
) -> Ended<R> {
    if call.is_hedged() {
        // Boxed: who does not hedge does not pay for it with a larger future.
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

/// As [`attempts_async`], up to the outcome that is handed out; with what the judge said of it.
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

/// Each attempt is a race, in which each racer is admitted for itself. An outcome is handed out where it is to be known
/// what the judge said of it.
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

/// Whether the call goes on behind an outcome of this kind.
pub(super) fn stays_open(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Success | Verdict::Failure(Class::Ignored))
}

/// Runs a clone of the work on a thread of the bulkhead, without blocking this one. `work` by value: a reference to it could
/// be sent only if it were `Sync`.
pub(super) async fn attempts_in_threads_async<R: Send + 'static>(
    call: &mut Call<'_>,
    work: impl FnOnce() -> R + Clone + Send + 'static,
    by: &impl Judges<R>,
) -> Ended<R> {
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
