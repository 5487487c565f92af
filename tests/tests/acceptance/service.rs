//! Registry: names, statistics and reset.

use std::io;
use std::sync::Arc;

use resilient_runtime::circuit_breaker::State;
use resilient_runtime::{Component, Kind};

use crate::{not_found, refused, registry};

#[test]
fn a_name_identifies_one_component() {
    let (_, registry) = registry();
    assert!(Arc::ptr_eq(&registry.bulkhead("gateway"), &registry.bulkhead("gateway")));
    assert!(!Arc::ptr_eq(&registry.bulkhead("gateway"), &registry.bulkhead("stock")));
}

#[test]
fn stats_list_every_component_by_its_name() {
    let (_, registry) = registry();
    registry.circuit_breaker("payment").force_open();
    registry.bulkhead("gateway");
    let stats = registry.stats();
    assert_eq!(stats.circuit_breaker["payment"].state, State::ForcedOpen);
    assert_eq!(stats.bulkhead["gateway"].limit, 64);
    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["circuit_breaker"]["payment"]["state"], "forced_open");
    assert!(stats.to_string().contains("payment"), "the statistics print as a table");
}

#[test]
fn every_call_is_counted_once() {
    let (_, registry) = registry();
    let checkout = registry.pipeline("checkout").circuit_breaker("payment").build();
    let outcomes: [fn() -> io::Result<()>; 3] = [|| Ok(()), || Err(refused()), || Err(not_found())];
    for outcome in outcomes {
        let _ = checkout.call(outcome);
    }
    registry.circuit_breaker("payment").force_open();
    let _ = checkout.call(|| Ok::<_, io::Error>(()));
    let stats = registry.stats().operations["checkout"].clone();
    assert_eq!((stats.calls, stats.succeeded, stats.failed, stats.rejected), (4, 1, 2, 1));
}

#[test]
fn a_reset_restores_the_initial_state_of_a_component() {
    let (_, registry) = registry();
    let breaker = registry.circuit_breaker("payment");
    for _ in 0..5 {
        let _ = breaker.call(|| Err::<(), _>(refused()));
    }
    assert_eq!(breaker.state(), State::Open);
    registry.reset(Kind::CircuitBreaker, "payment").unwrap();
    let stats = breaker.stats();
    assert_eq!((stats.state, stats.failed, stats.window.calls), (State::Closed, 0, 0));
    assert!(registry.reset(Kind::CircuitBreaker, "paymnet").is_err(), "an unknown name is an error");
}
