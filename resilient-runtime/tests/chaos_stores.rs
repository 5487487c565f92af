//! Faults on a named store act on every component that uses it.
#![allow(clippy::disallowed_methods)] // the patience of the tests is real time
#![cfg(feature = "chaos")]

use std::time::{Duration, Instant};

use resilient_runtime::chaos::{Fault, FaultSpec, Latency};
use resilient_runtime::fallback::{self, Chain, Config, MemoryCache};
use resilient_runtime::observe::{EventKind, FaultKind};
use resilient_runtime::{Component, Kind, Level, Registry};

const PATIENCE: Duration = Duration::from_secs(20);

/// A fallback with a cache that has the value 70 for the key 7.
fn cached() -> Registry {
    let registry = Registry::new();
    registry.use_store("shared", MemoryCache::new(registry.clock().clone(), 1000));
    let rates = registry.fallback("rates");
    let config =
        Config::default().distributed_cache_store("shared").distributed_cache_reread_after(Duration::ZERO);
    rates.reconfigure(config).unwrap();
    rates.distribute(&7, &70_u32);
    let start = Instant::now();
    while cache(&registry).written == 0 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    // The values in memory would hide the fault.
    rates.reset();
    registry
}

fn cache(registry: &Registry) -> fallback::DistributedCacheStats {
    registry.fallback("rates").stats().distributed_cache.unwrap()
}

fn read(registry: &Registry) -> Option<u32> {
    let rates = registry.fallback("rates");
    let found = rates.call(|| None, || Chain::of(Level::Default, |_| Some(1)).or_distributed(&rates, &7));
    rates.reset();
    found
}

#[test]
fn a_store_that_a_fault_fails_is_skipped_by_the_cache() {
    // T186
    let registry = cached();
    let fault = registry.chaos().inject(Fault::fail_store().component(Kind::Store, "shared")).unwrap();
    let mut events = registry.subscribe();
    assert_eq!(read(&registry), Some(1), "the default");
    let store = registry.store("shared").stats();
    assert_eq!((store.failures, fault.injected()), (1, 1));
    assert_eq!(store.last_error.as_deref(), Some("injected by fault 1 (fail_store, by code)"));
    let why = std::iter::from_fn(|| events.try_recv()).find_map(|event| match event.what {
        EventKind::FallbackMissed { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(why, Some("store_failed"));
    let injected = &registry.stats().injected_into_components;
    assert_eq!((injected[0].fault, injected[0].kind), (FaultKind::FailStore, Kind::Store));
    drop(fault);
    assert_eq!(read(&registry), Some(70));
}

#[test]
fn a_store_that_a_fault_slows_delays_the_cache_within_its_limits() {
    // T186
    let registry = cached();
    let slow = |span| Fault::slow_store(Latency::fixed(span)).component(Kind::Store, "shared");
    let fault = registry.chaos().inject(slow(Duration::from_millis(20))).unwrap();
    let start = Instant::now();
    assert_eq!((read(&registry), start.elapsed() >= Duration::from_millis(20)), (Some(70), true));
    drop(fault);
    let _fault = registry.chaos().inject(slow(PATIENCE * 10)).unwrap();
    assert_eq!(read(&registry), Some(1), "the time limit of the store");
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(registry.store("shared").stats().timeouts, 1);
}

#[test]
fn an_experiment_can_name_the_store() {
    let registry = cached();
    let spec = r#"{"type":"fail_store","component":{"kind":"store","name":"shared"}}"#;
    let spec: FaultSpec = serde_json::from_str(spec).unwrap();
    let _fault = registry.chaos().inject(spec.fault().unwrap()).unwrap();
    assert_eq!(read(&registry), Some(1));
    let unknown = Fault::fail_store().component(Kind::Store, "shraed");
    assert!(registry.chaos().inject(unknown).unwrap_err().to_string().contains("shared"));
}
