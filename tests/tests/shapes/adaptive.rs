//! Adaptive bulkheads.

use resilient_runtime::{Component, Registry, Rejection, resilient};

#[resilient(registry = registry, bulkhead("usual", adaptive))]
fn usual(registry: &Registry) -> Result<u32, Rejection> {
    Ok(registry.stats().bulkhead["usual"].limit)
}

#[resilient(registry = registry, bulkhead("bounded", adaptive(min = 3, max = 30, initial = 5), reserve(critical = 1), max_queue = 2, max_wait = "1s"), retry(max = 1))]
async fn bounded(registry: &Registry) -> Result<u32, Rejection> {
    tokio::task::yield_now().await;
    Ok(registry.stats().bulkhead["bounded"].limits.normal)
}

#[tokio::test]
async fn the_limit_starts_at_its_initial_value_and_adapts_to_calls() {
    let registry = Registry::new();
    assert_eq!(usual(&registry), Ok(20));
    assert_eq!(bounded(&registry).await, Ok(4), "one of five permits is reserved for critical calls");
    let stats = registry.bulkhead("bounded").stats();
    assert_eq!((stats.in_use, stats.limit), (0, 5));
    assert!(stats.adaptive.is_some() && registry.stats().to_string().contains("adaptive:"));
}
