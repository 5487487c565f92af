//! The loop around the attempts, for pipelines that are called by hand. The attribute writes the same loop
//! around the body in place.

use super::methods::Method;
use super::{Call, Next, Options, Pipeline};
use crate::fallback::{AllFailed, AsyncChain, Chain, into_failure};
use crate::observe::Words;
use crate::outcome::{Failure, Judgement, Outcome, Reject};
use crate::rejection::Rejection;

/// A call that did not succeed.
pub(super) enum CallFailure<R> {
    Rejected(Rejection),
    Failed(R),
}

/// Judges what a call gives, and what becomes of it where a stage has refused or cut it off.
pub(super) trait Judges<R> {
    fn judge(&self, outcome: &R) -> Judgement;

    fn hear(&self, rejection: &Rejection) -> Judgement;

    /// Puts a failure in words.
    fn describe(&self, outcome: &R, words: &mut Words);
}

/// A refusal is returned as the outcome that it becomes, and judged as such.
pub(super) struct Surfaced<F>(pub(super) F);

impl<R: Reject<Error: 'static>, J: Into<Judgement>, F: Fn(&R) -> J> Judges<R> for Surfaced<F> {
    #[inline]
    fn judge(&self, outcome: &R) -> Judgement {
        (self.0)(outcome).into()
    }

    #[cold]
    fn hear(&self, rejection: &Rejection) -> Judgement {
        (self.0)(&R::from_rejection(rejection.clone())).into()
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        words.outcome(outcome);
    }
}

/// A fallback answers a refusal.
pub(super) struct Surfaceless<F>(pub(super) F);

impl<R: Outcome<Error: 'static>, J: Into<Judgement>, F: Fn(&R) -> J> Judges<R> for Surfaceless<F> {
    #[inline]
    fn judge(&self, outcome: &R) -> Judgement {
        (self.0)(outcome).into()
    }

    fn hear(&self, _: &Rejection) -> Judgement {
        Judgement::UNKNOWN
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        words.outcome(outcome);
    }
}

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

