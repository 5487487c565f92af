//! How to test code that is protected: a registry of its own, on a clock that the test moves. An outage and the
//! recovery from it take no time at all, and tests that run side by side share nothing.
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

/// The code under test says which registry it uses; in the program that is the process's.
#[resilient(registry = registry, circuit_breaker("db", failure_threshold = 2, open_for = "30s"))]
fn query(registry: &Registry, is_up: bool) -> Result<&'static str, DbError> {
    if is_up { Ok("a row") } else { Err(DbError::Lost) }
}

/// Tells the story and checks each part of it.
fn an_outage_and_the_recovery(tell: impl Fn(&str)) {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let state = || registry.circuit_breaker("db").state();

    assert!(matches!(query(&registry, false), Err(DbError::Lost)));
    assert!(matches!(query(&registry, false), Err(DbError::Lost)));
    assert_eq!(state(), State::Open);
    tell("two failures opened the circuit");

    let Err(DbError::Rejected(rejection)) = query(&registry, true) else { panic!("it is open") };
    assert_eq!(rejection.kind(), RejectionKind::CircuitOpen);
    tell(&format!("the next call is refused: {rejection}"));

    time.advance(Duration::from_secs(30));
    assert_eq!(state(), State::HalfOpen);
    for _ in 0..3 {
        assert_eq!(query(&registry, true).ok(), Some("a row"));
    }
    assert_eq!(state(), State::Closed);
    tell("half a minute later, which took no time, the probes closed it again");
}

fn main() {
    an_outage_and_the_recovery(|what| println!("{what}"));
}

#[test]
fn the_database_may_go_away_and_come_back() {
    an_outage_and_the_recovery(|_| ());
}
