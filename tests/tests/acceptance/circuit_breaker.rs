//! Stops calls to a dependency that fails.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::circuit_breaker::{CircuitBreaker, Config, State};
use resilient_runtime::clock::ManualClock;
use resilient_runtime::{Component, Ratio, RejectionKind};

use crate::{SECOND, refused, registry};

/// Opens after two failures in a row, for ten seconds; two successful probes close it.
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
fn it_opens_after_the_configured_number_of_failures_in_a_row() {
    let (_, breaker) = breaker();
    fail(&breaker);
    succeed(&breaker);
    fail(&breaker);
    assert_eq!(breaker.state(), State::Closed, "a success in between starts the count again");
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
    assert_eq!(breaker.state(), State::Closed, "19 calls are too few to judge by");
    fail(&breaker);
    assert_eq!((breaker.state(), breaker.stats().window.failed), (State::Open, 10));
}

#[test]
fn an_open_circuit_refuses_without_a_call() {
    let (_, breaker) = breaker();
    (0..2).for_each(|_| fail(&breaker));
    let called = Cell::new(false);
    let refused: io::Result<()> = breaker.call(|| {
        called.set(true);
        Ok(())
    });
    let refusal = RejectionKind::found_in(&refused.unwrap_err());
    assert_eq!(refusal, Some((RejectionKind::CircuitOpen, Some(10 * SECOND))), "and says when to try again");
    assert!(!called.get());
}

#[test]
fn probes_that_succeed_close_the_circuit() {
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
fn a_probe_that_fails_opens_the_circuit_for_twice_as_long() {
    let (time, breaker) = breaker();
    (0..2).for_each(|_| fail(&breaker));
    time.advance(10 * SECOND);
    // With three probes and two successes needed, two failures decide.
    (0..2).for_each(|_| fail(&breaker));
    assert_eq!((breaker.state(), breaker.stats().retry_after), (State::Open, Some(20 * SECOND)));
}

#[test]
fn slow_calls_open_it_like_failed_ones() {
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
