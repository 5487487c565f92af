//! A call that may get the answer of another, instead of being made.

use std::any::Any;
use std::future::Future;
use std::hash::Hash;

use super::drive::{CallFailure, Surfaced, attempts, attempts_async};
use super::methods::Method;
use super::{Call, Options, Pipeline};
use crate::coalesce::{Join, Joined, Lead, Led};
use crate::fallback::{self, CollectReasons, ReasonCollector, Seen};
use crate::load_shed::End;
use crate::observe::Ending;
use crate::outcome::{Judgement, Outcome, Reject};
use crate::rejection::{Rejection, RejectionKind};

/// Whether a call is to be made.
///
/// ```
/// use resilient_runtime::{Registry, pipeline::{Call, Shared}};
///
/// let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
/// let shared = Call::begin(&pipeline).share_blocking::<Option<f64>, _>("EUR").unwrap();
/// assert!(matches!(shared, Shared::Lead(Some(_))), "nobody asks the same");
/// ```
#[derive(Debug)]
pub enum Shared<'p, V> {
    /// Yes; others may wait for its answer. `None` where nobody can.
    Lead(Option<Lead<'p>>),
    /// No: this is the answer of another.
    Answer(V),
}

impl<'p> Call<'p> {
    /// Asks who else asks the same, and waits for the answer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, pipeline::{Call, Shared}};
    ///
    /// let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
    /// let (mut first, mut second) = (Call::begin(&pipeline), Call::begin(&pipeline));
    /// let Shared::Lead(lead) = first.share::<Option<f64>, _>("EUR").await.unwrap() else { panic!() };
    /// let (shared, ()) = tokio::join!(second.share("EUR"), async { first.publish(lead, &Some(1.1), None) });
    /// assert!(matches!(shared.unwrap(), Shared::Answer(Some(1.1))));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place among those who wait.
    pub async fn share<V, K>(&mut self, key: &K) -> Result<Shared<'p, V>, Rejection>
    where
        V: Outcome + Any + Clone,
        K: Hash + ?Sized,
    {
        let Some(join) = self.join::<V, K>(key) else {
            return Ok(Shared::Lead(None));
        };
        let joined = self.suspended(join).await;
        self.joined(joined)
    }

    /// The same, blocking the thread.
    ///
    /// ```
    /// use resilient_runtime::{Registry, pipeline::{Call, Shared}};
    ///
    /// let pipeline = Registry::new().pipeline("rate").build();
    /// let shared = Call::begin(&pipeline).share_blocking::<Option<f64>, _>("EUR").unwrap();
    /// assert!(matches!(shared, Shared::Lead(None)), "without a coalescer");
    /// ```
    pub fn share_blocking<V, K>(&mut self, key: &K) -> Result<Shared<'p, V>, Rejection>
    where
        V: Outcome + Any + Clone,
        K: Hash + ?Sized,
    {
        let Some(join) = self.join::<V, K>(key) else {
            return Ok(Shared::Lead(None));
        };
        let joined = join.block();
        if !matches!(joined, Ok(Joined::Lead(_))) {
            self.warn_of_blocking();
        }
        self.joined(joined)
    }

    fn join<V: Any, K: Hash + ?Sized>(&self, key: &K) -> Option<Join<'p>> {
        let coalesce = self.pipeline.coalesce.as_deref()?;
        Some(coalesce.join::<(V, Option<Seen>), K>(key, self.deadline))
    }

    fn joined<V: Outcome + Any + Clone>(
        &mut self,
        joined: Result<Joined<'p>, Rejection>,
    ) -> Result<Shared<'p, V>, Rejection> {
        match joined {
            Ok(Joined::Lead(lead)) => {
                // Who has waited for another's answer before may be late.
                if self.is_timed() {
                    self.now = self.pipeline.clock.now();
                }
                self.begins_in_time()?;
                Ok(Shared::Lead(Some(lead)))
            }
            Ok(Joined::Shared(answer)) => {
                // The type is part of the key: there is no other.
                let Some((answer, seen)) = answer.get::<(V, Option<Seen>)>() else {
                    return Ok(Shared::Lead(None));
                };
                if let Some(seen) = seen {
                    fallback::shared(self.pipeline.operation.name(), seen);
                }
                self.end_shared(if answer.is_failure() { Ending::Failed } else { Ending::Succeeded });
                Ok(Shared::Answer(answer))
            }
            Err(rejection) => {
                self.end_shared(Ending::Rejected);
                if self.is_late() {
                    self.ending = Ending::TimedOut;
                    // The other call may have had its effect.
                    return Err(self.late(RejectionKind::TotalTimeout));
                }
                Err(rejection)
            }
        }
    }

    /// It ends with the answer of another call: how long that took, and how it went, is not for the load shedder.
    pub(super) fn end_shared(&mut self, ending: Ending) {
        self.leave_shedder(End::Unknown);
        self.ending = ending;
        if self.is_timed() {
            self.now = self.pipeline.clock.now();
        }
    }

    /// Gives the answer of this call to those who wait for it, with what levels have answered in it.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, pipeline::{Call, Shared}};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("rate").coalesce("rates").build();
    /// let mut call = Call::begin(&pipeline);
    /// let Shared::Lead(lead) = call.share_blocking::<Option<f64>, _>("EUR").unwrap() else { panic!() };
    /// assert_eq!(registry.coalesce("rates").stats().in_flight, 1);
    /// call.publish(lead, &Some(1.1), None);
    /// assert_eq!(registry.coalesce("rates").stats().in_flight, 0);
    /// ```
    pub fn publish<V: Outcome + Any + Clone + Send + Sync>(
        &self,
        lead: Option<Lead<'p>>,
        answer: &V,
        seen: Option<Seen>,
    ) {
        let shares_errors = self.pipeline.coalesce.as_ref().is_some_and(|coalesce| coalesce.shares_errors());
        // That this call's own time is over says nothing to those who have some left.
        let is_for_all = !answer.is_failure() || shares_errors && !self.is_late();
        if let (Some(lead), true) = (lead, is_for_all) {
            lead.share_made(|| (answer.clone(), seen));
        }
    }
}

