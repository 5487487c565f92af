//! Makes the call of a request.

use std::future::Future;

use super::driver::{CallFailure, attempts, attempts_async, attempts_in_threads, attempts_in_threads_async};
use super::honour::{Demand, Entry};
use super::judges::{Answer, AnswerLater, Asked, Judge, Refusal};
use super::keyed::{IdempotencyKey, KeySet, Keys, around, kept};
use super::stages::coalesce::{Shared, led, led_async};
use super::stages::idempotency::{held, held_async};
use super::{Call, Options, Pipeline, Request};
use crate::idempotency::ClaimOutcome;
use crate::outcome::Reject;

impl Pipeline {
    /// Runs `work` through the stages, judged by [`Verdict::of`](crate::Verdict::of). Blocks in queues and between attempts.
    ///
    /// A synchronous body cannot be cut off: the total of a timeout ends the waiting and the retries, not the body. A
    /// pipeline that limits the time of an attempt, or has a hedge, is refused; for one with a fallback, coalescing or
    /// idempotency use a [`request`](Self::request).
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
        self.request().call(work)
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
        self.request().call_async(work)
    }
}

impl<R, J, A, K: KeySet<R>> Request<'_, R, J, A, K> {
    /// Runs `work` through the stages. Blocks in queues and between attempts.
    ///
    /// ```
    /// let pipeline = resilient_runtime::Registry::new().pipeline("stock").build();
    /// assert_eq!(pipeline.request().call(|| Some(7)), Some(7));
    /// ```
    #[inline]
    pub fn call(self, mut work: impl FnMut() -> R) -> R
    where
        J: Judge<R>,
        A: Answer<R>,
    {
        let Self { pipeline, options, keys, judge, answer, .. } = self;
        let call = &mut begin(pipeline, options);
        let by = Asked { judge: &judge, answer: &answer };
        let ended = match honoured(pipeline, call, Entry::Call, &keys, &answer) {
            Err(failure) => Err(failure),
            Ok(()) => match keys.into_keys() {
                None => attempts(call, &mut work, &by),
                Some(keys) => around!(sync call, keys, &answer, attempts(call, &mut work, &by)),
            },
        };
        answer.answer(call, ended)
    }

    /// Runs `work` on a thread of the bulkhead's own, through the stages; blocks this thread, no longer than the timeout.
    /// Each attempt runs a clone. Without a bulkhead that has `threads` the work is done in place, and cannot be left.
    ///
    /// A pipeline with a hedge is refused: an attempt that loses could not be stopped. So is one that limits the time of an
    /// attempt, where the bulkhead has no threads.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, Rejection, RejectionKind, bulkhead, timeout};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("reports").reconfigure(bulkhead::Config::default().threads(2)).unwrap();
    /// registry.timeout("reports").reconfigure(timeout::Config::default().total(Duration::from_millis(50))).unwrap();
    /// let pipeline = registry.pipeline("report").bulkhead("reports").timeout("reports").build();
    /// assert_eq!(pipeline.request().call_in_threads(|| Ok::<_, Rejection>(1)), Ok(1));
    ///
    /// let (end, hangs) = std::sync::mpsc::channel::<()>();
    /// let hangs = std::sync::Arc::new(std::sync::Mutex::new(hangs));
    /// let work = move || Ok::<_, Rejection>(drop(hangs.lock().unwrap().recv()));
    /// let late = pipeline.request().call_in_threads(work);
    /// assert_eq!(late.unwrap_err().kind(), RejectionKind::TotalTimeout);
    /// assert_eq!(registry.bulkhead("reports").stats().pool.unwrap().abandoned, 1, "it runs on");
    /// # drop(end);
    /// ```
    pub fn call_in_threads(self, work: impl FnOnce() -> R + Clone + Send + 'static) -> R
    where
        R: Send + 'static,
        J: Judge<R>,
        A: Answer<R>,
    {
        let Self { pipeline, options, keys, judge, answer, .. } = self;
        let call = &mut begin(pipeline, options);
        let by = Asked { judge: &judge, answer: &answer };
        let ended = match honoured(pipeline, call, Entry::InThreads, &keys, &answer) {
            Err(failure) => Err(failure),
            Ok(()) => {
                around!(sync call, keys.into_keys().unwrap_or_default(), &answer, attempts_in_threads(call, &work, &by))
            }
        };
        answer.answer(call, ended)
    }

    /// As [`call_in_threads`](Self::call_in_threads), without blocking this thread: for blocking work in an asynchronous
    /// program.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, bulkhead::Config};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("crypto").reconfigure(Config::default().threads(2)).unwrap();
    /// let pipeline = registry.pipeline("sum").bulkhead("crypto").build();
    /// let product = pipeline.request().call_in_threads_async(|| Some((1..=10).product::<u32>())).await;
    /// assert_eq!(product, Some(3_628_800));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the work if it has not begun; else it runs on, and keeps its permit until it ends.
    pub async fn call_in_threads_async(self, work: impl FnOnce() -> R + Clone + Send + 'static) -> R
    where
        R: Send + 'static,
        J: Judge<R>,
        A: AnswerLater<R>,
    {
        let Self { pipeline, options, keys, judge, answer, .. } = self;
        let call = &mut begin(pipeline, options);
        let by = Asked { judge: &judge, answer: &answer };
        let ended = match honoured(pipeline, call, Entry::InThreadsAsync, &keys, &answer) {
            Err(failure) => Err(failure),
            Ok(()) => {
                around!(async call, keys.into_keys().unwrap_or_default(), &answer, attempts_in_threads_async(call, work, &by).await)
            }
        };
        answer.answer_later(call, ended).await
    }
}

impl<R, J, A> Request<'_, R, J, A> {
    /// Runs `work` through the stages.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, fallback::{AsyncChain, Level}};
    ///
    /// let pipeline = Registry::new().pipeline("profile").fallback("profile").build();
    /// let chain = || AsyncChain::of(Level::Replica, |_| async { Some("ada, an hour ago") });
    /// let profile = pipeline.request().fallback(chain).call_async(async || None).await;
    /// assert_eq!(profile, Some("ada, an hour ago"));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future, at whichever point, drops the work and gives back every permit; the circuit breaker takes it
    /// neither for a success nor for a failure.
    pub async fn call_async<F: Future<Output = R>>(self, mut work: impl FnMut() -> F) -> R
    where
        J: Judge<R>,
        A: AnswerLater<R>,
    {
        let Self { pipeline, options, keys, judge, answer, .. } = self;
        let call = &mut begin(pipeline, options);
        let by = Asked { judge: &judge, answer: &answer };
        let ended = match honoured(pipeline, call, Entry::CallAsync, &keys, &answer) {
            Err(failure) => Err(failure),
            Ok(()) => attempts_async(call, &mut work, &by).await,
        };
        answer.answer_later(call, ended).await
    }
}

