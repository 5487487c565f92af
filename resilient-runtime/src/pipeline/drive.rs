//! The loop around the attempts, for pipelines that are called by hand. The attribute writes the same loop
//! around the body in place.

use super::{Call, Next, Options, Pipeline};
use crate::fallback::{AllFailed, AsyncChain, Chain, into_failure};
use crate::observe::Words;
use crate::outcome::{Failure, Outcome, Reject, Verdict};
use crate::rejection::Rejection;

/// A call that did not succeed.
pub(super) enum Missed<R> {
    Rejected(Rejection),
    Failed(R),
}

impl<R: Reject> Missed<R> {
    pub(super) fn surface(self) -> R {
        match self {
            Self::Rejected(rejection) => R::from_rejection(rejection),
            Self::Failed(outcome) => outcome,
        }
    }
}

impl<R: Outcome> Missed<R> {
    pub(super) fn into_failure(self) -> Failure<R::Error> {
        match self {
            Self::Rejected(rejection) => Failure::Rejected(rejection),
            Self::Failed(outcome) => into_failure(outcome),
        }
    }
}

impl Pipeline {
    /// Runs `work` through the stages; every failure is transient. Blocks in queues and between attempts.
    ///
    /// A synchronous body cannot be cut off: a timeout ends the waiting and the retries, not the body.
    ///
    /// ```
    /// use resilient::{Registry, clock::ManualClock};
    ///
    /// let registry = Registry::with_clock(ManualClock::new().clock());
    /// let pipeline = registry.pipeline("stock").retry("warehouse").build();
    /// let mut answers = [None, Some(7)].into_iter();
    /// assert_eq!(pipeline.call(|| answers.next().flatten()), Some(7));
    /// assert_eq!(pipeline.stats().calls, 1, "one call of two attempts");
    /// ```
    pub fn call<R: Reject>(&self, work: impl FnMut() -> R) -> R {
        self.call_judged(Options::default(), work, Verdict::of)
    }

    /// Like [`call`](Self::call), with a [`Priority`](crate::Priority) or other
    /// [`Options`], and a judge of your own, such as [`Verdict::by_class`].
    ///
    /// ```
    /// use resilient::{Class, Component, Priority, Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("user").circuit_breaker("users").build();
    /// let no_such_user = |_: &Option<u32>| Verdict::Failure(Class::Ignored);
    /// pipeline.call_judged(Priority::High, || None::<u32>, no_such_user);
    /// assert_eq!(pipeline.stats().ignored, 1);
    /// assert_eq!(registry.circuit_breaker("users").stats().failed, 0);
    /// ```
    pub fn call_judged<R: Reject>(
        &self,
        options: impl Into<Options>,
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> Verdict,
    ) -> R {
        let mut call = self.begin(options.into());
        drive(&mut call, &mut work, &judge).unwrap_or_else(Missed::surface)
    }

    /// Like [`call`](Self::call), with a judge of your own, and with words for an error: by hand nothing is known of its type,
    /// and without them the statistics, events and refusals can only name that.
    ///
    /// ```
    /// use resilient::{Component, Registry, Verdict, circuit_breaker::Config};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("disk").reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// let pipeline = registry.pipeline("load").circuit_breaker("disk").build();
    /// let load = || Err::<u32, _>(std::io::Error::other("the disk is gone"));
    /// let call = || pipeline.call_described(load, Verdict::of, |error, words| words.error(error)).unwrap_err();
    /// call();
    /// assert!(call().to_string().contains("1 failures in a row, last error: the disk is gone"));
    /// ```
    pub fn call_described<R: Reject>(
        &self,
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> Verdict,
        describe: impl Fn(&R::Error, &mut Words),
    ) -> R {
        let mut call = self.begin(Options::default());
        drive(&mut call, &mut work, &Described { judge, describe }).unwrap_or_else(Missed::surface)
    }

    /// Like [`call_described`](Self::call_described), for a future.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient::{Registry, Verdict};
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
    pub async fn call_described_async<R: Reject, F: Future<Output = R>>(
        &self,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Verdict,
        describe: impl Fn(&R::Error, &mut Words),
    ) -> R {
        let mut call = self.begin(Options::default());
        let judge = Described { judge, describe };
        drive_async(&mut call, &mut work, &judge).await.unwrap_or_else(Missed::surface)
    }

