//! Says whether the process works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use resilient_runtime::health::{Ask, Config, Status};
use resilient_runtime::{Component, HealthCheck, Registry};

use crate::registry;

/// A readiness check of a database that works or not.
fn database(registry: &Registry) -> (Arc<HealthCheck>, Arc<AtomicBool>) {
    let check = registry.health("database");
    check.reconfigure(Config::default().cache(Duration::ZERO)).unwrap();
    let works = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&works);
    check.probe(move || {
        let works = asked.load(Ordering::Relaxed);
        async move { if works { Ok(()) } else { Err("too many connections") } }
    });
    (check, works)
}

#[tokio::test]
async fn three_failures_in_a_row_fail_a_check() {
    let (_, registry) = registry();
    let (check, works) = database(&registry);
    assert_eq!(check.check().await.status, Status::Pass);
    for (succeeds, status) in [
        (false, Status::Pass),
        (false, Status::Pass),
        (true, Status::Pass),
        (false, Status::Pass),
        (false, Status::Pass),
        (false, Status::Fail),
    ] {
        works.store(succeeds, Ordering::Relaxed);
        assert_eq!(check.check().await.status, status);
    }
    assert_eq!(registry.health_report(Ask::Readiness).await.http_status(), 503);
}

#[tokio::test]
async fn one_success_passes_again() {
    let (_, registry) = registry();
    let (check, works) = database(&registry);
    works.store(false, Ordering::Relaxed);
    assert_eq!(check.check().await.status, Status::Fail, "it has never passed");
    works.store(true, Ordering::Relaxed);
    assert_eq!(check.check().await.status, Status::Pass);
}

#[tokio::test]
async fn an_open_circuit_degrades_readiness_and_never_liveness() {
    let (_, registry) = registry();
    registry.circuit_breaker("payment").force_open();
    let (ready, live) =
        (registry.health_report(Ask::Readiness).await, registry.health_report(Ask::Liveness).await);
    assert_eq!((ready.status, ready.http_status()), (Status::Warn, 200));
    assert_eq!(live.status, Status::Pass);
}
