//! Several components together.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use resilient_runtime::circuit_breaker::State;
use resilient_runtime::clock::Clock;
use resilient_runtime::{Degradation, Level, Registry, RejectionKind, deadline, resilient};

use crate::{SECOND, refused, registry};

#[test]
fn calls_succeed_with_degraded_results_in_an_outage() {
    #[resilient(registry = registry, circuit_breaker("rates", failure_threshold = 3, open_for = "10s"),
        retry(max = 2), bulkhead = "rates",
        fallback(local_cache(max_age = "1h", key = currency), default = Ok(100)))]
    fn rate(registry: &Registry, is_up: bool, currency: &str) -> io::Result<u32> {
        if is_up { Ok(110) } else { Err(refused()) }
    }
    let (time, registry) = registry();
    assert_eq!(rate(&registry, true, "EUR").unwrap(), 110);
    for _ in 0..100 {
        let (answer, degraded) = Degradation::collect(|| rate(&registry, false, "EUR"));
        assert_eq!((answer.unwrap(), degraded.unwrap().level), (110, Level::LocalCache));
        assert_eq!(rate(&registry, false, "CHF").unwrap(), 100, "there is no cached value");
    }
    assert_eq!(registry.circuit_breaker("rates").state(), State::Open);
    time.advance(20 * SECOND);
    for _ in 0..3 {
        assert_eq!(rate(&registry, true, "EUR").unwrap(), 110);
    }
    assert_eq!(registry.circuit_breaker("rates").state(), State::Closed, "the circuit closes automatically");
}

#[tokio::test(start_paused = true)]
async fn one_deadline_covers_all_nested_calls() {
    #[resilient(registry = registry, timeout = "1s")]
    async fn outer(registry: &Registry) -> io::Result<()> {
        inner(registry).await
    }
    #[resilient(registry = registry, timeout = "30s", retry(max = 9, base = "200ms"))]
    async fn inner(registry: &Registry) -> io::Result<()> {
        assert!(
            deadline::remaining().unwrap() <= SECOND,
            "the deadline of the outer call limits the inner timeout of 30 s"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
        Err(refused())
    }
    let registry = Registry::with_clock(Clock::tokio());
    let start = tokio::time::Instant::now();
    assert!(outer(&registry).await.is_err());
    assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
}

#[test]
fn a_repeated_request_is_executed_once() {
    #[resilient(registry = registry, idempotent(key = order, fingerprint = cents))]
    fn charge(registry: &Registry, charges: &Cell<u32>, order: &str, cents: u32) -> io::Result<u32> {
        charges.set(charges.get() + cents);
        Ok(charges.get())
    }
    let ((_, registry), charges) = (registry(), Cell::new(0));
    assert_eq!(charge(&registry, &charges, "order-1", 500).unwrap(), 500);
    assert_eq!(
        charge(&registry, &charges, "order-1", 500).unwrap(),
        500,
        "the result of the first call is replayed"
    );
    assert_eq!(charges.get(), 500);
    let other = charge(&registry, &charges, "order-1", 900).unwrap_err();
    assert_eq!(RejectionKind::found_in(&other).map(|(kind, _)| kind), Some(RejectionKind::KeyReused));
}
