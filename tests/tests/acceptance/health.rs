//! Health checks: report whether the process works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use resilient_runtime::health::{Ask, Config, Status};
use resilient_runtime::{Component, HealthCheck, Registry};

use crate::registry;

/// A readiness check of a simulated database, and the switch for its failure.
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
async fn a_check_fails_after_three_consecutive_failures() {
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
async fn a_check_passes_again_after_one_success() {
    let (_, registry) = registry();
    let (check, works) = database(&registry);
    works.store(false, Ordering::Relaxed);
    assert_eq!(check.check().await.status, Status::Fail, "a check that has never passed fails at once");
    works.store(true, Ordering::Relaxed);
    assert_eq!(check.check().await.status, Status::Pass);
}

#[tokio::test]
async fn an_open_circuit_degrades_readiness_but_not_liveness() {
    let (_, registry) = registry();
    registry.circuit_breaker("payment").force_open();
    let (ready, live) =
        (registry.health_report(Ask::Readiness).await, registry.health_report(Ask::Liveness).await);
    assert_eq!((ready.status, ready.http_status()), (Status::Warn, 200));
    assert_eq!(live.status, Status::Pass);
}
