//! Four stages together: the cost of a call of a well protected function.

use std::sync::Arc;
use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder, Retryable};
use recloser::{AsyncRecloser, Recloser};
use resilient_runtime::{Component, Pipeline, Registry, resilient, timeout};
use tokio::sync::Semaphore;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

use super::each;
use crate::body::{BodyError, Failed, number, run, work, work_async, work_later};
use crate::harness::{Goal, Group, Job};

const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn groups() -> Vec<Group> {
    vec![none(), sync(), ready(), pending()]
}

fn none() -> Group {
    let empty = Arc::new(Pipeline::builder("bench: none").build());
    let jobs = vec![
        Job::new("resilient, builder, no stage", move || {
            let pipeline = Arc::clone(&empty);
            move || pipeline.call(|| work::<Failed>(number()))
        }),
        Job::new("the bare function", || || work::<Failed>(number())),
    ];
    Group::new("No policy", jobs)
        .goals([Goal::Above("the bare function", 2.0), Goal::NoAllocation])
        .note("A pipeline without stages still counts calls by outcome, measures the duration of one call in eight, and reports panics.")
        .shared()
}

#[resilient(circuit_breaker = "bench: sync", retry(max = 3), bulkhead = "bench: sync")]
fn annotated_sync() -> Result<u64, Failed> {
    work(number())
}

#[resilient(circuit_breaker = "bench: async", retry(max = 3), bulkhead = "bench: async", timeout = "1s")]
async fn annotated() -> Result<u64, Failed> {
    work_async(number()).await
}

#[resilient(circuit_breaker = "bench: later", retry(max = 3), bulkhead = "bench: later", timeout = "1s")]
async fn annotated_later() -> Result<u64, Failed> {
    work_later(number()).await
}

fn three() -> Arc<Pipeline> {
    let pipeline = Pipeline::builder("bench: three").circuit_breaker("bench: three").retry("bench: three");
    Arc::new(pipeline.bulkhead("bench: three").build())
}

fn pipeline() -> Arc<Pipeline> {
    let registry = Registry::new();
    let timeout = registry.timeout("bench");
    timeout.reconfigure(timeout::Config::default().total(LIMIT)).expect("a setting within its range");
    let pipeline = registry.pipeline("bench").circuit_breaker("bench").retry("bench").bulkhead("bench");
    Arc::new(pipeline.timeout(&timeout).build())
}

fn sync() -> Group {
    let registry = Registry::new();
    let (retry, breaker, bulkhead) =
        (registry.retry("hand"), registry.circuit_breaker("hand"), registry.bulkhead("hand"));
    let (built, recloser, semaphore) = (three(), Arc::new(Recloser::default()), Arc::new(Semaphore::new(64)));
    let jobs = vec![
        Job::new("resilient, attribute", || annotated_sync),
        Job::new("resilient, builder", move || {
            let pipeline = Arc::clone(&built);
            move || pipeline.call(|| work::<Failed>(number()))
        }),
        Job::new("resilient, component", move || {
            let (retry, breaker, bulkhead) =
                (Arc::clone(&retry), Arc::clone(&breaker), Arc::clone(&bulkhead));
            move || retry.call(|| breaker.call(|| bulkhead.call(|| work::<Failed>(number()))))
        }),
        Job::new("`backon` + `recloser` + semaphore", move || {
            let (breaker, semaphore) = (Arc::clone(&recloser), Arc::clone(&semaphore));
            let policy = ExponentialBuilder::default();
            move || {
                let guarded = || {
                    let _permit = semaphore.try_acquire().map_err(|_| BodyError)?;
                    work::<BodyError>(number())
                };
                (|| breaker.call(guarded)).retry(policy).call()
            }
        }),
    ];
    Group::new("Breaker, retry and bulkhead together, synchronous", jobs).in_readme()
        .goals([Goal::AtMost(60.0), Goal::Times(1.05, "resilient, builder"), Goal::NoAllocation])
        .note("A synchronous body cannot be cancelled, therefore there is no timeout. The three crates read no clock and have no statistics.")
        .shared()
}

