//! Uses a circuit breaker without the attribute: for a closure, a future, or with a permit.

use std::mem::ManuallyDrop;

use super::CircuitBreaker;
use super::state::Ticket;
use crate::classify::{Class, Judgement, Verdict};
use crate::clock::Instant;
use crate::context;
use crate::error_text::Words;
use crate::last_error::Cause;
use crate::outcome::Reject;
use crate::rejection::Rejection;

impl CircuitBreaker {
    /// Calls `work` if the circuit admits it, and records the result.
    ///
    /// [`Verdict::of`] classifies the result. Use [`call_judged`](Self::call_judged) for another judge.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection};
    ///
    /// let breaker = Registry::new().circuit_breaker("stock");
    /// let stock: Result<u32, Rejection> = breaker.call(|| Ok(7));
    /// assert_eq!(stock.unwrap(), 7);
    ///
    /// breaker.force_open();
    /// let stock: Option<u32> = breaker.call(|| unreachable!("the circuit is open"));
    /// assert_eq!(stock, None);
    /// ```
    pub fn call<R: Reject<Error: 'static>>(&self, work: impl FnOnce() -> R) -> R {
        self.call_judged(work, Judgement::of)
    }

    /// Like [`call`](Self::call), with a custom judge such as [`Verdict::by_class`].
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict};
    ///
    /// let breaker = Registry::new().circuit_breaker("disk");
    /// let read = || std::fs::read("/no/such/file");
    /// breaker.call_judged(read, Verdict::by_class).unwrap_err();
    /// assert_eq!(breaker.stats().failed, 1);
    /// ```
    pub fn call_judged<R: Reject<Error: 'static>, J: Into<Judgement>>(
        &self,
        work: impl FnOnce() -> R,
        judge: impl FnOnce(&R) -> J,
    ) -> R {
        match self.try_acquire() {
            Ok(permit) => {
                let outcome = work();
                permit.settle_outcome(judge(&outcome).into(), &outcome);
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
    /// use resilient_runtime::{Registry, Rejection, RejectionKind};
    ///
    /// let breaker = Registry::new().circuit_breaker("quotes");
    /// assert_eq!(breaker.call_async(async || Ok::<_, Rejection>(7)).await, Ok(7));
    /// breaker.force_open();
    /// let refused = breaker.call_async(async || Ok::<u32, Rejection>(7)).await;
    /// assert_eq!(refused.unwrap_err().kind(), RejectionKind::CircuitOpen);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work. The call does not count as a success or a failure. A probe
    /// releases its slot.
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
    /// use resilient_runtime::{Class, Component, Registry, Verdict};
    ///
    /// let breaker = Registry::new().circuit_breaker("users");
    /// let missing_is_fine = |_: &Option<u32>| Verdict::Failure(Class::Ignored);
    /// breaker.call_judged_async(async || None::<u32>, missing_is_fine).await;
    /// assert_eq!((breaker.stats().ignored, breaker.stats().failed), (1, 0));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`call_async`](Self::call_async).
    pub async fn call_judged_async<R: Reject<Error: 'static>, J: Into<Judgement>>(
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
        permit.settle_outcome(judge(&outcome).into(), &outcome);
        outcome
    }

    /// Admits a call and returns a permit for its result.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict};
    ///
    /// let breaker = Registry::new().circuit_breaker("queue");
    /// let permit = breaker.try_acquire().unwrap();
    /// // ... send the request, and receive the response elsewhere ...
    /// permit.settle(Verdict::Success);
    /// assert_eq!(breaker.stats().successful, 1);
    /// ```
    ///
    /// # Errors
    /// Returns a rejection with the reason and the time to wait if the circuit is open.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejection> {
        let ticket = self.admit(|| self.core.clock().now())?;
        // A start at the end of time gives a duration of zero.
        let started = if self.rules.times_calls() { self.core.clock().now() } else { Instant::NEVER };
        Ok(Permit { breaker: self, ticket, started })
    }
}

