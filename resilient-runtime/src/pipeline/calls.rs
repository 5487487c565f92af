//! The methods that run a request.

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
    /// Runs `work` through the stages and blocks in queues and between attempts.
    ///
    /// The outcome is judged by [`Verdict::of`](crate::Verdict::of).
    ///
    /// A synchronous body cannot be interrupted: the total timeout ends waits and retries, but not the body. A pipeline
    /// with an attempt timeout or a hedge rejects this call. For a pipeline with a fallback, coalescing or idempotency,
    /// use a [`request`](Self::request).
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

    /// Runs asynchronous `work` through the stages.
    ///
    /// The outcome is judged by [`Verdict::of`](crate::Verdict::of).
    ///
    /// `work` can be an async closure that captures by reference. The returned future is `Send` if the future of `work`
    /// is. (With an `AsyncFnMut` bound, rustc would require `Send` for every lifetime.) State that an async closure
    /// changes must be in a `Cell`, an atomic or a lock.
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
    /// Dropping the future at any point drops the work and releases every permit. The circuit breaker records no result.
    pub fn call_async<R: Reject<Error: 'static>, F: Future<Output = R>>(
        &self,
        work: impl FnMut() -> F,
    ) -> impl Future<Output = R> {
        self.request().call_async(work)
    }
}

impl<R, J, A, K: KeySet<R>> Request<'_, R, J, A, K> {
    /// Runs `work` through the stages and blocks in queues and between attempts.
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

    /// Runs `work` through the stages on a thread of the bulkhead.
    ///
    /// It blocks the current thread, but not longer than the timeout. Each attempt runs a clone of `work`. If the
    /// bulkhead has no `threads`, the work runs on the current thread and cannot be abandoned.
    ///
    /// A pipeline with a hedge rejects this call, because a losing attempt could not be stopped. A pipeline with an
    /// attempt timeout rejects it if the bulkhead has no threads.
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

    /// Runs blocking `work` on a thread of the bulkhead from asynchronous code.
    ///
    /// It is the asynchronous form of [`call_in_threads`](Self::call_in_threads) and does not block the current thread.
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
    /// Dropping the future removes the work from the queue if it has not started. Otherwise the work runs on and holds
    /// its permit until it ends.
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
    /// Runs asynchronous `work` through the stages.
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
    /// Dropping the future at any point drops the work and releases every permit. The circuit breaker records no result.
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

// A separate impl, so that keys do not enlarge the future of a call without keys.
impl<R, J, A> Request<'_, R, J, A, Keys<R>> {
    /// Runs asynchronous `work` through the stages, with the keys of the request.
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
    /// Dropping the future at any point drops the work and releases every permit. The circuit breaker records no result.
    ///
    /// With an idempotency key, a call that is dropped before its work is first suspended frees the key. A call that is
    /// dropped later leaves the key claimed until the lease expires. With a coalescing key, the next waiting call runs
    /// its own work.
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

/// Checks that the call supports all stages with the given keys and fallback, and that every key is used.
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
