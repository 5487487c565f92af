//! Fault injection of a registry.

use std::sync::Arc;

use super::{Inner, Registry};
use crate::chaos::{Affected, Chaos, InjectionPoint, Known};
use crate::kind::Kind;
use crate::membership::Membership;
use crate::site;

impl Registry {
    /// Returns the handle that injects faults into the operations of this registry.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, Rejection, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let charge = registry.pipeline("charge").build();
    /// let _fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("charge").times(1)).unwrap();
    /// assert!(charge.call(|| Ok::<_, Rejection>(995)).is_err());
    /// assert!(charge.call(|| Ok::<_, Rejection>(995)).is_ok());
    /// ```
    pub fn chaos(&self) -> Chaos {
        Chaos { shared: Arc::clone(&self.0.chaos), known: Arc::clone(&self.0) as _ }
    }

    pub(super) fn injection_point(&self, membership: Membership) -> InjectionPoint {
        InjectionPoint::new(&self.0.chaos, membership)
    }
}

impl Known for Inner {
    fn clock(&self) -> Option<Arc<dyn Affected>> {
        self.environment.clock.as_skewable().map(|clock| clock as _)
    }

    fn components(&self, kind: Kind) -> Vec<String> {
        self.shelves.of(kind).all().into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    fn affected(&self, kind: Kind, name: &str) -> Option<Arc<dyn Affected>> {
        let shelves = &self.shelves;
        match kind {
            Kind::Bulkhead => shelves.bulkhead.get(name).map(|component| component as _),
            Kind::Idempotency => shelves.idempotency.get(name).map(|component| component as _),
            Kind::Health => shelves.health.get(name).map(|component| component as _),
            Kind::Store => shelves.store.get(name).map(|store| store.affected() as _),
            _ => None,
        }
    }

    fn operations(&self) -> Vec<String> {
        let called = self.operations.all().into_iter().map(|(name, _)| name.to_owned());
        let sites = site::all().into_iter();
        let annotated = sites.filter(|site| !site.meta().own_registry).map(site::Site::operation_name);
        let mut names: Vec<_> = called.chain(annotated.filter(|_| self.is_global)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
