//! A call whose outcome was returned, while it is not polled: its state without the borrow of the pipeline.

use super::admission::Admission;
use super::attempt_clock::{AttemptClock, Timing};
use super::body::Activity;
use super::stages::bulkhead::Slot;
use super::stages::hedge::Role;
use super::stages::load_shed::Load;
use super::stages::observe::Rare;
use super::stages::retry::Repeats;
use super::{Call, Pipeline};
use crate::idempotency::Effect;
use crate::observe::Ending;
use crate::priority::Priority;
use crate::rate_limit::RateKey;
use crate::retry::Progress;

/// The state of a call without the borrow of the pipeline.
#[derive(Debug)]
pub(super) struct Parked {
    /// Whether the call bypasses the stages of its pipeline.
    is_bypassing: bool,
    clock: AttemptClock,
    progress: Progress,
    rare: Option<Box<Rare>>,
    pub(super) held: Admission,
    slot: Slot,
    load: Load,
    rate_key: RateKey,
    weight: u32,
    timing: Timing,
    repeats: Repeats,
    priority: Priority,
    effect: Effect,
}

impl Parked {
    /// Takes the state out of a call that has an outcome. The empty call that remains records nothing when it is
    /// dropped.
    pub(super) fn take(mut call: Call<'_>, pipeline: &Pipeline) -> Self {
        if call.clock.is_timed() || call.held.ticket.is_some() {
            call.clock.read(&call.pipeline.clock);
        }
        let parked = Self {
            is_bypassing: !std::ptr::eq(call.pipeline, pipeline),
            clock: call.clock,
            progress: call.progress,
            rare: call.rare.take(),
            held: std::mem::take(&mut call.held),
            slot: std::mem::take(&mut call.slot),
            load: std::mem::take(&mut call.load),
            rate_key: call.rate_key,
            weight: call.weight,
            timing: call.timing,
            repeats: call.repeats,
            priority: call.priority,
            effect: call.effect,
        };
        call.ending = Ending::Succeeded;
        call.role = Role::Empty;
        parked
    }

    /// Restores the call.
    pub(super) fn resume(self, pipeline: &Pipeline) -> Call<'_> {
        Call {
            pipeline: if self.is_bypassing { pipeline.bypass() } else { pipeline },
            clock: self.clock,
            progress: self.progress,
            rare: self.rare,
            held: self.held,
            slot: self.slot,
            load: self.load,
            rate_key: self.rate_key,
            weight: self.weight,
            timing: self.timing,
            // A panic of the reader is not a panic of the call.
            activity: Activity::Suspended,
            role: Role::HandedOut,
            repeats: self.repeats,
            asynchronous: true,
            limited_by: None,
            priority: self.priority,
            ending: Ending::Cancelled,
            ending_without_fallback: Ending::Failed,
            effect: self.effect,
        }
    }

    /// Restores the call with the duration it had at its outcome.
    pub(super) fn resume_at_outcome(self, pipeline: &Pipeline) -> Call<'_> {
        let mut call = self.resume(pipeline);
        if let Some(ended) = call.clock.now.get() {
            call.clock.skip(pipeline.clock.now().since(ended));
        }
        call
    }
}
