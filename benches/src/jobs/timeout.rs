use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::{Component, Pipeline, Registry, Timeout, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_resilience::timelimiter::TimeLimiterLayer;

use super::each;
use crate::body::{BodyError, Failed, number, run, work_async, work_later};
use crate::harness::{Goal, Group, Job};

const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn groups() -> Vec<Group> {
    vec![ready(), adaptive(), percentiles(), pending()]
}

fn ours() -> Arc<Timeout> {
    let timeout = Registry::new().timeout("bench");
    timeout.reconfigure(timeout::Config::default().total(LIMIT)).expect("a setting within its range");
    timeout
}

fn ready() -> Group {
    let (ours, limiter) = (ours(), TimeLimiterLayer::builder().timeout_duration(LIMIT).build());
    let resilience = each(limiter.layer(tower::service_fn(work_async::<BodyError>)));
    let tower =
        each(tower::timeout::TimeoutLayer::new(LIMIT).layer(tower::service_fn(work_async::<std::io::Error>)));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let timeout = Arc::clone(&ours);
            move || run(timeout.call_async(async || work_async::<Failed>(number()).await))
        }),
        Job::new("`tokio::time::timeout`", || {
            || run(tokio::time::timeout(LIMIT, work_async::<BodyError>(number())))
        }),
        Job::new("`tower`", move || {
            let mut service = tower();
            move || run(async { service.ready().await.map_err(drop)?.call(number()).await.map_err(drop) })
        }),
        Job::new("`tower-resilience`", move || {
            let mut service = resilience();
            move || run(async { service.ready().await.map_err(drop)?.call(number()).await.map_err(drop) })
        }),
    ];
    Group::new("Timeout, ready at the first poll", jobs)
        .headline()
        .goals([Goal::Times(1.0, "`tokio::time::timeout`"), Goal::NoAllocation])
        .note("A timer is armed only when the body returns `Pending`.")
        .shared()
}

/// A pipeline with one stage, which reads the clock before and after the body.
fn alone(config: timeout::Config) -> Arc<Pipeline> {
    let registry = Registry::new();
    let timeout = registry.timeout("bench");
    timeout.reconfigure(config.total(LIMIT)).expect("settings within their ranges");
    Arc::new(registry.pipeline("bench").timeout(timeout).build())
}

fn adaptive() -> Group {
    let adaptive = alone(timeout::Config::default().adaptive(true));
    let fixed = alone(timeout::Config::default().attempt(LIMIT));
    let job = |pipeline: Arc<Pipeline>| {
        move || {
            let pipeline = Arc::clone(&pipeline);
            move || run(pipeline.call_async(async || work_async::<Failed>(number()).await))
        }
    };
    let jobs =
        vec![Job::new("resilient, adaptive", job(adaptive)), Job::new("resilient, not adaptive", job(fixed))];
    Group::new("Adaptive timeout in a pipeline, ready at the first poll", jobs)
        .goals([Goal::Above("resilient, not adaptive", 3.0), Goal::NoAllocation])
        .note("Each attempt is recorded, and once a second an attempt computes the percentiles. `histogram::AtomicHistogram::increment` takes 5 ns (see the yardsticks). Resilient computes the bucket, does a load and a store in a histogram of the thread, and checks whether the second is over.")
        .shared()
}

/// Computes the percentiles, as the end of an attempt does once a second, and `stats()` does.
fn percentiles() -> Group {
    let registry = Registry::new();
    let timeout = registry.timeout("bench");
    timeout.reconfigure(timeout::Config::default().adaptive(true)).expect("settings within their ranges");
    for _ in 0..1000 {
        let done: Result<u64, Failed> = run(timeout.call_async(async || work_async(number()).await));
        drop(done);
    }
    let job = Job::new("resilient", move || {
        let timeout = Arc::clone(&timeout);
        move || timeout.stats()
    });
    Group::new("Percentiles of an adaptive timeout, with censored attempts", vec![job])
}

fn pending() -> Group {
    let (ours, limiter) = (ours(), TimeLimiterLayer::builder().timeout_duration(LIMIT).build());
    let resilience = each(limiter.layer(tower::service_fn(work_later::<BodyError>)));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let timeout = Arc::clone(&ours);
            move || run(timeout.call_async(async || work_later::<Failed>(number()).await))
        }),
        Job::new("`tokio::time::timeout`", || {
            || run(tokio::time::timeout(LIMIT, work_later::<BodyError>(number())))
        }),
        Job::new("`tower-resilience`", move || {
            let mut service = resilience();
            move || run(async { service.ready().await.map_err(drop)?.call(number()).await.map_err(drop) })
        }),
    ];
    Group::new("Timeout, pending once: a timer is armed and cancelled", jobs)
        .goals([Goal::Above("`tokio::time::timeout`", 60.0), Goal::NoAllocation])
        .shared()
}
