//! The coalescing stage: a call can return the result of a concurrent call with the same key.

use std::any::Any;
use std::future::Future;
use std::hash::Hash;

use crate::coalesce::{Join, Joined, Lead, Led};
use crate::fallback::{self, CollectReasons, ReasonCollector, Seen};
use crate::load_shed::End;
use crate::observe::Ending;
use crate::outcome::Outcome;
use crate::pipeline::Call;
use crate::rejection::{Rejection, RejectionKind};

/// Whether a call must run its work.
#[derive(Debug)]
pub enum Shared<'p, V> {
    /// It runs its work and can share the result. `None` if it cannot be shared.
    Lead(Option<Lead<'p>>),
    /// It returns the result of another call.
    Answer(V),
}

impl<'p> Call<'p> {
    /// Joins a call with the same key and waits for its result.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the group of waiting calls.
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

    /// Like `share`, but blocks the thread.
    pub fn share_blocking<V, K>(&mut self, key: &K) -> Result<Shared<'p, V>, Rejection>
    where
        V: Outcome + Any + Clone,
        K: Hash + ?Sized,
    {
        let Some(join) = self.join::<V, K>(key) else {
            return Ok(Shared::Lead(None));
        };
        let joined = self.block_on_join(join);
        self.joined(joined)
    }

    pub(in crate::pipeline) fn block_on_join(&self, join: Join<'p>) -> Result<Joined<'p>, Rejection> {
        let joined = join.block();
        if !matches!(joined, Ok(Joined::Lead(_))) {
            self.warn_of_blocking();
        }
        joined
    }

    /// Joins the calls with the same key, if the pipeline has a coalescer.
    pub(in crate::pipeline) fn join_hash(&self, hash: u128) -> Option<Join<'p>> {
        Some(self.pipeline.stages.coalesce.as_deref()?.join_hash(hash, self.clock.deadline))
    }

    fn join<V: Any, K: Hash + ?Sized>(&self, key: &K) -> Option<Join<'p>> {
        let coalesce = self.pipeline.stages.coalesce.as_deref()?;
        self.join_hash(coalesce.hash::<(V, Option<Seen>), K>(key))
    }

    pub(in crate::pipeline) fn joined<V: Outcome + Any + Clone>(
        &mut self,
        joined: Result<Joined<'p>, Rejection>,
    ) -> Result<Shared<'p, V>, Rejection> {
        match joined {
            Ok(Joined::Lead(lead)) => {
                // A call that waited for another one first can be late.
                self.clock.read_if_timed(&self.pipeline.clock);
                self.begins_in_time()?;
                Ok(Shared::Lead(Some(lead)))
            }
            Ok(Joined::Shared(answer)) => {
                // The type is part of the key, so this lookup does not fail.
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
                if self.clock.is_late() {
                    self.ending = Ending::TimedOut;
                    // The other call may have had an effect.
                    return Err(self.late(RejectionKind::TotalTimeout));
                }
                Err(rejection)
            }
        }
    }

    /// Ends with the result of another call, whose duration and result the load shedder must not count here.
    pub(in crate::pipeline) fn end_shared(&mut self, ending: Ending) {
        self.leave_shedder(End::Unknown);
        self.ending = ending;
        self.clock.read_if_timed(&self.pipeline.clock);
    }

    /// Shares the result of this call with the waiting calls, together with the fallback levels that served it.
    pub fn publish<V: Outcome + Any + Clone + Send + Sync>(
        &self,
        lead: Option<Lead<'p>>,
        answer: &V,
        seen: Option<Seen>,
    ) {
        let shares_errors =
            self.pipeline.stages.coalesce.as_ref().is_some_and(|coalesce| coalesce.shares_errors());
        // If only this call's deadline passed, the others can still have time.
        let is_for_all = !answer.is_failure() || shares_errors && !self.clock.is_late();
        // A fault affects this call only: the others make their own.
        #[cfg(feature = "chaos")]
        let is_for_all = is_for_all && !(answer.is_failure() && self.is_injected());
        if let (Some(lead), true) = (lead, is_for_all) {
            lead.share_made(|| (answer.clone(), seen));
        }
    }
}

/// Runs the work for this call and the calls that wait for it.
#[inline]
pub fn led<R>(lead: Option<&Lead<'_>>, work: impl FnOnce() -> R) -> (R, Option<Seen>) {
    let watch = ReasonCollector::begin();
    let outcome = match lead {
        Some(lead) => lead.lead(work),
        None => work(),
    };
    (outcome, watch.end())
}

/// Like `led`, for asynchronous work.
#[inline]
pub fn led_async<'l, F: Future>(lead: Option<&'l Lead<'_>>, work: F) -> CollectReasons<Led<'l, F>> {
    CollectReasons::new(Led::of(lead, work))
}
