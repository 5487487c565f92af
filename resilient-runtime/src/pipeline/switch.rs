//! The switch that turns off all protection of a registry.

use std::sync::{Arc, OnceLock};

use super::stages::StageComponents;
use super::{Demands, Pipeline};
use crate::sync::{AtomicBool, Ordering};

/// Shared by a registry and its pipelines.
#[derive(Clone, Debug)]
pub(crate) struct Switch(Arc<AtomicBool>);

impl Default for Switch {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Switch {
    /// Relaxed: a call may see a change slightly late. It uses the value it saw until it ends.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it and returns the previous value.
    pub(crate) fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed)
    }
}

/// The pipeline that bypasses the stages, created on first use.
#[derive(Debug, Default)]
pub(crate) struct Bypass(OnceLock<Box<Pipeline>>);

impl Pipeline {
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