impl Pipeline {
    /// Runs `work` through the stages, judged by [`Verdict::of`](crate::Verdict::of). Blocks in queues and between attempts.
    ///
    /// A synchronous body cannot be cut off: the total of a timeout ends the waiting and the retries, not the body. A
    /// pipeline that limits the time of an attempt, or has a hedge, is refused, as is one with a fallback, coalescing or
    /// idempotency, which have methods of their own.
    ///
    /// ```
    /// use resilient_runtime::{Registry, clock::ManualClock};
    ///
    /// let registry = Registry::with_clock(ManualClock::new().clock());
    /// let pipeline = registry.pipeline("stock").retry("warehouse").build();
    /// let mut answers = [None, Some(7)].into_iter();
    /// assert_eq!(pipeline.call(|| answers.next().flatten()), Some(7));
    /// assert_eq!(pipeline.stats().calls, 1, "one call of two attempts");
    /// ```
    pub fn call<R: Reject<Error: 'static>>(&self, work: impl FnMut() -> R) -> R {
        self.call_judged(Options::default(), work, Judgement::of)
    }

    /// Like [`call`](Self::call), with a [`Priority`](crate::Priority) or other
    /// [`Options`], and a judge of your own, such as [`Verdict::by_class`](crate::Verdict::by_class) or
    /// [`judge!`](crate::judge). It also hears what a refusal or timeout becomes: it can say `Permanent` or `Ignored` of that,
    /// and whether to try again.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Priority, Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("user").circuit_breaker("users").build();
    /// let no_such_user = |_: &Option<u32>| Verdict::Failure(Class::Ignored);
    /// pipeline.call_judged(Priority::High, || None::<u32>, no_such_user);
    /// assert_eq!(pipeline.stats().ignored, 1);
    /// assert_eq!(registry.circuit_breaker("users").stats().failed, 0);
    /// ```
    pub fn call_judged<R: Reject<Error: 'static>, J: Into<Judgement>>(
        &self,
        options: impl Into<Options>,
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let mut call = self.begin(options.into());
        drive(&mut call, Method::Call, &mut work, &Surfaced(judge)).unwrap_or_else(CallFailure::surface)
    }

    /// Like [`call`](Self::call), with a judge of your own, and with words for an error. Without them the statistics, events and
    /// refusals have the text of a known error ([`Verdict::of`](crate::Verdict::of)) or string, and only the name of any other
    /// type.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict, circuit_breaker::Config};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("disk").reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// let pipeline = registry.pipeline("load").circuit_breaker("disk").build();
    /// let load = || Err::<u32, _>(std::io::Error::other("the disk is gone"));
    /// let call = || pipeline.call_described(load, Verdict::of, |error, words| words.error(error)).unwrap_err();
    /// call();
    /// assert!(call().to_string().contains("1 failures in a row, last error: the disk is gone"));
    /// ```
    pub fn call_described<R: Reject, J: Into<Judgement>>(
        &self,
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
        describe: impl Fn(&R::Error, &mut Words),
    ) -> R {
        let mut call = self.begin(Options::default());
        let judge = Described { judge, describe: of_error(describe) };
        drive(&mut call, Method::Call, &mut work, &judge).unwrap_or_else(CallFailure::surface)
    }

    /// Like [`call_described`](Self::call_described), for a future.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, Verdict};
    ///
    /// let pipeline = Registry::new().pipeline("load").build();
    /// let load = async || Err::<u32, _>(std::io::Error::other("the disk is gone"));
    /// pipeline.call_described_async(load, Verdict::of, |error, words| words.error(error)).await.unwrap_err();
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "the disk is gone");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async).
    pub async fn call_described_async<R: Reject, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
        describe: impl Fn(&R::Error, &mut Words),
    ) -> R {
        self.call_worded_async(Options::default(), work, judge, of_error(describe)).await
    }

    /// Like [`call_judged_async`](Self::call_judged_async), with words for a failed outcome, also for one that is no `Err`: the
    /// answer of a client, in which its own error is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Class, Registry, Rejection, Verdict, observe::Words, pipeline::Options};
    ///
    /// let pipeline = Registry::new().pipeline("load").build();
    /// let load = async || Ok::<Result<u32, &str>, Rejection>(Err("the disk is gone"));
    /// let judge = |answer: &Result<Result<u32, &str>, Rejection>| match answer {
    ///     Ok(Ok(_)) => Verdict::Success,
    ///     Ok(Err(_)) | Err(_) => Verdict::Failure(Class::UNKNOWN),
    /// };
    /// let describe = |answer: &Result<Result<u32, &str>, Rejection>, words: &mut Words| {
    ///     if let Ok(Err(error)) = answer { words.display(error) }
    /// };
    /// pipeline.call_worded_async(Options::default(), load, judge, describe).await.unwrap().unwrap_err();
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "the disk is gone");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async).
    pub async fn call_worded_async<R: Reject, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        options: impl Into<Options>,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
        describe: impl Fn(&R, &mut Words),
    ) -> R {
        let mut call = self.begin(options.into());
        let judge = Described { judge, describe };
        drive_async(&mut call, Method::CallAsync, &mut work, &judge)
            .await
            .unwrap_or_else(CallFailure::surface)
    }

    /// Runs `work` through the stages, and the levels of `chain` if it failed. The chain is built only then.
    ///
    /// ```
    /// use resilient_runtime::{Registry, fallback::{Chain, Level}};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("rate").circuit_breaker("bank").fallback("rate").build();
    /// registry.circuit_breaker("bank").force_open();
    /// let chain = || Chain::of(Level::Default, |why| why.rejection().map(|_| 1.0));
    /// assert_eq!(pipeline.call_or(|| Some(1.1), chain), Some(1.0));
    /// assert_eq!(pipeline.stats().fell_back, 1);
    /// ```
    pub fn call_or<'a, R: AllFailed<Error: 'static>>(
        &self,
        mut work: impl FnMut() -> R,
        chain: impl FnOnce() -> Chain<'a, R>,
    ) -> R {
        let mut call = self.begin(Options::default());
        match drive(&mut call, Method::CallOr, &mut work, &Surfaceless(Judgement::of)) {
            Ok(outcome) => outcome,
            Err(missed) => chain().answer(&mut call, missed.into_failure()),
        }
    }

    /// Runs `work` through the stages, judged by [`Verdict::of`](crate::Verdict::of).
    ///
    /// `work` may be an async closure that captures by reference, and the future can be spawned if that of `work`
    /// can. (With `AsyncFnMut` it could not: rustc then asks for `Send` for every lifetime.) What an async
    /// closure changes has to be in a `Cell`, an atomic or a lock.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, Rejection, RejectionKind, clock::Clock};
    ///
    /// let pipeline = Registry::with_clock(Clock::tokio()).pipeline("export").timeout("export").build();
    /// assert_eq!(pipeline.call_async(async || Ok::<_, Rejection>(7)).await, Ok(7));
    /// let late = pipeline.call_async(std::future::pending::<Result<u32, Rejection>>).await;
    /// assert_eq!(late.unwrap_err().kind(), RejectionKind::TotalTimeout);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future, at whichever point, drops the work and gives back every permit; the circuit
    /// breaker takes it neither for a success nor for a failure.
    pub fn call_async<R: Reject<Error: 'static>, F: Future<Output = R>>(
        &self,
        work: impl FnMut() -> F,
    ) -> impl Future<Output = R> {
        self.call_judged_async(Options::default(), work, Judgement::of)
    }

    /// Like [`call_async`](Self::call_async), with a [`Priority`](crate::Priority) or other [`Options`], and a judge of
    /// your own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Priority, Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("pay").load_shed("api").retry("gateway").build();
    /// let pay = async || std::fs::read("/no/such/file");
    /// assert!(pipeline.call_judged_async(Priority::Critical, pay, Verdict::by_class).await.is_err());
    /// assert_eq!(registry.load_shedder("api").stats().classes.critical.admitted, 1);
    /// assert_eq!(registry.retry("gateway").stats().not_retryable, 1);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async).
    pub async fn call_judged_async<R: Reject<Error: 'static>, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        options: impl Into<Options>,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let mut call = self.begin(options.into());
        drive_async(&mut call, Method::CallAsync, &mut work, &Surfaced(judge))
            .await
            .unwrap_or_else(CallFailure::surface)
    }

    /// Runs `work` through the stages, and the levels of `chain` if it failed. The chain is built only then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, fallback::{AsyncChain, Level}};
    ///
    /// let pipeline = Registry::new().pipeline("profile").fallback("profile").build();
    /// let chain = || AsyncChain::of(Level::Replica, |_| async { Some("ada, an hour ago") });
    /// let profile = pipeline.call_or_async(async || None, chain).await;
    /// assert_eq!(profile, Some("ada, an hour ago"));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async).
    pub async fn call_or_async<'a, R: AllFailed<Error: 'static>, F: Future<Output = R>>(
        &self,
        mut work: impl FnMut() -> F,
        chain: impl FnOnce() -> AsyncChain<'a, R>,
    ) -> R {
        let mut call = self.begin(Options::default());
        match drive_async(&mut call, Method::CallOrAsync, &mut work, &Surfaceless(Judgement::of)).await {
            Ok(outcome) => outcome,
            Err(missed) => chain().answer(&mut call, missed.into_failure()).await,
        }
    }

    #[inline]
    pub(super) fn begin(&self, options: Options) -> Call<'_> {
        let mut call = Call::begin(self);
        options.give_to(&mut call);
        call
    }
}

