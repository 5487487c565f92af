//! Explanations of the pipelines of a registry.

use super::Registry;
use crate::name;
use crate::pipeline::{Explanation, Pipeline};
use crate::site::{self, Site};

impl Registry {
    /// Returns the explanations of all pipelines of this registry.
    pub(super) fn explanations(&self) -> Vec<Explanation> {
        let sites = site::all().into_iter().filter(|site| self.is_global() && !site.meta().own_registry);
        let sites = sites.filter_map(Site::resolved).map(Pipeline::explain);
        let own: Vec<_> = self.0.pipelines.lock().values().cloned().collect();
        let own = own.into_iter().map(|pipeline| pipeline.explain());
        sites.chain(own).chain(self.0.explanations.lock().values().cloned()).collect()
    }

    /// Explains the stages of an operation.
    ///
    /// Lists them from outer to inner, with all effective settings and their origins. Returns `None` if there is no
    /// such operation.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.pipeline("checkout").retry("shop").circuit_breaker("shop").build();
    /// let checkout = registry.explain("checkout").unwrap();
    /// let stages: Vec<_> = checkout.stages.iter().map(|stage| stage.kind).collect();
    /// assert_eq!(stages, [Kind::Retry, Kind::CircuitBreaker]);
    /// assert!(checkout.to_string().contains("open_for = 5s  (default)"));
    /// ```
    pub fn explain(&self, operation: &str) -> Option<Explanation> {
        let normal = name::normal(operation);
        if self.is_global() {
            let named =
                |site: &&'static Site| !site.meta().own_registry && site.operation_name() == operation;
            if let Some(site) = site::all().into_iter().find(named) {
                return Some(site.pipeline().explain());
            }
        }
        let pipelines = self.0.pipelines.lock().values().find(|found| found.name() == &*normal).cloned();
        let explained = pipelines.map(|pipeline| pipeline.explain());
        explained.or_else(|| {
            let stored = self.0.explanations.lock().get(&*normal).cloned();
            stored.map(|explanation| self.refreshed(explanation))
        })
    }

    /// Updates the settings, which can have changed since the pipeline was built.
    fn refreshed(&self, mut explanation: Explanation) -> Explanation {
        for stage in &mut explanation.stages {
            if let Some(component) = self.0.shelves.of(stage.kind).get(&stage.component) {
                (stage.settings, stage.notes) = (component.effective(), component.notes());
            }
        }
        explanation
    }
}
