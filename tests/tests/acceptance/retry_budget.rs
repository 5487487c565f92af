//! Bounds the retries of all calls together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::retry::{Config, Retry};
use resilient_runtime::{Component, Registry};

use crate::{SECOND, refused, registry};

/// Three retries without a pause, so that only the budget bounds them.
fn retry(registry: &Registry) -> Arc<Retry> {
    let retry = registry.retry("gateway");
    retry.reconfigure(Config::default().max(3).base(Duration::ZERO)).unwrap();
    retry
}

fn fail(retry: &Retry) {
    let _ = retry.call(|| Err::<(), _>(refused()));
}

#[test]
fn in_a_storm_retries_are_a_tenth_of_the_calls() {
    let (time, registry) = registry();
    let retry = retry(&registry);
    for _ in 0..60_000 {
        fail(&retry);
        time.advance(Duration::from_millis(1));
    }
    let retries = retry.stats().retries;
    // And a reserve of three for each of the 60 seconds, 30 of them at the beginning.
    assert!((6_000..=6_000 + 60 * 3 + 30 + 100).contains(&retries), "{retries} retries of 60000 calls");
}

#[test]
fn a_quiet_service_can_always_retry() {
    let (time, registry) = registry();
    let retry = retry(&registry);
    for _ in 0..100 {
        time.advance(60 * SECOND);
        fail(&retry);
    }
    assert_eq!((retry.stats().retries, retry.stats().denied_by_budget), (300, 0));
}

#[test]
fn a_drained_budget_fills_again_with_calls_that_succeed() {
    let (_, registry) = registry();
    let retry = retry(&registry);
    (0..5_000).for_each(|_| fail(&retry));
    let drained = retry.stats();
    assert!(drained.denied_by_budget > 0, "{drained:?}");
    // What was lent while calls were few is paid back first.
    for _ in 0..40_000 {
        let _ = retry.call(|| Ok::<_, io::Error>(()));
    }
    assert!(retry.budget().stats().tokens >= 100.0, "{:?}", retry.budget().stats());
    fail(&retry);
    assert_eq!(retry.stats().retries, drained.retries + 3);
}