/// A judge that has words for a failed outcome.
pub(super) struct Described<J, D> {
    pub(super) judge: J,
    pub(super) describe: D,
}

fn of_error<R: Outcome>(describe: impl Fn(&R::Error, &mut Words)) -> impl Fn(&R, &mut Words) {
    move |outcome, words| match outcome.error() {
        Some(error) => describe(error, words),
        None => words.type_of::<R>(),
    }
}

impl<R, J, O, D> Judges<R> for Described<J, D>
where
    R: Reject,
    J: Fn(&R) -> O,
    O: Into<Judgement>,
    D: Fn(&R, &mut Words),
{
    #[inline]
    fn judge(&self, outcome: &R) -> Judgement {
        (self.judge)(outcome).into()
    }

    #[cold]
    fn hear(&self, rejection: &Rejection) -> Judgement {
        (self.judge)(&R::from_rejection(rejection.clone())).into()
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        (self.describe)(outcome, words);
    }
}

#[inline]
pub(super) fn drive<R>(
    call: &mut Call<'_>,
    method: Method,
    work: &mut impl FnMut() -> R,
    judge: &impl Judges<R>,
) -> Result<R, CallFailure<R>> {
    call.honoured_by(method).map_err(CallFailure::Rejected)?;
    attempts(call, work, judge)
}

