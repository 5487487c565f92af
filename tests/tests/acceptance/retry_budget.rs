//! Retry budget: limits the retries of all calls together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::retry::{Config, Retry};
use resilient_runtime::{Component, Registry};

use crate::{SECOND, refused, registry};

/// Three retries without a delay, so that only the budget limits them.
fn retry(registry: &Registry) -> Arc<Retry> {
    let retry = registry.retry("gateway");
    retry.reconfigure(Config::default().max(3).base(Duration::ZERO)).unwrap();
    retry
}

fn fail(retry: &Retry) {
    let _ = retry.call(|| Err::<(), _>(refused()));
}

#[test]
fn retries_are_limited_to_a_tenth_of_the_calls_if_all_calls_fail() {
    let (time, registry) = registry();
    let retry = retry(&registry);
    for _ in 0..60_000 {
        fail(&retry);
        time.advance(Duration::from_millis(1));
    }
    let retries = retry.stats().retries;
    // The reserve adds three retries for each of the 60 seconds, and 30 at the beginning.
    assert!((6_000..=6_000 + 60 * 3 + 30 + 100).contains(&retries), "{retries} retries of 60000 calls");
}

#[test]
fn a_service_with_few_calls_can_always_retry() {
    let (time, registry) = registry();
    let retry = retry(&registry);
    for _ in 0..100 {
        time.advance(60 * SECOND);
        fail(&retry);
    }
    assert_eq!((retry.stats().retries, retry.stats().denied_by_budget), (300, 0));
}

#[test]
fn successful_calls_refill_an_exhausted_budget() {
    let (_, registry) = registry();
    let retry = retry(&registry);
    (0..5_000).for_each(|_| fail(&retry));
    let drained = retry.stats();
    assert!(drained.denied_by_budget > 0, "{drained:?}");
    // The calls first pay back the reserve, which was used while there were few calls.
    for _ in 0..40_000 {
        let _ = retry.call(|| Ok::<_, io::Error>(()));
    }
    assert!(retry.budget().stats().tokens >= 100.0, "{:?}", retry.budget().stats());
    fail(&retry);
    assert_eq!(retry.stats().retries, drained.retries + 3);
}
