//! Calls whose permits outlive the call: a server holds them until it has sent the response body.

use std::future::Future;
use std::sync::Arc;

use super::attempt_clock::Reading;
use super::call::Next;
use super::calls::begin;
use super::driver::Judges;
use super::honour::{Demands, Entry};
use super::judges::{Asked, Judge};
use super::stages::bulkhead::Slot;
use super::stages::load_shed::Load;
use super::{Call, Pipeline, Request};
use crate::bulkhead::Bulkhead;
use crate::classify::Verdict;
use crate::clock::Instant;
use crate::load_shed::{Admitted, End, LoadShedder};
use crate::observe::Ending;
use crate::outcome::Reject;

/// The bulkhead permit and the load shedder slot of a finished call, released on drop.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Component, Registry};
///
/// let registry = Registry::new();
/// let pipeline = registry.pipeline("page").load_shed("site").build();
/// let (_head, permits) = pipeline.request().call_held_async(async { Some(200) }).await;
/// assert_eq!(registry.load_shedder("site").stats().in_flight, 1);
/// drop(permits);
/// assert_eq!(registry.load_shedder("site").stats().in_flight, 0);
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "the permits are released when this is dropped"]
pub struct HeldPermits {
    bulkhead: Option<Arc<Bulkhead>>,
    load_shed: Option<(Arc<LoadShedder>, Admitted, End, Instant)>,
}

impl Drop for HeldPermits {
    fn drop(&mut self) {
        if let Some(bulkhead) = self.bulkhead.take() {
            bulkhead.release();
        }
        if let Some((shedder, call, end, ended)) = self.load_shed.take() {
            // Uses the time at which the call ended: how long the client reads the response must not count.
            shedder.leave(call, end, ended);
        }
    }
}

impl Call<'_> {
    /// Takes the permits out of a call whose attempt ended with `verdict`. Call it before [`finish`](Self::finish).
    fn hand_over_permits(&mut self, verdict: Verdict) -> HeldPermits {
        let mut permits = HeldPermits::default();
        let now = self.pipeline.clock.now();
        let before = std::mem::replace(&mut self.clock.now, Reading::of(now));
        let evidence = self.evidence(verdict);
        self.clock.now = before;
        if let (Slot::Held, Some(bulkhead)) = (self.slot, &self.pipeline.stages.bulkhead) {
            self.slot = Slot::None;
            if let (Some(verdict), Some(started)) = (evidence, self.clock.attempt.get()) {
                bulkhead.learn(verdict, started, || now);
            }
            permits.bulkhead = Some(Arc::clone(bulkhead));
        }
        if let (Load::InFlight, Some(shedder)) = (self.load, &self.pipeline.stages.load_shed) {
            self.load = Load::None;
            let end = evidence.map_or(End::Unknown, End::Judged);
            permits.load_shed = Some((Arc::clone(shedder), self.as_admitted(), end, now));
        }
        permits
    }
}

impl<R: Reject, J: Judge<R>> Request<'_, R, J> {
    /// Runs `work` in a single attempt and returns the permits of the call with the outcome.
    ///
    /// The permits are held until [`HeldPermits`] is dropped: a server drops it after it has sent the response body. A
    /// pipeline with a retry, a hedge, coalescing, idempotency or a fallback rejects this call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("download").bulkhead("disk").build();
    /// let (head, permits) = pipeline.request().call_held_async(async { Some("200 OK") }).await;
    /// assert_eq!((head, registry.bulkhead("disk").stats().in_use), (Some("200 OK"), 1));
    /// drop(permits); // the response body was sent
    /// assert_eq!(registry.bulkhead("disk").stats().in_use, 0);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`call_async`](Self::call_async).
    pub async fn call_held_async(self, work: impl Future<Output = R>) -> (R, HeldPermits) {
        let mut call = begin(self.pipeline, self.options);
        let admitted = match call.honoured_by(Entry::Held, Demands::NONE) {
            Ok(()) if call.enter() => Ok(()),
            Ok(()) => call.admitted().await,
            Err(rejection) => Err(rejection),
        };
        let ended = match admitted {
            Ok(()) => call.attempt(work).await,
            Err(rejection) if call.was_stopped_by_fault() => Err(rejection),
            Err(rejection) => return (R::from_rejection(rejection), HeldPermits::default()),
        };
        let by = Asked { judge: &self.judge, answer: &self.answer };
        match ended {
            Ok(outcome) => {
                let judgement = by.judge(&outcome);
                let permits = call.hand_over_permits(judgement.verdict());
                if call.finish_with(judgement, |words| by.describe(&outcome, words)) == Next::Retry {
                    call.ending = Ending::Failed;
                }
                (outcome, permits)
            }
            Err(rejection) => {
                if call.timed_out(&rejection, by.hear(&rejection)) == Next::Retry {
                    call.ending = Ending::of(&rejection);
                }
                (R::from_rejection(rejection), HeldPermits::default())
            }
        }
    }
}

impl Pipeline {
    /// Whether a call can run more than one attempt, through a retry or a hedge.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// assert!(registry.pipeline("read").retry("db").build().repeats());
    /// assert!(!registry.pipeline("write").timeout("db").build().repeats());
    /// ```
    pub fn repeats(&self) -> bool {
        self.stages.retry.is_some() || self.stages.hedge.is_some()
    }
}
