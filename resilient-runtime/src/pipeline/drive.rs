//! The loop around the attempts, for pipelines that are called by hand. The attribute writes the same loop
//! around the body in place.

use super::methods::Method;
use super::{Call, Next, Options, Pipeline};
use crate::fallback::{AllFailed, AsyncChain, Chain, into_failure};
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
    /// A synchronous body cannot be cut off: the total of a timeout ends the waiting and the retries, not the body. A
    /// pipeline that limits the time of an attempt, or has a hedge, is refused, as is one with a fallback, coalescing or
    /// idempotency, which have methods of their own.
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
        drive(&mut call, Method::Call, &mut work, &judge).unwrap_or_else(Missed::surface)
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
        match drive(&mut call, Method::CallOr, &mut work, &Verdict::of) {
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
        drive_async(&mut call, Method::CallAsync, &mut work, &judge).await.unwrap_or_else(Missed::surface)
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
        match drive_async(&mut call, Method::CallOrAsync, &mut work, &Verdict::of).await {
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

#[inline]
pub(super) fn drive<R>(
    call: &mut Call<'_>,
    method: Method,
    work: &mut impl FnMut() -> R,
    judge: &impl Fn(&R) -> Verdict,
) -> Result<R, Missed<R>> {
    call.honoured_by(method).map_err(Missed::Rejected)?;
    attempts(call, work, judge)
}

/// Behind the stages that come once for all attempts.
#[inline]
pub(super) fn attempts<R>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> R,
    judge: &impl Fn(&R) -> Verdict,
) -> Result<R, Missed<R>> {
    loop {
        if let Err(rejection) = call.enter_blocking() {
            return Err(Missed::Rejected(rejection));
        }
        let outcome = call.attempt_sync(&mut *work);
        match call.finish(judge(&outcome)) {
            Next::Return => return Ok(outcome),
            Next::Fail => return Err(Missed::Failed(outcome)),
            Next::Retry => {}
        }
    }
}

pub(super) async fn drive_async<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    method: Method,
    work: &mut impl FnMut() -> F,
    judge: &impl Fn(&R) -> Verdict,
) -> Result<R, Missed<R>> {
    if let Err(rejection) = call.honoured_by(method) {
        return Err(Missed::Rejected(rejection));
    }
    attempts_async(call, work, judge).await
}

/// Behind the stages that come once for all attempts.
pub(super) async fn attempts_async<R, F: Future<Output = R>>(
    call: &mut Call<'_>,
    work: &mut impl FnMut() -> F,
    judge: &impl Fn(&R) -> Verdict,
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
            Ok(outcome) => match call.finish(judge(&outcome)) {
                Next::Return => return Ok(outcome),
                Next::Fail => return Err(Missed::Failed(outcome)),
                Next::Retry => {}
            },
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
    judge: &impl Fn(&R) -> Verdict,
) -> Result<R, Missed<R>> {
    loop {
        match call.hedged(&mut *work, judge).await {
            Ok((outcome, verdict)) => match call.finish(verdict) {
                Next::Return => return Ok(outcome),
                Next::Fail => return Err(Missed::Failed(outcome)),
                Next::Retry => {}
            },
            Err(rejection) => {
                if call.hedges_refused(&rejection) == Next::Fail {
                    return Err(Missed::Rejected(rejection));
                }
            }
        }
    }
}
