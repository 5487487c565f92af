//! The stages of annotated functions, made of a registry's components.

use std::sync::Arc;

use super::{By, Registry, registry};
use crate::component::Kind;
use crate::pipeline::{Bypass, Demands, Pipeline, Predicates};
use crate::site::Site;
use crate::sync::AtomicBool;

impl Site {
    /// The stages of a function that names no registry: one load, after the first call.
    #[inline]
    pub fn pipeline(&'static self) -> &'static Pipeline {
        self.pipeline_or(|| registry().build_site(self))
    }

    /// The stages of a function that says `registry = ..`: one look-up for each call.
    pub fn pipeline_in(&'static self, registry: &Registry) -> Arc<Pipeline> {
        registry.site_pipeline(self)
    }
}

impl Registry {
    /// The pipeline of a site that names this registry.
    fn site_pipeline(&self, site: &'static Site) -> Arc<Pipeline> {
        let key = std::ptr::from_ref(site).addr();
        if let Some(found) = self.0.pipelines.lock().get(&key) {
            return Arc::clone(found);
        }
        // Not under the lock: making components may report. The first of two that race is kept.
        let made = Arc::new(self.build_site(site));
        Arc::clone(self.0.pipelines.lock().entry(key).or_insert(made))
    }

    fn build_site(&self, site: &'static Site) -> Pipeline {
        let name = site.operation_name();
        let stage = |kind| site.meta().stages.iter().find(|stage| stage.kind == kind);
        let by = |kind| {
            stage(kind).map(|stage| (stage.name.unwrap_or(&name), By { settings: stage.settings, site }))
        };
        Pipeline {
            is_by_hand: false,
            needs: Demands::default(),
            is_misuse_told: AtomicBool::new(false),
            operation: self.operation(&name),
            texts: self.0.environment.texts().clone(),
            clock: self.clock().clone(),
            switch: self.0.switch.clone(),
            bypass: Bypass::default(),
            retry: by(Kind::Retry).map(|(name, by)| self.retry_with(name, Some(by))),
            circuit_breaker: by(Kind::CircuitBreaker)
                .map(|(name, by)| self.component(&self.0.circuit_breakers, name, Some(by))),
            rate_limit: by(Kind::RateLimit)
                .map(|(name, by)| self.component(&self.0.rate_limiters, name, Some(by))),
            bulkhead: by(Kind::Bulkhead).map(|(name, by)| self.component(&self.0.bulkheads, name, Some(by))),
            timeout: by(Kind::Timeout).map(|(name, by)| self.component(&self.0.timeouts, name, Some(by))),
            fallback: by(Kind::Fallback).map(|(name, by)| self.component(&self.0.fallbacks, name, Some(by))),
            coalesce: by(Kind::Coalesce).map(|(name, by)| self.component(&self.0.coalescers, name, Some(by))),
            load_shed: by(Kind::LoadShed)
                .map(|(name, by)| self.component(&self.0.load_shedders, name, Some(by))),
            hedge: by(Kind::Hedge).map(|(name, by)| self.component(&self.0.hedges, name, Some(by))),
            idempotency: by(Kind::Idempotency).map(|(name, by)| self.idempotency_with(name, Some(by))),
            levels: site.meta().levels,
            keeps: site.meta().keeps,
            asynchronous: site.meta().asynchronous,
            idempotent: site.meta().idempotent,
            predicates: Predicates {
                by_attribute: true,
                retry_when: site.meta().retry_when,
                breaker_when: site.meta().breaker_when,
            },
        }
    }
}
