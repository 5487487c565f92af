//! The switch that turns all protection of a registry off.

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
    /// Relaxed: a call sees it a little sooner or later, and keeps to what it saw until it ends.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether it was on before.
    pub(crate) fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed)
    }
}

/// A pipeline's way past its stages, made when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Bypass(OnceLock<Box<Pipeline>>);

impl Pipeline {
    /// The same operation without a stage that refuses, waits or repeats. The fallback stays: without it the function
    /// may have nothing to return.
    ///
    /// A call keeps to the pipeline with which it began, so what it holds goes back to where it is from, whenever the
    /// switch is turned (T124).
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
                    // Not for the dependency but for the user: without it a call would be carried out twice.
                    idempotency: self.stages.idempotency.clone(),
                    ..StageComponents::default()
                },
            });
            pipeline.needs = pipeline.demands_of_stages();
            pipeline
        })
    }
}