/// The recommended usage of each crate, nested.
macro_rules! by_hand {
    ($who:literal, $work:ident) => {{
        let (breaker, semaphore) =
            (Arc::new(AsyncRecloser::from(Recloser::default())), Arc::new(Semaphore::new(64)));
        Job::new($who, move || {
            let (breaker, semaphore) = (Arc::clone(&breaker), Arc::clone(&semaphore));
            let policy = ExponentialBuilder::default();
            move || {
                let guarded = async || {
                    let _permit = semaphore.acquire().await.map_err(|_| BodyError)?;
                    tokio::time::timeout(LIMIT, $work::<BodyError>(number())).await.map_err(|_| BodyError)?
                };
                run(async { (|| breaker.call(guarded())).retry(policy).await })
            }
        })
    }};
}

/// In the order of its documentation.
macro_rules! tower_resilience {
    ($work:ident) => {{
        let service = ServiceBuilder::new()
            .layer(CircuitBreakerLayer::builder().failure_rate_threshold(0.5).build().expect("in range"))
            .layer(BulkheadLayer::builder().max_concurrent_calls(64).build().expect("in range"))
            .layer(TimeLimiterLayer::builder().timeout_duration(LIMIT).build())
            .service(tower::service_fn($work::<BodyError>));
        let service = each(service);
        Job::new("`tower-resilience` (three: no retry)", move || {
            let mut service = service();
            move || run(async { service.ready().await.map_err(drop)?.call(number()).await.map_err(drop) })
        })
    }};
}

fn ready() -> Group {
    let (built, registry) = (pipeline(), Registry::new());
    let (retry, breaker) = (registry.retry("hand"), registry.circuit_breaker("hand"));
    let (bulkhead, limit) = (registry.bulkhead("hand"), registry.timeout("hand"));
    limit.reconfigure(timeout::Config::default().attempt(LIMIT)).expect("a setting within its range");
    let jobs = vec![
        Job::new("resilient, attribute", || || run(annotated())),
        Job::new("resilient, builder", move || {
            let pipeline = Arc::clone(&built);
            move || run(pipeline.call_async(async || work_async::<Failed>(number()).await))
        }),
        Job::new("resilient, component", move || {
            let (retry, breaker) = (Arc::clone(&retry), Arc::clone(&breaker));
            let (bulkhead, limit) = (Arc::clone(&bulkhead), Arc::clone(&limit));
            move || {
                let limited = async || limit.call_async(async || work_async::<Failed>(number()).await).await;
                let guarded = async || breaker.call_async(async || bulkhead.call_async(limited).await).await;
                run(retry.call_async(guarded))
            }
        }),
        by_hand!("`backon` + `recloser` + semaphore + timeout", work_async),
        tower_resilience!(work_async),
    ];
    Group::new("Four together, asynchronous, ready at the first poll", jobs)
        .headline()
        .goals([
            Goal::AtMost(60.0),
            Goal::Times(1.05, "resilient, builder"),
            Goal::Times(1.0, "resilient, component"),
            Goal::Times(1.0, "`backon` + `recloser` + semaphore + timeout"),
            Goal::Times(0.125, "`tower-resilience` (three: no retry)"),
            Goal::NoAllocation,
        ])
        .note("Resilient includes statistics and latency percentiles.")
        .shared()
}

fn pending() -> Group {
    let built = pipeline();
    let jobs = vec![
        Job::new("resilient, attribute", || || run(annotated_later())),
        Job::new("resilient, builder", move || {
            let pipeline = Arc::clone(&built);
            move || run(pipeline.call_async(async || work_later::<Failed>(number()).await))
        }),
        Job::new("`tokio::time::timeout` alone", || {
            || run(tokio::time::timeout(LIMIT, work_later::<BodyError>(number())))
        }),
        by_hand!("`backon` + `recloser` + semaphore + timeout", work_later),
        tower_resilience!(work_later),
    ];
    Group::new("Four together, asynchronous, pending once", jobs)
        .in_readme()
        .goals([Goal::Above("`tokio::time::timeout` alone", 60.0), Goal::NoAllocation])
        .note("A timer is armed at the first `Pending` and then cancelled. In addition to the cost of tokio's timeout, the clock is read twice, once more to arm the timer, and the handle of the runtime is looked up, so that a missing runtime is an error instead of a panic (see the yardsticks). The other stages cost the same as with a ready body.")
        .shared()
}
