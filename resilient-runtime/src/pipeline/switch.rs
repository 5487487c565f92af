//! The path of a call while all protection of its registry is off.

use std::sync::{Arc, OnceLock};

use super::stages::StageComponents;
use super::{Demands, Pipeline};
use crate::sync::AtomicBool;

/// The pipeline that bypasses the stages, created on first use.
#[derive(Debug, Default)]
pub(crate) struct Bypass(OnceLock<Box<Pipeline>>);

impl Pipeline {
    /// The pipeline that a call uses from start to end, and whether protection is on.
    #[inline]
    pub(super) fn in_use(&self) -> (&Self, bool) {
        #[cfg(not(feature = "chaos"))]
        {
            let is_on = self.switch.is_on();
            (if is_on { self } else { self.bypass() }, is_on)
        }
        #[cfg(feature = "chaos")]
        if self.switch.is_usual() { (self, true) } else { self.in_unusual_use() }
    }

    /// The same operation without the stages that reject, wait or retry. The fallback stays: without it the function
    /// might have nothing to return.
    ///
    /// A call uses the same pipeline from start to end, so it releases what it holds to the right components even if the
    /// switch changes in between (T124).
    #[cold]
    pub(super) fn bypass(&self) -> &Pipeline {
        self.bypass.0.get_or_init(|| {
            let mut pipeline = Box::new(Self {
                is_by_hand: self.is_by_hand,
                needs: Demands::default(),
                is_misuse_told: AtomicBool::new(false),
                operation: Arc::clone(&self.operation),
                clock: self.clock.clone(),
                texts: self.texts.clone(),
                switch: self.switch.clone(),
                bypass: Bypass::default(),
                #[cfg(feature = "chaos")]
                chaos: self.chaos.exempt(),
                levels: self.levels,
                keeps: self.keeps,
                asynchronous: self.asynchronous,
                idempotent: self.idempotent,
                predicates: self.predicates,
                stages: StageComponents {
                    fallback: self.stages.fallback.clone(),
                    // Idempotency protects the user, not the dependency: without it a call could be executed twice.
                    idempotency: self.stages.idempotency.clone(),
                    ..StageComponents::default()
                },
            });
            pipeline.needs = pipeline.demands_of_stages();
            pipeline
        })
    }
}
