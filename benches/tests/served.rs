//! The load of the benchmarks for a moment: what it checks must hold, whatever it measures.

use std::time::Duration;

use resilient_benches::served::{payments, under_load};

#[test]
fn under_load_and_faults_every_request_is_answered_and_counted() {
    let load = under_load(&payments().expect("it is built"), Duration::from_secs(5)).expect("it holds");
    assert!(load.requests > 500, "{load:?}");
    assert_eq!(load.unanswered, 0);
}
