use std::sync::Arc;

use resilient_runtime::{Bulkhead, Component, Registry, Verdict, bulkhead, resilient};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceExt};
use tower_resilience::bulkhead::BulkheadLayer;

use super::each;
use crate::body::{BodyError, Failed, number, run, work, work_async};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    let own = [permit(), permit_async(), call_async(), adaptive(), adaptive_attribute(), full()];
    own.into_iter().chain([threads(), threads_async(), threads_full()]).collect()
}

fn bulkhead(permits: u32) -> Arc<Bulkhead> {
    let bulkhead = Registry::new().bulkhead("bench");
    let config = bulkhead::Config::default().max_concurrent(permits);
    bulkhead.reconfigure(config).expect("these settings are within their ranges");
    bulkhead
}

#[resilient(bulkhead = "bench: attribute")]
fn annotated() -> Result<u64, Failed> {
    work(number())
}

fn permit() -> Group {
    let (ours, theirs) = (bulkhead(64), Arc::new(Semaphore::new(64)));
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let bulkhead = Arc::clone(&ours);
            move || bulkhead.try_acquire().is_ok()
        }),
        Job::new("resilient, attribute", || annotated),
        Job::new("`tokio::sync::Semaphore`", move || {
            let semaphore = Arc::clone(&theirs);
            move || semaphore.try_acquire().is_ok()
        }),
    ];
    Group::new("Bulkhead, a permit taken and given back", jobs).headline()
        .goals([Goal::Times(1.2, "`tokio::sync::Semaphore`"), Goal::NoAllocation])
        .note("By attribute with the statistics of the function. A permit is a word that all cores write: two threads take turns.")
        .shared()
}

fn permit_async() -> Group {
    let (ours, theirs) = (bulkhead(64), Arc::new(Semaphore::new(64)));
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let bulkhead = Arc::clone(&ours);
            move || run(async { bulkhead.acquire().await.is_ok() })
        }),
        Job::new("`tokio::sync::Semaphore`", move || {
            let semaphore = Arc::clone(&theirs);
            move || run(async { semaphore.acquire().await.is_ok() })
        }),
    ];
    Group::new("Bulkhead, a permit taken and given back, asynchronous", jobs)
        .goals([Goal::Times(1.2, "`tokio::sync::Semaphore`"), Goal::NoAllocation])
        .shared()
}

fn call_async() -> Group {
    let ours = bulkhead(64);
    let tower = each(ConcurrencyLimitLayer::new(64).layer(tower::service_fn(work_async::<BodyError>)));
    let resilience =
        BulkheadLayer::builder().max_concurrent_calls(64).build().expect("a setting within its range");
    let resilience = each(resilience.layer(tower::service_fn(work_async::<BodyError>)));
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let bulkhead = Arc::clone(&ours);
            move || run(bulkhead.call_async(async || work_async::<Failed>(number()).await))
        }),
        Job::new("`tower`", move || {
            let mut service = tower();
            move || run(async { service.ready().await?.call(number()).await })
        }),
        Job::new("`tower-resilience`", move || {
            let mut service = resilience();
            move || run(async { service.ready().await.map_err(drop)?.call(number()).await.map_err(drop) })
        }),
    ];
    Group::new("Bulkhead around an asynchronous call", jobs).goals([Goal::NoAllocation]).shared()
}

/// It finds its limit while it is measured, and never refuses one caller.
fn finding() -> Arc<Bulkhead> {
    let bulkhead = Registry::new().bulkhead("bench");
    let config = bulkhead::Config::default().adaptive(true).adaptive_min(8);
    bulkhead.reconfigure(config).expect("these settings are within their ranges");
    bulkhead
}

#[resilient(bulkhead("bench: adaptive", adaptive(min = 8)))]
fn annotated_adaptive() -> Result<u64, Failed> {
    work(number())
}

#[resilient(bulkhead = "bench: timed", timeout = "10s")]
async fn annotated_timed() -> Result<u64, Failed> {
    work_async(number()).await
}

#[resilient(bulkhead("bench: adaptive, timed", adaptive(min = 8)), timeout = "10s")]
async fn annotated_adaptive_timed() -> Result<u64, Failed> {
    work_async(number()).await
}

fn adaptive() -> Group {
    let (ours, plain) = (finding(), bulkhead(64));
    let clock = Registry::new().clock().clone();
    let jobs = vec![
        Job::new("resilient, adaptive", move || {
            let bulkhead = Arc::clone(&ours);
            move || bulkhead.try_acquire().map(|permit| permit.settle(Verdict::Success)).is_ok()
        }),
        Job::new("resilient, a fixed limit, and two readings of the clock", move || {
            let (bulkhead, clock) = (Arc::clone(&plain), clock.clone());
            move || {
                let permit = bulkhead.try_acquire();
                let started = clock.now();
                (clock.now().since(started), permit.map(|permit| permit.settle(Verdict::Success)).is_ok())
            }
        }),
        Job::new("resilient, a fixed limit", {
            let plain = bulkhead(64);
            move || {
                let bulkhead = Arc::clone(&plain);
                move || bulkhead.try_acquire().map(|permit| permit.settle(Verdict::Success)).is_ok()
            }
        }),
    ];
    Group::new("Bulkhead that finds its limit, a permit taken and settled", jobs)
        .goals([
            Goal::Above("resilient, a fixed limit", 15.0),
            Goal::NoAllocation,
        ])
        .note("The limit needs to know how long a call takes: most of what it costs are two readings of the clock.")
        .shared()
}

