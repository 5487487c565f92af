//! All stages around one function.

use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::rate_limit::{self, Rate};
use resilient_runtime::{Component, Pipeline, Registry, Rejection, hedge, resilient, timeout};

use super::own_key;
use crate::body::{number, run};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![ready()]
}

/// A result that can be cloned for the waiting calls.
type Answer = Result<u64, Rejection>;

async fn work(n: u64) -> Answer {
    crate::body::work_async(n).await
}

#[resilient(
    fallback = Ok(0),
    coalesce("bench: every", key = id),
    timeout("bench: every", total = "1s"),
    load_shed = "bench: every",
    retry("bench: every", max = 3),
    hedge("bench: every", after = "500ms"),
    idempotent,
    circuit_breaker = "bench: every",
    rate_limit("bench: every", rate = "4000000000/day", key = id),
    bulkhead = "bench: every"
)]
async fn every(id: u64) -> Answer {
    work(id).await
}

#[resilient(
    fallback = Ok(0),
    timeout("bench: most", total = "1s"),
    load_shed = "bench: most",
    retry("bench: most", max = 3),
    idempotent,
    circuit_breaker = "bench: most",
    rate_limit("bench: most", rate = "4000000000/day", key = id),
    bulkhead = "bench: most"
)]
async fn but_two(id: u64) -> Answer {
    work(id).await
}

fn pipeline() -> Arc<Pipeline> {
    let registry = Registry::new();
    let (limiter, timeout, hedge) =
        (registry.rate_limiter("every"), registry.timeout("every"), registry.hedge("every"));
    let rate = Rate::new(4_000_000_000, Duration::from_hours(24)).expect("a rate within its range");
    limiter.reconfigure(rate_limit::Config::default().rate(rate)).expect("a setting within its range");
    timeout
        .reconfigure(timeout::Config::default().total(Duration::from_secs(1)))
        .expect("a setting within its range");
    hedge
        .reconfigure(hedge::Config::default().after(Duration::from_millis(500)))
        .expect("a setting within its range");
    let pipeline = registry.pipeline("every").coalesce("every").timeout(timeout);
    let pipeline = pipeline.load_shed("every").retry("every").hedge(hedge).idempotent();
    Arc::new(pipeline.circuit_breaker("every").rate_limit(limiter).bulkhead("every").build())
}

fn ready() -> Group {
    let built = pipeline();
    let jobs = vec![
        Job::new("resilient, attribute", || {
            let key = own_key();
            move || run(every(key))
        }),
        Job::new("resilient, builder", move || {
            let (pipeline, key) = (Arc::clone(&built), own_key());
            move || run(pipeline.request().coalesce_key(&key).call_async(|| work(number())))
        }),
        Job::new("resilient, attribute, all but hedge and coalescing", || {
            let key = own_key();
            move || run(but_two(key))
        }),
    ];
    Group::new("Every stage, asynchronous, ready at the first poll", jobs)
        .headline()
        .goals([Goal::NoAllocation])
        .note("A fallback (only with the attribute), coalescing and a rate limit by key, a total timeout, load shedding, retry, hedge, circuit breaker and bulkhead, with statistics and percentiles. Three keyed hashes take about 25 ns, and each reading of the clock takes 10 ns. The builder boxes a hedged call, so that other calls stay small.")
        .shared()
}
