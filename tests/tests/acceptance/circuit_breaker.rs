//! Circuit breaker: stops calls to a failing dependency.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::circuit_breaker::{CircuitBreaker, Config, State};
use resilient_runtime::clock::ManualClock;
use resilient_runtime::{Component, Ratio, RejectionKind};

use crate::{SECOND, refused, registry};

/// A breaker that opens for ten seconds after two consecutive failures, and closes after two successful probes.
fn breaker() -> (ManualClock, Arc<CircuitBreaker>) {
    let (time, registry) = registry();
    let breaker = registry.circuit_breaker("payment");
    let config = Config::default().failure_threshold(2).open_for(10 * SECOND).success_threshold(2);
    breaker.reconfigure(config.open_jitter(Ratio::ZERO)).unwrap();
    (time, breaker)
}

fn fail(breaker: &CircuitBreaker) {
    let _ = breaker.call(|| Err::<(), _>(refused()));
}

fn succeed(breaker: &CircuitBreaker) {
    let _ = breaker.call(|| Ok::<_, io::Error>(()));
}

#[test]
fn it_opens_after_the_configured_number_of_consecutive_failures() {
    let (_, breaker) = breaker();
    fail(&breaker);
    succeed(&breaker);
    fail(&breaker);
    assert_eq!(breaker.state(), State::Closed, "a success resets the count");
    fail(&breaker);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn it_opens_when_half_of_twenty_calls_fail() {
    let (_, registry) = registry();
    let breaker = registry.circuit_breaker("payment");
    let rate = Config::default().failure_rate(Ratio::HALF).min_calls(20).low_volume_failures(0);
    breaker.reconfigure(rate).unwrap();
    for _ in 0..9 {
        fail(&breaker);
        succeed(&breaker);
    }
    succeed(&breaker);
    assert_eq!(breaker.state(), State::Closed, "19 calls are below `min_calls`");
    fail(&breaker);
    assert_eq!((breaker.state(), breaker.stats().window.failed), (State::Open, 10));
}

#[test]
fn an_open_circuit_rejects_without_a_call() {
    let (_, breaker) = breaker();
    (0..2).for_each(|_| fail(&breaker));
    let called = Cell::new(false);
    let refused: io::Result<()> = breaker.call(|| {
        called.set(true);
        Ok(())
    });
    let refusal = RejectionKind::found_in(&refused.unwrap_err());
    assert_eq!(
        refusal,
        Some((RejectionKind::CircuitOpen, Some(10 * SECOND))),
        "the rejection has a retry-after time"
    );
    assert!(!called.get());
}

#[test]
fn successful_probes_close_the_circuit() {
    let (time, breaker) = breaker();
    (0..2).for_each(|_| fail(&breaker));
    time.advance(10 * SECOND);
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker);
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn failed_probes_open_the_circuit_for_twice_as_long() {
    let (time, breaker) = breaker();
    (0..2).for_each(|_| fail(&breaker));
    time.advance(10 * SECOND);
    // Two of three probes must succeed, so that two failures open the circuit.
    (0..2).for_each(|_| fail(&breaker));
    assert_eq!((breaker.state(), breaker.stats().retry_after), (State::Open, Some(20 * SECOND)));
}

#[test]
fn slow_calls_open_the_circuit() {
    let (time, registry) = registry();
    let breaker = registry.circuit_breaker("payment");
    let slow = Config::default().slow_call(SECOND).slow_rate(Ratio::HALF).min_calls(4);
    breaker.reconfigure(slow).unwrap();
    for millis in [10, 1500, 10, 1500] {
        let _ = breaker.call(|| {
            time.advance(Duration::from_millis(millis));
            Ok::<_, io::Error>(())
        });
    }
    assert_eq!((breaker.state(), breaker.stats().slow), (State::Open, 2));
}
