//! Bulkhead: isolates dependencies from each other.

use std::io;

use resilient_runtime::bulkhead::Config;
use resilient_runtime::{Component, RejectionKind};

use crate::registry;

#[test]
fn a_full_bulkhead_rejects_at_once() {
    let (_, registry) = registry();
    let gateway = registry.bulkhead("gateway");
    gateway.reconfigure(Config::default().max_concurrent(2)).unwrap();
    let held = [gateway.try_acquire().unwrap(), gateway.try_acquire().unwrap()];
    let refused: io::Result<()> = gateway.call(|| Ok(()));
    assert_eq!(
        RejectionKind::found_in(&refused.unwrap_err()).map(|(kind, _)| kind),
        Some(RejectionKind::BulkheadFull)
    );
    drop(held);
    assert!(gateway.call(|| Ok::<_, io::Error>(())).is_ok(), "dropping a permit releases it");
}

#[test]
fn a_slow_dependency_does_not_use_the_permits_of_others() {
    let (_, registry) = registry();
    let (slow, quick) = (registry.bulkhead("slow"), registry.bulkhead("quick"));
    slow.reconfigure(Config::default().max_concurrent(1)).unwrap();
    let _hangs = slow.try_acquire().unwrap();
    assert!(slow.try_acquire().is_err());
    assert!(quick.call(|| Ok::<_, io::Error>(())).is_ok());
}
