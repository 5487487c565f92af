use std::sync::Arc;

use resilient_runtime::Registry;
use resilient_runtime::circuit_breaker::CircuitBreaker;

use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    let with = |count: usize| {
        let registry = Registry::new();
        (0..count).for_each(|number| drop(registry.circuit_breaker(&format!("breaker {number}"))));
        registry
    };
    let stats = |who, count| {
        let registry = with(count);
        Job::new(who, move || {
            let registry = registry.clone();
            move || registry.stats()
        })
    };
    let thousands = with(10_000);
    let held: Arc<CircuitBreaker> = thousands.circuit_breaker("breaker 4711");
    let by_name = vec![
        Job::new("resilient, by name among 10 000", move || {
            let registry = thousands.clone();
            move || registry.circuit_breaker("breaker 4711")
        }),
        Job::new("what a site holds: a clone of an `Arc`", move || {
            let held = Arc::clone(&held);
            move || Arc::clone(&held)
        }),
    ];
    let stats =
        vec![stats("1 component", 1), stats("100 components", 100), stats("10 000 components", 10_000)];
    vec![
        Group::new("`stats()`", stats).note("A snapshot of every component; no call waits for it."),
        Group::new("A component looked up by its name", by_name)
            .goals([Goal::AtMost(200.0), Goal::NoAllocation])
            .note("An annotated function does this lookup once. Later calls cost one load."),
    ]
}