// Apart: the future of a call without keys is not larger because of them.
impl<R, J, A> Request<'_, R, J, A, Keys<R>> {
    /// Runs `work` through the stages, with the keys of the request.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let pipeline = resilient_runtime::Registry::new().pipeline("charge").idempotency("charge").build();
    /// let charge = |cents: u32| pipeline.request().key(&"order 7").call_async(move || async move { Some(cents) });
    /// assert_eq!((charge(995).await, charge(1).await), (Some(995), Some(995)));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future, at whichever point, drops the work and gives back every permit; the circuit breaker takes it
    /// neither for a success nor for a failure. With an idempotency key, a call that is dropped before its work was suspended
    /// for the first time leaves the key free; one that is dropped later leaves it claimed until the lease is over. With a
    /// coalescing key, the next call that waits for the answer runs its own work.
    pub async fn call_async<F: Future<Output = R>>(self, mut work: impl FnMut() -> F) -> R
    where
        J: Judge<R>,
        A: AnswerLater<R>,
    {
        let Self { pipeline, options, keys, judge, answer, .. } = self;
        let call = &mut begin(pipeline, options);
        let by = Asked { judge: &judge, answer: &answer };
        let ended = match honoured(pipeline, call, Entry::CallAsync, &keys, &answer) {
            Err(failure) => Err(failure),
            Ok(()) => around!(async call, keys, &answer, attempts_async(call, &mut work, &by).await),
        };
        answer.answer_later(call, ended).await
    }
}

#[inline]
pub(super) fn begin(pipeline: &Pipeline, options: Options) -> Call<'_> {
    let mut call = Call::begin(pipeline);
    options.give_to(&mut call);
    call
}

/// Whether the call honours all stages, with these keys and this fallback, and uses the keys.
#[inline]
fn honoured<R, A: Refusal<R>, K: KeySet<R>>(
    pipeline: &Pipeline,
    call: &mut Call<'_>,
    entry: Entry,
    keys: &K,
    _: &A,
) -> Result<(), CallFailure<R>> {
    call.keys_are_used(keys.given(), pipeline.needs).map_err(CallFailure::Rejected)?;
    let given = keys.given().with(Demand::Fallback, A::HAS_LEVELS);
    call.honoured_by(entry, given).map_err(CallFailure::Rejected)
}
