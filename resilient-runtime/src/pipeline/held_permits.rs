//! A call that keeps its places beyond its end: a server does as long as it sends the body of its answer.

use std::future::Future;
use std::sync::Arc;

use super::drive::CallFailure;
use super::methods::Method;
use super::{Call, Next, Options, Pipeline};
use crate::bulkhead::Bulkhead;
use crate::clock::Instant;
use crate::load_shed::{Admitted, End, LoadShedder};
use crate::observe::Ending;
use crate::outcome::{Judgement, Reject, Verdict};

/// A permit of the bulkhead and a place at the load shedder that a call has left behind; given back when it is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Component, Priority, Registry, Verdict};
///
/// let registry = Registry::new();
/// let pipeline = registry.pipeline("page").load_shed("site").build();
/// let (_head, places) = pipeline.call_held_async(Priority::High, async { Some(200) }, Verdict::of).await;
/// assert_eq!(registry.load_shedder("site").stats().in_flight, 1);
/// drop(places);
/// assert_eq!(registry.load_shedder("site").stats().in_flight, 0);
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "the places are given back when this is dropped"]
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
            // By when the call ended: how long its answer is read is the reader's affair.
            shedder.leave(call, end, ended);
        }
    }
}

impl Call<'_> {
    /// Takes its places out of the call, whose attempt has ended in this way. Before [`finish`](Self::finish).
    fn places(&mut self, verdict: Verdict) -> HeldPermits {
        let mut places = HeldPermits::default();
        let now = self.pipeline.clock.now();
        let before = std::mem::replace(&mut self.now, now);
        let evidence = self.evidence(verdict);
        self.now = before;
        if let (true, Some(bulkhead)) = (self.holds_slot, &self.pipeline.bulkhead) {
            self.holds_slot = false;
            if let (Some(verdict), true) = (evidence, self.attempt_started != Instant::NEVER) {
                bulkhead.learn(verdict, self.attempt_started, || now);
            }
            places.bulkhead = Some(Arc::clone(bulkhead));
        }
        if let (true, Some(shedder)) = (self.holds_load, &self.pipeline.load_shed) {
            self.holds_load = false;
            let call = Admitted { priority: self.priority, since: self.started };
            places.load_shed =
                Some((Arc::clone(shedder), call, evidence.map_or(End::Unknown, End::Judged), now));
        }
        places
    }
}

impl Pipeline {
    /// As [`call_judged_async`](Self::call_judged_async), in a single attempt; the call's places come with its outcome, and are
    /// held as long as they live. It is for pipelines that neither repeat nor need a key or levels: one with a retry, a hedge,
    /// coalescing, idempotency or a fallback is refused.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Priority, Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("download").bulkhead("disk").build();
    /// let (head, places) = pipeline.call_held_async(Priority::Normal, async { Some("200 OK") }, Verdict::of).await;
    /// assert_eq!((head, registry.bulkhead("disk").stats().in_use), (Some("200 OK"), 1));
    /// drop(places); // the body was sent
    /// assert_eq!(registry.bulkhead("disk").stats().in_use, 0);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async).
    pub async fn call_held_async<R: Reject<Error: 'static>, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        options: impl Into<Options>,
        work: F,
        judge: impl Fn(&R) -> J,
    ) -> (R, HeldPermits) {
        let mut call = self.begin(options.into());
        if let Err(rejection) = call.honoured_by(Method::CallHeldAsync) {
            return (R::from_rejection(rejection), HeldPermits::default());
        }
        let entered = if call.enter() { Ok(()) } else { call.enter_later().await };
        if let Err(rejection) = entered {
            return (R::from_rejection(rejection), HeldPermits::default());
        }
        match call.attempt(work).await {
            Ok(outcome) => {
                let judgement: Judgement = judge(&outcome).into();
                let places = call.places(judgement.verdict());
                if call.finish_with(judgement, |words| words.outcome(&outcome)) == Next::Retry {
                    call.ending = Ending::Failed;
                }
                (outcome, places)
            }
            Err(rejection) => {
                let heard = judge(&R::from_rejection(rejection.clone())).into();
                if call.timed_out_as(&rejection, heard) == Next::Retry {
                    call.ending = Ending::of(&rejection);
                }
                (CallFailure::Rejected(rejection).surface(), HeldPermits::default())
            }
        }
    }

    /// Whether an attempt may be repeated, or made twice at the same time.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// assert!(registry.pipeline("read").retry("db").build().repeats());
    /// assert!(!registry.pipeline("write").timeout("db").build().repeats());
    /// ```
    pub fn repeats(&self) -> bool {
        self.retry.is_some() || self.hedge.is_some()
    }
}
