//! How to test protected code, with a registry per test and a clock that the test advances.
//!
//! The test does not wait for an outage and the recovery, and concurrent tests share no state.
//!
//!     cargo run --example manual_clock_test
//!     cargo test --example manual_clock_test

use std::time::Duration;

use resilient_runtime::circuit_breaker::State;
use resilient_runtime::clock::ManualClock;
use resilient_runtime::{Registry, Rejection, RejectionKind, resilient};

#[derive(Debug, thiserror::Error)]
enum DbError {
    #[error("connection lost")]
    Lost,
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// The code under test takes the registry as an argument. The program passes the global registry.
#[resilient(registry = registry, circuit_breaker("db", failure_threshold = 2, open_for = "30s"))]
fn query(registry: &Registry, is_up: bool) -> Result<&'static str, DbError> {
    if is_up { Ok("a row") } else { Err(DbError::Lost) }
}

/// Simulates an outage and the recovery, and checks each step.
fn an_outage_and_the_recovery(report: impl Fn(&str)) {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let state = || registry.circuit_breaker("db").state();

    assert!(matches!(query(&registry, false), Err(DbError::Lost)));
    assert!(matches!(query(&registry, false), Err(DbError::Lost)));
    assert_eq!(state(), State::Open);
    report("two failures opened the circuit");

    let Err(DbError::Rejected(rejection)) = query(&registry, true) else {
        panic!("the circuit must be open")
    };
    assert_eq!(rejection.kind(), RejectionKind::CircuitOpen);
    report(&format!("the next call is rejected: {rejection}"));

    time.advance(Duration::from_secs(30));
    assert_eq!(state(), State::HalfOpen);
    for _ in 0..3 {
        assert_eq!(query(&registry, true).ok(), Some("a row"));
    }
    assert_eq!(state(), State::Closed);
    report("the clock advanced by 30 s without waiting, and successful probes closed the circuit");
}

fn main() {
    an_outage_and_the_recovery(|what| println!("{what}"));
}

#[test]
fn the_circuit_opens_in_an_outage_and_closes_after_it() {
    an_outage_and_the_recovery(|_| ());
}
