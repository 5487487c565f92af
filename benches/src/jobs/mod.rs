//! The benchmarks, in the order of the report.

mod breaker;
mod bulkhead;
mod coalesce;
mod every;
mod fallback;
mod four;
mod hedge;
mod http;
mod idempotency;
mod load_shed;
mod rate_limit;
mod registry;
mod retry;
mod timeout;
mod yardsticks;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::harness::Group;

/// All groups.
pub fn all() -> Vec<Group> {
    [
        four::groups(),
        every::groups(),
        breaker::groups(),
        retry::groups(),
        bulkhead::groups(),
        timeout::groups(),
        load_shed::groups(),
        fallback::groups(),
        rate_limit::groups(),
        hedge::groups(),
        coalesce::groups(),
        idempotency::groups(),
        registry::groups(),
        http::groups(),
        yardsticks::groups(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A different key per thread, so that threads do not wait for each other.
fn own_key() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local!(static KEY: u64 = NEXT.fetch_add(1, Ordering::Relaxed));
    KEY.with(|key| *key)
}

/// A tower service that each thread clones, whether or not it is `Sync`.
fn each<S: Clone + Send>(service: S) -> impl Fn() -> S + Sync {
    let service = Mutex::new(service);
    move || service.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
