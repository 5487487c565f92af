//! The bulkhead stage: each attempt holds a permit. A call holds none while it waits before a retry.

use crate::classify::Judgement;
use crate::clock::Instant;
use crate::pipeline::Call;
use crate::pipeline::admission::Wait;
use crate::rejection::Rejection;

/// The permit of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) enum Slot {
    /// It has none, or something else holds it, such as the thread that runs the body.
    #[default]
    None,
    /// It is released when the attempt settles.
    Held,
}

impl Slot {
    #[inline]
    pub(in crate::pipeline) fn is_held(self) -> bool {
        self == Self::Held
    }
}

impl<'p> Call<'p> {
    /// Takes a permit if one is free. Otherwise counts nothing.
    #[inline]
    pub(in crate::pipeline) fn take_slot_plainly(&mut self) -> bool {
        let Some(bulkhead) = &self.pipeline.stages.bulkhead else { return true };
        if !bulkhead.try_enter(self.priority) {
            return false;
        }
        self.slot = Slot::Held;
        self.was_not_queued();
        true
    }

    /// Joins the bulkhead queue, or gets a permit at once.
    pub(in crate::pipeline) fn bulkhead_queue(&self, until: Instant) -> Option<Wait<'p>> {
        let bulkhead = self.pipeline.stages.bulkhead.as_ref()?;
        Some(Wait::Queue(bulkhead.queue(self.priority, until)))
    }

    /// Continues after the bulkhead queue.
    pub(in crate::pipeline) fn left_queue(
        &mut self,
        admitted: Result<(), Rejection>,
        has_waited: bool,
    ) -> Result<(), Rejection> {
        self.was_queued(has_waited, admitted.is_ok(), self.clock.now.or_never());
        #[cfg(feature = "chaos")]
        self.note_injected_refusal(admitted.as_ref().err());
        self.back_from_queue(admitted, has_waited)?;
        self.slot = Slot::Held;
        Ok(())
    }

    /// Releases the permit. An adaptive bulkhead first records the attempt.
    #[inline]
    pub(in crate::pipeline) fn give_back_slot(&mut self, judgement: Option<Judgement>) {
        if !self.slot.is_held() {
            return;
        }
        self.slot = Slot::None;
        if let Some(bulkhead) = &self.pipeline.stages.bulkhead {
            // If the call began before the bulkhead became adaptive, its start time can be unknown.
            if let (Some(judgement), Some(started)) = (judgement, self.clock.attempt.get()) {
                bulkhead.learn(judgement.verdict(), started, || self.time());
            }
            bulkhead.release();
        }
    }
}
