use std::sync::Arc;
use std::time::Duration;

use resilient::{Component, Registry, Timeout, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_resilience::timelimiter::TimeLimiterLayer;

use super::each;
use crate::body::{BodyError, Failed, number, run, work_async, work_later};
use crate::harness::{Goal, Group, Job};

const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn groups() -> Vec<Group> {
    vec![ready(), pending()]
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
        Job::new("resilient, by hand", move || {
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
        .note("No timer is armed before the body has returned `Pending`.")
        .shared()
}

fn pending() -> Group {
    let (ours, limiter) = (ours(), TimeLimiterLayer::builder().timeout_duration(LIMIT).build());
    let resilience = each(limiter.layer(tower::service_fn(work_later::<BodyError>)));
    let jobs = vec![
        Job::new("resilient, by hand", move || {
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