    /// Runs `work` through the stages, and the levels of `chain` if it failed. The chain is built only then.
    ///
    /// ```
    /// use resilient::{Registry, fallback::{Chain, Level}};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("rate").circuit_breaker("bank").fallback("rate").build();
    /// registry.circuit_breaker("bank").force_open();
    /// let chain = || Chain::of(Level::Default, |why| why.rejection().map(|_| 1.0));
    /// assert_eq!(pipeline.call_or(|| Some(1.1), chain), Some(1.0));
    /// assert_eq!(pipeline.stats().fell_back, 1);
    /// ```
    pub fn call_or<'a, R: AllFailed>(
        &self,
        mut work: impl FnMut() -> R,
        chain: impl FnOnce() -> Chain<'a, R>,
    ) -> R {
        let mut call = self.begin(Options::default());
        match drive(&mut call, &mut work, &Verdict::of) {
            Ok(outcome) => outcome,
            Err(missed) => chain().answer(&mut call, missed.into_failure()),
        }
    }

    /// Runs `work` through the stages; every failure is transient.
    ///
    /// `work` may be an async closure that captures by reference, and the future can be spawned if that of `work`
    /// can. (With `AsyncFnMut` it could not: rustc then asks for `Send` for every lifetime.) What an async
    /// closure changes has to be in a `Cell`, an atomic or a lock.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use resilient::{Registry, Rejection, RejectionKind, clock::Clock};
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
    pub fn call_async<R: Reject, F: Future<Output = R>>(
        &self,
        work: impl FnMut() -> F,
    ) -> impl Future<Output = R> {
        self.call_judged_async(Options::default(), work, Verdict::of)
    }

    /// Like [`call_async`](Self::call_async), with a [`Priority`](crate::Priority) or other [`Options`], and a judge of
    /// your own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient::{Component, Priority, Registry, Verdict};
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
    pub async fn call_judged_async<R: Reject, F: Future<Output = R>>(
        &self,
        options: impl Into<Options>,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Verdict,
    ) -> R {
        let mut call = self.begin(options.into());
        drive_async(&mut call, &mut work, &judge).await.unwrap_or_else(Missed::surface)
    }

    /// Runs `work` through the stages, and the levels of `chain` if it failed. The chain is built only then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient::{Registry, fallback::{AsyncChain, Level}};
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
    pub async fn call_or_async<'a, R: AllFailed, F: Future<Output = R>>(
        &self,
        mut work: impl FnMut() -> F,
        chain: impl FnOnce() -> AsyncChain<'a, R>,
    ) -> R {
        let mut call = self.begin(Options::default());
        match drive_async(&mut call, &mut work, &Verdict::of).await {
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

/// What is thought of an outcome, and how its failure is put in words.
pub(super) trait Judging<R> {
    fn judge(&self, outcome: &R) -> Verdict;
    fn describe(&self, outcome: &R, words: &mut Words);
}

impl<R, F: Fn(&R) -> Verdict> Judging<R> for F {
    #[inline]
    fn judge(&self, outcome: &R) -> Verdict {
        self(outcome)
    }

    fn describe(&self, _: &R, words: &mut Words) {
        words.type_of::<R>();
    }
}

/// A judge that has words.
struct Described<J, D> {
    judge: J,
    describe: D,
}

impl<R: Outcome, J: Fn(&R) -> Verdict, D: Fn(&R::Error, &mut Words)> Judging<R> for Described<J, D> {
    #[inline]
    fn judge(&self, outcome: &R) -> Verdict {
        (self.judge)(outcome)
    }

    fn describe(&self, outcome: &R, words: &mut Words) {
        match outcome.error() {
            Some(error) => (self.describe)(error, words),
            None => words.type_of::<R>(),
        }
    }
}

#[inline]
pub(super) fn drive<R>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> R,
    judge: &impl Judging<R>,
) -> Result<R, Missed<R>> {
    if call.pipeline().idempotency.is_some() {
        return Err(Missed::Rejected(call.keyless()));
    }
    attempts(call, work, judge)
}

/// Behind the stages that come once for all attempts.
#[inline]
pub(super) fn attempts<R>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> R,
    judge: &impl Judging<R>,
) -> Result<R, Missed<R>> {
    loop {
        if let Err(rejection) = call.enter_blocking() {
            return Err(Missed::Rejected(rejection));
        }
        let outcome = call.attempt_sync(&mut *work);
        match call.finish_with(judge.judge(&outcome), |words| judge.describe(&outcome, words)) {
            Next::Return => return Ok(outcome),
            Next::Fail => return Err(Missed::Failed(outcome)),
            Next::Retry => {}
        }
    }
}

pub(super) async fn drive_async<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    judge: &impl Judging<R>,
) -> Result<R, Missed<R>> {
    if call.pipeline().idempotency.is_some() {
        return Err(Missed::Rejected(call.keyless()));
    }
    attempts_async(call, work, judge).await
}

/// Behind the stages that come once for all attempts.
pub(super) async fn attempts_async<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    judge: &impl Judging<R>,
) -> Result<R, Missed<R>> {
    if call.is_hedged() {
        // Boxed: who does not hedge does not pay for it with a larger future.
        return Box::pin(drive_hedged(call, work, judge)).await;
    }
    loop {
        if !call.enter()
            && let Err(rejection) = call.enter_later().await
        {
            return Err(Missed::Rejected(rejection));
        }
        match call.attempt(work()).await {
            Ok(outcome) => {
                match call.finish_with(judge.judge(&outcome), |words| judge.describe(&outcome, words)) {
                    Next::Return => return Ok(outcome),
                    Next::Fail => return Err(Missed::Failed(outcome)),
                    Next::Retry => {}
                }
            }
            Err(rejection) => {
                if call.timed_out(&rejection) == Next::Fail {
                    return Err(Missed::Rejected(rejection));
                }
            }
        }
    }
}

async fn drive_hedged<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    judge: &impl Judging<R>,
) -> Result<R, Missed<R>> {
    loop {
        match call
            .hedged_with(
                &mut *work,
                |outcome| judge.judge(outcome),
                |outcome, words| judge.describe(outcome, words),
            )
            .await
        {
            Ok((outcome, verdict)) => {
                match call.finish_with(verdict, |words| judge.describe(&outcome, words)) {
                    Next::Return => return Ok(outcome),
                    Next::Fail => return Err(Missed::Failed(outcome)),
                    Next::Retry => {}
                }
            }
            Err(rejection) => {
                if call.hedges_refused(&rejection) == Next::Fail {
                    return Err(Missed::Rejected(rejection));
                }
            }
        }
    }
}
