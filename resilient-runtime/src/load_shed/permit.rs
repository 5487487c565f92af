//! Uses a load shedder without the attribute: for a closure, a future, or with a permit.

use std::mem::ManuallyDrop;

use super::{Admitted, End, LoadShedder};
use crate::classify::{Class, Judgement, Verdict};
use crate::context;
use crate::outcome::Reject;

/// One admitted call. It is in flight until the permit is dropped or settled.
///
/// A permit that is dropped without [`settle`](Self::settle) is not used for delays and the throttle. If the thread
/// is panicking, it counts as a failure.
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let api = Registry::new().load_shedder("api");
/// let call = api.try_acquire().unwrap();
/// assert_eq!(api.stats().in_flight, 1);
/// drop(call);
/// assert_eq!(api.stats().in_flight, 0);
/// ```
#[must_use = "a permit that is dropped at once counts as a call that has ended"]
#[derive(Debug)]
pub struct Permit<'a> {
    shedder: &'a LoadShedder,
    call: Admitted,
}

impl<'a> Permit<'a> {
    #[inline]
    pub(super) fn new(shedder: &'a LoadShedder, call: Admitted) -> Self {
        Self { shedder, call }
    }

    /// Records the result of the call.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict, load_shed::Config};
    ///
    /// let upstream = Registry::new().load_shedder("upstream");
    /// upstream.reconfigure(Config::default().throttle(true)).unwrap();
    /// upstream.try_acquire().unwrap().settle(Verdict::Success);
    /// assert_eq!(upstream.stats().classes.normal.accepts, 1);
    /// ```
    #[inline]
    pub fn settle(self, judgement: impl Into<Judgement>) {
        let verdict = judgement.into().verdict();
        let permit = ManuallyDrop::new(self);
        let is_cut_short =
            verdict != Verdict::Success && context::is_cut_short(verdict, permit.shedder.core.clock());
        permit.end(if is_cut_short { End::Unknown } else { End::Judged(verdict) });
    }

    #[inline]
    fn end(&self, end: End) {
        self.shedder.leave_directly(self.call, end);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let failed = End::Judged(Verdict::Failure(Class::TRANSIENT));
        self.end(if std::thread::panicking() { failed } else { End::Unknown });
    }
}

impl LoadShedder {
    /// Calls `work` with normal priority, unless the call is shed.
    ///
    /// [`Verdict::of`] classifies the result. Use [`call_judged`](Self::call_judged) for another judge.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection};
    ///
    /// let shedder = Registry::new().load_shedder("api");
    /// let answer: Result<u32, Rejection> = shedder.call(|| Ok(7));
    /// assert_eq!(answer.unwrap(), 7);
    /// ```
    pub fn call<R: Reject<Error: 'static>>(&self, work: impl FnOnce() -> R) -> R {
        self.call_judged(work, Judgement::of)
    }

    /// Like [`call`](Self::call), with a custom judge such as [`Verdict::by_class`].
    ///
    /// For another priority, use [`try_acquire_as`](Self::try_acquire_as) and [`Permit::settle`].
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Verdict, load_shed::Config};
    ///
    /// let shedder = Registry::new().load_shedder("checkout");
    /// shedder.reconfigure(Config::default().throttle(true)).unwrap();
    /// let missing_is_fine = |_: &Option<u32>| Verdict::Failure(Class::Ignored);
    /// shedder.call_judged(|| None, missing_is_fine);
    /// assert_eq!(shedder.stats().classes.normal.accepts, 1);
    /// ```
    pub fn call_judged<R: Reject, J: Into<Judgement>>(
        &self,
        work: impl FnOnce() -> R,
        judge: impl FnOnce(&R) -> J,
    ) -> R {
        match self.try_acquire() {
            Ok(permit) => {
                let outcome = work();
                permit.settle(judge(&outcome));
                outcome
            }
            Err(rejection) => R::from_rejection(rejection),
        }
    }

    /// Like [`call`](Self::call), for a future.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, RejectionKind, Rejection, Component, load_shed::Config};
    ///
    /// let shedder = Registry::new().load_shedder("ingest");
    /// shedder.reconfigure(Config::default().max_in_flight(1).adaptive(false)).unwrap();
    /// let busy = shedder.try_acquire().unwrap();
    /// let shed = shedder.call_async(async || Ok::<_, Rejection>(7)).await;
    /// assert_eq!(shed.unwrap_err().kind(), RejectionKind::Shed);
    /// # drop(busy);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work. The call is then no longer in flight, and is not used for delays and the
    /// throttle.
    pub fn call_async<R: Reject<Error: 'static>>(
        &self,
        work: impl AsyncFnOnce() -> R,
    ) -> impl Future<Output = R> {
        self.call_judged_async(work, Judgement::of)
    }

    /// Like [`call_async`](Self::call_async), with a custom judge.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, Verdict, load_shed::Config};
    ///
    /// let shedder = Registry::new().load_shedder("upstream");
    /// shedder.reconfigure(Config::default().throttle(true)).unwrap();
    /// shedder.call_judged_async(async || None::<u32>, Verdict::of).await;
    /// let normal = shedder.stats().classes.normal;
    /// assert_eq!((normal.requests, normal.accepts), (1, 0));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`call_async`](Self::call_async).
    pub async fn call_judged_async<R: Reject, J: Into<Judgement>>(
        &self,
        work: impl AsyncFnOnce() -> R,
        judge: impl FnOnce(&R) -> J,
    ) -> R {
        // A separate statement: a scrutinee would be stored in the future, including the rejection.
        let permit = match self.try_acquire() {
            Ok(permit) => permit,
            Err(rejection) => return R::from_rejection(rejection),
        };
        let outcome = work().await;
        permit.settle(judge(&outcome));
        outcome
    }
}
