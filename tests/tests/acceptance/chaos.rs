//! Fault injection.

use resilient_runtime::chaos::Fault;
use resilient_runtime::{Class, Component, Rejection};

use super::{SECOND, registry};

#[test]
fn injected_errors_are_handled_by_the_other_stages() {
    let (_, registry) = registry();
    let charge = registry.pipeline("charge").circuit_breaker("gateway").retry("gateway").build();
    let fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("charge").times(2)).unwrap();

    assert_eq!(charge.call(|| Ok::<_, Rejection>(995)), Ok(995), "the third attempt succeeds");
    assert_eq!(registry.retry("gateway").stats().retries, 2);
    assert_eq!(registry.circuit_breaker("gateway").stats().failed, 2);
    assert_eq!((fault.injected(), registry.chaos().injected()), (2, 2));
}

#[test]
fn a_fault_ends_when_its_time_to_live_has_passed() {
    let (time, registry) = registry();
    let charge = registry.pipeline("charge").build();
    registry.chaos().arm(Fault::error(Class::Permanent).on("charge").ttl(10 * SECOND), "game day").unwrap();

    assert!(charge.call(|| Ok::<_, Rejection>(995)).unwrap_err().is_injected());
    time.advance(10 * SECOND);
    assert_eq!(charge.call(|| Ok::<_, Rejection>(995)), Ok(995));
    assert!(!registry.chaos().is_armed());
}
