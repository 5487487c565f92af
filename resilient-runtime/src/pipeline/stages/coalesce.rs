//! Coalescing: a call may get the answer of another one with the same key, instead of being made.

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

/// Whether a call is to be made.
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

    /// Joins those who ask the same, where the pipeline has a coalescer.
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
                // Who has waited for another's answer before may be late.
                self.clock.read_if_timed(&self.pipeline.clock);
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
                if self.clock.is_late() {
                    self.ending = Ending::TimedOut;
                    // The other call may have had its effect.
                    return Err(self.late(RejectionKind::TotalTimeout));
                }
                Err(rejection)
            }
        }
    }

    /// It ends with the answer of another call: how long that took, and how it went, is not for the load shedder.
    pub(in crate::pipeline) fn end_shared(&mut self, ending: Ending) {
        self.leave_shedder(End::Unknown);
        self.ending = ending;
        self.clock.read_if_timed(&self.pipeline.clock);
    }

    /// Gives the answer of this call to those who wait for it, with what levels have answered in it.
    pub fn publish<V: Outcome + Any + Clone + Send + Sync>(
        &self,
        lead: Option<Lead<'p>>,
        answer: &V,
        seen: Option<Seen>,
    ) {
        let shares_errors =
            self.pipeline.stages.coalesce.as_ref().is_some_and(|coalesce| coalesce.shares_errors());
        // That this call's own time is over says nothing to those who have some left.
        let is_for_all = !answer.is_failure() || shares_errors && !self.clock.is_late();
        if let (Some(lead), true) = (lead, is_for_all) {
            lead.share_made(|| (answer.clone(), seen));
        }
    }
}

/// Makes the call, for whoever else waits for it.
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
#[inline]
pub fn led_async<'l, F: Future>(lead: Option<&'l Lead<'_>>, work: F) -> CollectReasons<Led<'l, F>> {
    CollectReasons::new(Led::of(lead, work))
}
