//! Builds the pipelines of annotated functions from a registry's components.

use std::sync::Arc;

use super::making::By;
use super::{Registry, registry};
use crate::component::Kind;
use crate::kind::table::components;
use crate::pipeline::{Pipeline, Predicates, StageComponents};
use crate::site::Site;

impl Site {
    /// Returns the pipeline of a function that names no registry. Costs one load after the first call.
    #[inline]
    pub fn pipeline(&'static self) -> &'static Pipeline {
        self.pipeline_or(|| registry().build_site(self))
    }

    /// Returns the pipeline of a function with `registry = ..`. Costs one lookup per call.
    pub fn pipeline_in(&'static self, registry: &Registry) -> Arc<Pipeline> {
        registry.site_pipeline(self)
    }
}

impl Registry {
    /// Returns the pipeline of a site that names this registry.
    fn site_pipeline(&self, site: &'static Site) -> Arc<Pipeline> {
        let key = std::ptr::from_ref(site).addr();
        if let Some(found) = self.0.pipelines.lock().get(&key) {
            return Arc::clone(found);
        }
        // Build outside of the lock, because creating components can publish events. The first of two concurrent
        // results is used.
        let made = Arc::new(self.build_site(site));
        Arc::clone(self.0.pipelines.lock().entry(key).or_insert(made))
    }

    fn build_site(&self, site: &'static Site) -> Pipeline {
        let (name, meta) = (site.operation_name(), site.meta());
        Pipeline {
            #[cfg(feature = "chaos")]
            chaos: self.injection_point(site.membership()),
            levels: meta.levels,
            keeps: meta.keeps,
            asynchronous: meta.asynchronous,
            idempotent: meta.idempotent,
            predicates: Predicates {
                by_attribute: true,
                retry_when: meta.retry_when,
                breaker_when: meta.breaker_when,
            },
            ..self.site_components(site, &name).around(self, &name, self.clock().clone())
        }
    }
}

macro_rules! site_components {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        impl Registry {
            /// Returns the components of the stages that the function uses.
            fn site_components(&self, site: &'static Site, operation: &str) -> StageComponents {
                let stage = |kind| site.meta().stages.iter().find(|stage| stage.kind == kind);
                StageComponents {
                    $($name: stage(Kind::$kind).map(|stage| {
                        let by = By { settings: stage.settings, site };
                        self.component(stage.name.unwrap_or(operation), Some(by))
                    }),)*
                }
            }
        }
    };
}

components!(stages site_components);
