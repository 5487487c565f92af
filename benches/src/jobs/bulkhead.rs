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
        Job::new("resilient, component", move || {
            let bulkhead = Arc::clone(&ours);
            move || bulkhead.try_acquire().is_ok()
        }),
        Job::new("resilient, attribute", || annotated),
        Job::new("`tokio::sync::Semaphore`", move || {
            let semaphore = Arc::clone(&theirs);
            move || semaphore.try_acquire().is_ok()
        }),
    ];
    Group::new("Bulkhead, permit acquired and released", jobs).in_readme()
        .goals([Goal::Times(1.2, "`tokio::sync::Semaphore`"), Goal::NoAllocation])
        .note("The attribute includes the statistics of the function. All cores write the same word for a permit, so that two threads alternate.")
        .shared()
}

fn permit_async() -> Group {
    let (ours, theirs) = (bulkhead(64), Arc::new(Semaphore::new(64)));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let bulkhead = Arc::clone(&ours);
            move || run(async { bulkhead.acquire().await.is_ok() })
        }),
        Job::new("`tokio::sync::Semaphore`", move || {
            let semaphore = Arc::clone(&theirs);
            move || run(async { semaphore.acquire().await.is_ok() })
        }),
    ];
    Group::new("Bulkhead, permit acquired and released, asynchronous", jobs)
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
        Job::new("resilient, component", move || {
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

/// An adaptive bulkhead. It adapts its limit during the measurement, and never rejects a single caller.
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
    Group::new("Adaptive bulkhead, permit acquired and settled", jobs)
        .goals([Goal::Above("resilient, a fixed limit", 15.0), Goal::NoAllocation])
        .note(
            "An adaptive limit needs the duration of each call. Most of its cost is reading the clock twice.",
        )
        .shared()
}

fn adaptive_attribute() -> Group {
    let jobs = vec![
        Job::new("resilient, adaptive, with a timeout", || || run(annotated_adaptive_timed())),
        Job::new("resilient, a fixed limit, with a timeout", || || run(annotated_timed())),
        Job::new("resilient, adaptive", || annotated_adaptive),
        Job::new("resilient, a fixed limit", || annotated),
    ];
    Group::new("Adaptive bulkhead, attribute", jobs)
        .goals([Goal::Above("resilient, a fixed limit, with a timeout", 15.0), Goal::NoAllocation])
        .note("With a timeout, the stages share the readings of the clock. Without one, the clock is read only for the limit.")
}

fn full() -> Group {
    let (ours, theirs) = (bulkhead(1), Arc::new(Semaphore::new(0)));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let bulkhead = Arc::clone(&ours);
            // The first thread holds the permit forever.
            std::mem::forget(bulkhead.try_acquire());
            move || bulkhead.call(|| work::<Failed>(number()))
        }),
        Job::new("`tokio::sync::Semaphore`", move || {
            let semaphore = Arc::clone(&theirs);
            move || semaphore.try_acquire().map_err(|_| BodyError).and_then(|_permit| work(number()))
        }),
    ];
    Group::new("Bulkhead, full: rejection", jobs)
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("Resilient counts the rejection, and its error names the bulkhead.")
}

/// A bulkhead with two threads and no queue.
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

/// Tokio's function for blocking work.
fn spawn_blocking() -> Result<u64, Failed> {
    let spawned = tokio::task::spawn_blocking(|| work(number()));
    Handle::current().block_on(spawned).unwrap_or(Err(Failed::Body))
}

fn threads() -> Group {
    let ours = pool();
    let jobs = vec![
        Job::new("resilient, component", move || {
            let bulkhead = Arc::clone(&ours);
            move || bulkhead.call_in_threads(|| work::<Failed>(number()))
        }),
        Job::new("resilient, attribute", || on_a_thread),
        Job::new("`tokio::task::spawn_blocking`, blocked on", || spawn_blocking),
    ];
    Group::new("Bulkhead with threads, round trip", jobs)
        .goals([Goal::Times(1.2, "`tokio::task::spawn_blocking`, blocked on")])
        .note("Two thread switches of the operating system are nearly all of the cost. Tokio has no limit on waiting work, and no priorities.")
}

fn threads_async() -> Group {
    let ours = pool();
    let jobs = vec![
        Job::new("resilient, component", move || {
            let bulkhead = Arc::clone(&ours);
            move || Handle::current().block_on(bulkhead.call_in_threads_async(|| work::<Failed>(number())))
        }),
        Job::new("resilient, attribute", || || Handle::current().block_on(on_a_thread_async())),
        Job::new("`tokio::task::spawn_blocking`", || spawn_blocking),
    ];
    Group::new("Bulkhead with threads, round trip, asynchronous", jobs)
        .goals([Goal::Times(1.2, "`tokio::task::spawn_blocking`")])
        .note("Awaited on a thread that has nothing else to do.")
}

fn threads_full() -> Group {
    let ours = pool();
    // Holds the permits forever.
    (0..2).for_each(|_| std::mem::forget(ours.try_acquire()));
    let pipeline = {
        let registry = Registry::new();
        let config = bulkhead::Config::default().threads(1);
        registry.bulkhead("bench").reconfigure(config).expect("these settings are within their ranges");
        std::mem::forget(registry.bulkhead("bench").try_acquire());
        Arc::new(registry.pipeline("bench").bulkhead("bench").build())
    };
    let jobs = vec![
        Job::new("resilient, component", move || {
            let bulkhead = Arc::clone(&ours);
            move || bulkhead.call_in_threads(|| work::<Failed>(number()))
        }),
        Job::new("resilient, builder, with its statistics", move || {
            let pipeline = Arc::clone(&pipeline);
            move || pipeline.request().call_in_threads(|| work::<Failed>(number()))
        }),
    ];
    Group::new("Bulkhead with threads, full: rejection", jobs)
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("A rejected call returns the work to the caller without using a thread.")
}