fn adaptive_attribute() -> Group {
    let jobs = vec![
        Job::new("resilient, adaptive, with a timeout", || || run(annotated_adaptive_timed())),
        Job::new("resilient, a fixed limit, with a timeout", || || run(annotated_timed())),
        Job::new("resilient, adaptive", || annotated_adaptive),
        Job::new("resilient, a fixed limit", || annotated),
    ];
    Group::new("Bulkhead that finds its limit, by attribute", jobs)
        .goals([Goal::Above("resilient, a fixed limit, with a timeout", 15.0), Goal::NoAllocation])
        .note("A timeout needs the time anyway, and the stages share it. Without one the clock is read for the limit alone.")
}

fn full() -> Group {
    let (ours, theirs) = (bulkhead(1), Arc::new(Semaphore::new(0)));
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let bulkhead = Arc::clone(&ours);
            // Held for ever by each thread that finds it free, and so by the first.
            std::mem::forget(bulkhead.try_acquire());
            move || bulkhead.call(|| work::<Failed>(number()))
        }),
        Job::new("`tokio::sync::Semaphore`", move || {
            let semaphore = Arc::clone(&theirs);
            move || semaphore.try_acquire().map_err(|_| BodyError).and_then(|_permit| work(number()))
        }),
    ];
    Group::new("Bulkhead, full: a refusal", jobs)
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("Ours counts the refusal, and its error says of which bulkhead it is.")
}

/// With two threads of its own, and no queue.
fn pool() -> Arc<Bulkhead> {
    let bulkhead = Registry::new().bulkhead("bench");
    let config = bulkhead::Config::default().threads(2);
    bulkhead.reconfigure(config).expect("these settings are within their ranges");
    bulkhead
}

#[resilient(bulkhead("bench: threads", threads = 2))]
fn on_a_thread() -> Result<u64, Failed> {
    work(number())
}

#[resilient(bulkhead("bench: threads, asynchronous", threads = 2))]
async fn on_a_thread_async() -> Result<u64, Failed> {
    work(number())
}

/// What tokio has for blocking work.
fn spawn_blocking() -> Result<u64, Failed> {
    let spawned = tokio::task::spawn_blocking(|| work(number()));
    Handle::current().block_on(spawned).unwrap_or(Err(Failed::Body))
}

fn threads() -> Group {
    let ours = pool();
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let bulkhead = Arc::clone(&ours);
            move || bulkhead.call_in_threads(|| work::<Failed>(number()))
        }),
        Job::new("resilient, attribute", || on_a_thread),
        Job::new("`tokio::task::spawn_blocking`, blocked on", || spawn_blocking),
    ];
    Group::new("Bulkhead with threads, to one and back", jobs)
        .goals([Goal::Times(1.2, "`tokio::task::spawn_blocking`, blocked on")])
        .note("Two changes of threads: what the system takes for those is nearly all of it. Tokio has no bound on what waits, and no priorities.")
}

fn threads_async() -> Group {
    let ours = pool();
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let bulkhead = Arc::clone(&ours);
            move || Handle::current().block_on(bulkhead.call_in_threads_async(|| work::<Failed>(number())))
        }),
        Job::new("resilient, attribute", || || Handle::current().block_on(on_a_thread_async())),
        Job::new("`tokio::task::spawn_blocking`", || spawn_blocking),
    ];
    Group::new("Bulkhead with threads, to one and back, asynchronous", jobs)
        .goals([Goal::Times(1.2, "`tokio::task::spawn_blocking`")])
        .note("Awaited on a thread that has nothing else to do.")
}

fn threads_full() -> Group {
    let ours = pool();
    // Held for ever.
    (0..2).for_each(|_| std::mem::forget(ours.try_acquire()));
    let pipeline = {
        let registry = Registry::new();
        let config = bulkhead::Config::default().threads(1);
        registry.bulkhead("bench").reconfigure(config).expect("these settings are within their ranges");
        std::mem::forget(registry.bulkhead("bench").try_acquire());
        Arc::new(registry.pipeline("bench").bulkhead("bench").build())
    };
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let bulkhead = Arc::clone(&ours);
            move || bulkhead.call_in_threads(|| work::<Failed>(number()))
        }),
        Job::new("resilient, builder, with its statistics", move || {
            let pipeline = Arc::clone(&pipeline);
            move || pipeline.request().call_in_threads(|| work::<Failed>(number()))
        }),
    ];
    Group::new("Bulkhead with threads, full: a refusal", jobs)
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("The work goes back to who brought it, and to no thread.")
}