/// One admitted call.
///
/// A permit that is dropped without [`settle`](Self::settle) does not count as a success or a failure.
/// If the thread is panicking, it counts as a failure.
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let breaker = Registry::new().circuit_breaker("queue");
/// drop(breaker.try_acquire().unwrap()); // no result was received
/// assert_eq!((breaker.stats().ignored, breaker.stats().failed), (1, 0));
/// ```
#[must_use = "a permit that is dropped at once counts as a call that did not run"]
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    ticket: Ticket,
    started: Instant,
}

impl Permit<'_> {
    /// Records the result of the call.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Verdict};
    ///
    /// let breaker = Registry::new().circuit_breaker("stream");
    /// breaker.try_acquire().unwrap().settle(Verdict::Failure(Class::TRANSIENT));
    /// assert_eq!(breaker.stats().failed, 1);
    /// ```
    #[inline]
    pub fn settle(self, judgement: impl Into<Judgement>) {
        let permit = ManuallyDrop::new(self);
        match judgement.into().for_breaker() {
            Verdict::Success => permit.succeeded(),
            failure @ Verdict::Failure(_) => permit.end(permit.evidence(failure)),
        }
    }

    /// Records the result of the call together with its error.
    ///
    /// The error appears in the statistics and in the reason of rejections.
    /// [`Registry::set_error_text`](crate::Registry::set_error_text) sets how much of its text is stored.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Verdict, circuit_breaker::Config};
    ///
    /// let breaker = Registry::new().circuit_breaker("stream");
    /// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// let lost = std::io::Error::other("the stream broke off");
    /// breaker.try_acquire().unwrap().settle_with(Verdict::Failure(Class::TRANSIENT), &lost);
    /// let refused = breaker.try_acquire().unwrap_err();
    /// assert!(refused.to_string().contains("last error: the stream broke off"));
    /// ```
    pub fn settle_with(self, judgement: impl Into<Judgement>, error: &(dyn std::error::Error + 'static)) {
        self.settle_described(judgement.into(), |words| words.error(error));
    }

    #[allow(clippy::inline_always)] // see `CircuitBreaker::settle_success`
    #[inline(always)]
    fn settle_outcome<R: Reject<Error: 'static>>(self, judgement: Judgement, outcome: &R) {
        if judgement.for_breaker() == Verdict::Success {
            ManuallyDrop::new(self).succeeded();
        } else {
            self.settle_failed(judgement, outcome);
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_failed<R: Reject<Error: 'static>>(self, judgement: Judgement, outcome: &R) {
        match judgement.for_breaker() {
            Verdict::Success | Verdict::Failure(Class::Ignored | Class::NotExecuted { .. }) => {
                self.settle(judgement);
            }
            Verdict::Failure(_) => self.settle_described(judgement, |words| words.outcome(outcome)),
        }
    }

    #[cold]
    fn settle_described(self, judgement: Judgement, describe: impl FnOnce(&mut Words)) {
        let this = ManuallyDrop::new(self);
        let (breaker, verdict) = (this.breaker, judgement.for_breaker());
        let evidence = if verdict == Verdict::Success { Some(verdict) } else { this.evidence(verdict) };
        breaker.core.environment.texts().capture(describe, |text| {
            let now = || breaker.core.clock().now();
            let text = text.map(|text| Cause { text, attempt: context::attempt() });
            breaker.settle(this.ticket, evidence, text, this.started, now);
        });
    }

    /// A call that ended only because an enclosing deadline passed is not counted, unless it was already slow.
    #[cold]
    fn evidence(&self, verdict: Verdict) -> Option<Verdict> {
        let clock = self.breaker.core.clock();
        let is_evidence = !context::is_cut_short(verdict, clock)
            || self.started != Instant::NEVER && self.breaker.is_slow(self.started, clock.now());
        is_evidence.then_some(verdict)
    }

    #[inline]
    fn succeeded(&self) {
        self.breaker.settle_success(self.ticket, self.started, || self.breaker.core.clock().now());
    }

    #[cold]
    fn end(&self, verdict: Option<Verdict>) {
        let now = self.breaker.core.clock().now();
        self.breaker.settle(self.ticket, verdict, None, self.started, || now);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.end(std::thread::panicking().then_some(Verdict::Failure(Class::TRANSIENT)));
    }
}
