//! Faults of the registry, and of the store of the model.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resilient_chaos::faults::{Arm, FaultId, Faults, of_registry};
use resilient_runtime::Registry;
use resilient_runtime::clock::Instant;
use serde_json::Value;

/// Injects the faults of a registry, and makes the store of the model fail.
pub(crate) struct Injector {
    registry: Registry,
    inner: Arc<dyn Faults>,
    /// The ends of the leases during which the store fails.
    store: Mutex<BTreeMap<FaultId, Instant>>,
    hits: AtomicU64,
}

/// The first id of a fault of the store.
const OWN: FaultId = 1 << 32;

impl Injector {
    pub(crate) fn new(registry: &Registry) -> Self {
        let (registry, inner) = (registry.clone(), of_registry(registry));
        Self { registry, inner, store: Mutex::default(), hits: AtomicU64::new(0) }
    }

    pub(crate) fn armed(&self) -> usize {
        self.store.lock().unwrap().len() + self.registry.chaos().faults().len()
    }

    /// Whether the store of the idempotency keys is lost.
    pub(crate) fn is_store_lost(&self) -> bool {
        let now = self.registry.clock().now();
        let is_lost = self.store.lock().unwrap().values().any(|until| now < *until);
        self.hits.fetch_add(is_lost.into(), Ordering::Relaxed);
        is_lost
    }
}

impl Faults for Injector {
    fn check(&self, fault: &Value) -> Vec<String> {
        if fault["type"] == "fail_store" { Vec::new() } else { self.inner.check(fault) }
    }

    fn arm(&self, arm: &Arm<'_>) -> Result<FaultId, String> {
        if arm.fault["type"] != "fail_store" {
            return self.inner.arm(arm);
        }
        let mut store = self.store.lock().unwrap();
        let id = OWN + store.len() as FaultId;
        store.insert(id, self.registry.clock().now().after(arm.ttl));
        Ok(id)
    }

    fn renew(&self, id: FaultId, ttl: Duration) -> bool {
        if id < OWN {
            return self.inner.renew(id, ttl);
        }
        let now = self.registry.clock().now();
        self.store
            .lock()
            .unwrap()
            .get_mut(&id)
            .filter(|until| now < **until)
            .map(|until| *until = now.after(ttl))
            .is_some()
    }

    fn set_rate(&self, id: FaultId, rate: f64) -> bool {
        self.inner.set_rate(id, rate)
    }

    fn remove(&self, id: FaultId) -> bool {
        if id < OWN { self.inner.remove(id) } else { self.store.lock().unwrap().remove(&id).is_some() }
    }

    fn injected(&self, id: FaultId) -> Option<u64> {
        if id < OWN { self.inner.injected(id) } else { Some(self.hits.load(Ordering::Relaxed)) }
    }
}
