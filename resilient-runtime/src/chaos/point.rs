//! The point of a pipeline at which faults are injected.

use std::sync::Arc;

use super::armed::{Facts, Hit};
use super::shared::Shared;
use super::target::Aim;
use crate::membership::Membership;
use crate::observe::LogLimit;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// The injection point of a pipeline. It knows whether a fault in force can affect the pipeline, so that an attempt
/// tests one bit.
#[derive(Debug)]
pub(crate) struct InjectionPoint {
    shared: Arc<Shared>,
    pub(crate) membership: Membership,
    /// The number of the faults that it looked at last, shifted by one, and whether one can affect the pipeline. One
    /// word, so that both belong together.
    seen: AtomicU64,
    /// Limits the warning that a fault cannot fail the function.
    pub(crate) log_limit: LogLimit,
    /// Whether the function can fail with a rejection, and with the error of `chaos(error = ..)`. Written before an
    /// attempt of a function without a stage that can reject; others always can.
    rejectable: [AtomicBool; 2],
}

impl InjectionPoint {
    pub(crate) fn new(shared: &Arc<Shared>, membership: Membership) -> Self {
        Self {
            shared: Arc::clone(shared),
            membership,
            seen: AtomicU64::new(0),
            log_limit: LogLimit::new(),
            rejectable: [AtomicBool::new(true), AtomicBool::new(true)],
        }
    }

    /// The point of a pipeline that no fault affects.
    pub(crate) fn exempt(&self) -> Self {
        Self::new(&self.shared, Membership::Exempt)
    }

    /// Relaxed: a call may see a fault slightly late. An attempt that sees one too long finds that it is over.
    #[inline]
    pub(crate) fn is_targeted(&self) -> bool {
        self.seen.load(Ordering::Relaxed) & 1 != 0
    }

    /// Relaxed: it depends on the function only.
    #[cold]
    pub(crate) fn set_rejectable(&self, rejectable: [bool; 2]) {
        for (can, is) in self.rejectable.iter().zip(rejectable) {
            can.store(is, Ordering::Relaxed);
        }
    }

    pub(crate) fn rejectable(&self) -> [bool; 2] {
        self.rejectable.each_ref().map(|can| can.load(Ordering::Relaxed))
    }

    /// Looks at the faults in force, if they have changed. Called at the start of a call while there are any.
    #[cold]
    pub(crate) fn refresh(&self, pipeline: &dyn Aim) {
        if self.seen.load(Ordering::Relaxed) >> 1 != self.shared.epoch() {
            self.look(pipeline);
        }
    }

    fn look(&self, pipeline: &dyn Aim) {
        let (epoch, is_aimed_at) = self.shared.look(pipeline);
        let is_targeted = is_aimed_at && self.membership != Membership::Exempt;
        self.seen.store(epoch << 1 | u64::from(is_targeted), Ordering::Relaxed);
    }

    /// Passes the faults that hit the attempt to `add`, until it returns false.
    #[cold]
    pub(crate) fn draw(&self, facts: &Facts<'_>, add: impl FnMut(Hit) -> bool) {
        self.shared.draw(facts, add);
        self.refresh(facts.pipeline);
    }
}
