//! The bulkhead: a permit for each attempt, free while a retry waits.

use crate::classify::Judgement;
use crate::clock::Instant;
use crate::pipeline::Call;
use crate::pipeline::admission::Wait;
use crate::rejection::Rejection;

/// The permit of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) enum Slot {
    /// It has none, or another one holds it, such as the thread that the body runs on.
    #[default]
    None,
    /// It goes back when the attempt settles.
    Held,
}

impl Slot {
    #[inline]
    pub(in crate::pipeline) fn is_held(self) -> bool {
        self == Self::Held
    }
}

impl<'p> Call<'p> {
    /// Takes a permit if one is free; counts nothing if not.
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

    /// A place in its queue, or a permit at once.
    pub(in crate::pipeline) fn bulkhead_queue(&self, until: Instant) -> Option<Wait<'p>> {
        let bulkhead = self.pipeline.stages.bulkhead.as_ref()?;
        Some(Wait::Queue(bulkhead.queue(self.priority, until)))
    }

    /// Back from its queue.
    pub(in crate::pipeline) fn left_queue(
        &mut self,
        admitted: Result<(), Rejection>,
        has_waited: bool,
    ) -> Result<(), Rejection> {
        self.was_queued(has_waited, admitted.is_ok(), self.clock.now.or_never());
        self.back_from_queue(admitted, has_waited)?;
        self.slot = Slot::Held;
        Ok(())
    }

    /// Gives the permit back; an adaptive bulkhead learns from the attempt first.
    #[inline]
    pub(in crate::pipeline) fn give_back_slot(&mut self, judgement: Option<Judgement>) {
        if !self.slot.is_held() {
            return;
        }
        self.slot = Slot::None;
        if let Some(bulkhead) = &self.pipeline.stages.bulkhead {
            // A call that began before the bulkhead was adaptive may not know when.
            if let (Some(judgement), Some(started)) = (judgement, self.clock.attempt.get()) {
                bulkhead.learn(judgement.verdict(), started, || self.time());
            }
            bulkhead.release();
        }
    }
}