/// Makes the call, for whoever else waits for it.
///
/// ```
/// assert_eq!(resilient_runtime::pipeline::led(None, || Some(1.1)), (Some(1.1), None), "no level has answered in it");
/// ```
#[inline]
pub fn led<R>(lead: Option<&Lead<'_>>, work: impl FnOnce() -> R) -> (R, Option<Seen>) {
    let watch = ReasonCollector::begin();
    let outcome = match lead {
        Some(lead) => lead.lead(work),
        None => work(),
    };
    (outcome, watch.end())
}

/// Makes the call likewise.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::pipeline::led_async;
///
/// assert_eq!(led_async(None, async { Some(1.1) }).await, (Some(1.1), None));
/// # }
/// ```
#[inline]
pub fn led_async<'l, F: Future>(lead: Option<&'l Lead<'_>>, work: F) -> CollectReasons<Led<'l, F>> {
    CollectReasons::new(Led::of(lead, work))
}

impl Pipeline {
    /// Runs `work` through the stages, or waits for the answer of a call that has the same key, where the pipeline has
    /// a coalescer; blocks the thread.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("price").coalesce("prices").build();
    /// assert_eq!(pipeline.call_shared("EUR", || Some(1.1)), Some(1.1));
    /// assert_eq!(registry.coalesce("prices").stats().led, 1);
    /// ```
    pub fn call_shared<K, R>(&self, key: &K, mut work: impl FnMut() -> R) -> R
    where
        K: Hash + ?Sized,
        R: Reject<Error: 'static> + Any + Clone + Send + Sync,
    {
        let mut call = self.begin(Options::default());
        if let Err(rejection) = call.honoured_by(Method::CallShared) {
            return R::from_rejection(rejection);
        }
        let lead = match call.share_blocking::<R, K>(key) {
            Ok(Shared::Lead(lead)) => lead,
            Ok(Shared::Answer(answer)) => return answer,
            Err(rejection) => return R::from_rejection(rejection),
        };
        let run =
            || attempts(&mut call, &mut work, &Surfaced(Judgement::of)).unwrap_or_else(CallFailure::surface);
        let (outcome, seen) = led(lead.as_ref(), run);
        call.publish(lead, &outcome, seen);
        outcome
    }

    /// Runs `work` through the stages, or waits for the answer of a call that has the same key, where the pipeline has
    /// a coalescer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::Registry;
    ///
    /// let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
    /// let made = std::cell::Cell::new(0);
    /// let rate = async || {
    ///     made.set(made.get() + 1);
    ///     tokio::task::yield_now().await;
    ///     Some(1.1)
    /// };
    /// tokio::join!(pipeline.call_shared_async("EUR", rate), pipeline.call_shared_async("EUR", rate));
    /// assert_eq!((made.get(), pipeline.stats().succeeded), (1, 2));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async). If others wait for the answer, the next of them runs its own work.
    pub async fn call_shared_async<K, R, F>(&self, key: &K, mut work: impl FnMut() -> F) -> R
    where
        K: Hash + ?Sized,
        R: Reject<Error: 'static> + Any + Clone + Send + Sync,
        F: Future<Output = R>,
    {
        let mut call = self.begin(Options::default());
        if let Err(rejection) = call.honoured_by(Method::CallSharedAsync) {
            return R::from_rejection(rejection);
        }
        let lead = match call.share::<R, K>(key).await {
            Ok(Shared::Lead(lead)) => lead,
            Ok(Shared::Answer(answer)) => return answer,
            Err(rejection) => return R::from_rejection(rejection),
        };
        let by = Surfaced(Judgement::of);
        let run = attempts_async(&mut call, &mut work, &by);
        let (outcome, seen) = led_async(lead.as_ref(), run).await;
        let outcome = outcome.unwrap_or_else(CallFailure::surface);
        call.publish(lead, &outcome, seen);
        outcome
    }
}