/// Behind the stages that come once for all attempts.
#[inline]
pub(super) fn attempts<R>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> R,
    judge: &impl Judges<R>,
) -> Result<R, CallFailure<R>> {
    loop {
        if let Err(rejection) = call.enter_blocking() {
            match call.refused(&rejection, || judge.hear(&rejection)) {
                Next::Retry => continue,
                _ => return Err(CallFailure::Rejected(rejection)),
            }
        }
        let outcome = call.attempt_sync(&mut *work);
        match call.finish_with(judge.judge(&outcome), |words| judge.describe(&outcome, words)) {
            Next::Return => return Ok(outcome),
            Next::Fail => return Err(CallFailure::Failed(outcome)),
            Next::Retry => {}
        }
    }
}

pub(super) async fn drive_async<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    method: Method,
    work: &mut impl FnMut() -> F,
    judge: &impl Judges<R>,
) -> Result<R, CallFailure<R>> {
    if let Err(rejection) = call.honoured_by(method) {
        return Err(CallFailure::Rejected(rejection));
    }
    attempts_async(call, work, judge).await
}

/// Behind the stages that come once for all attempts.
pub(super) async fn attempts_async<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    judge: &impl Judges<R>,
) -> Result<R, CallFailure<R>> {
    if call.is_hedged() {
        // Boxed: who does not hedge does not pay for it with a larger future.
        return Box::pin(drive_hedged(call, work, judge)).await;
    }
    loop {
        if !call.enter()
            && let Err(rejection) = call.enter_later().await
        {
            match call.refused(&rejection, || judge.hear(&rejection)) {
                Next::Retry => continue,
                _ => return Err(CallFailure::Rejected(rejection)),
            }
        }
        match call.attempt(work()).await {
            Ok(outcome) => {
                match call.finish_with(judge.judge(&outcome), |words| judge.describe(&outcome, words)) {
                    Next::Return => return Ok(outcome),
                    Next::Fail => return Err(CallFailure::Failed(outcome)),
                    Next::Retry => {}
                }
            }
            Err(rejection) => {
                if call.timed_out_as(&rejection, judge.hear(&rejection)) == Next::Fail {
                    return Err(CallFailure::Rejected(rejection));
                }
            }
        }
    }
}

async fn drive_hedged<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    judge: &impl Judges<R>,
) -> Result<R, CallFailure<R>> {
    loop {
        let flown = call.hedged_with(
            &mut *work,
            |outcome| judge.judge(outcome),
            |outcome, words| judge.describe(outcome, words),
            |rejection| judge.hear(rejection),
        );
        match flown.await {
            Ok((outcome, judgement)) => {
                match call.finish_with(judgement, |words| judge.describe(&outcome, words)) {
                    Next::Return => return Ok(outcome),
                    Next::Fail => return Err(CallFailure::Failed(outcome)),
                    Next::Retry => {}
                }
            }
            Err(rejection) => {
                if call.hedges_refused_as(&rejection, judge.hear(&rejection)) == Next::Fail {
                    return Err(CallFailure::Rejected(rejection));
                }
            }
        }
    }
}
