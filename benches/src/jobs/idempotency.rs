use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::clock::ManualClock;
use resilient_runtime::idempotency::{Config, Fingerprint};
use resilient_runtime::{Component, Idempotency, Pipeline, Registry, Rejection, resilient};

use super::own_key;
use crate::body::{number, run};
use crate::harness::{Group, Job};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn groups() -> Vec<Group> {
    vec![replayed(), carried_out()]
}

type Answer = Result<u64, Rejection>;

fn work(n: u64) -> Answer {
    crate::body::work(n)
}

#[resilient(idempotent(key = id))]
async fn annotated(id: u64) -> Answer {
    crate::body::work_async(id).await
}

#[resilient(registry = registry, idempotent(key = id, ttl = "1s", fingerprint = none))]
async fn forgotten(registry: &Registry, id: u64) -> Answer {
    crate::body::work_async(id).await
}

fn once(registry: &Registry, ttl: Duration) -> Arc<Idempotency> {
    let once = registry.idempotency("bench");
    once.reconfigure(Config::default().ttl(ttl)).expect("a setting within its range");
    once
}

fn replayed() -> Group {
    let by_hand = once(&Registry::new(), Duration::from_hours(1));
    let built = Arc::new(Pipeline::builder("bench: replayed").idempotency("bench: replayed").build());
    let jobs = vec![
        Job::new("resilient, component", move || {
            let (once, key) = (Arc::clone(&by_hand), own_key().to_string());
            move || once.call(&key, Fingerprint::NONE, || work(number()))
        }),
        Job::new("resilient, builder", move || {
            let (pipeline, key) = (Arc::clone(&built), own_key());
            move || pipeline.request().key(&key).call(|| work(number()))
        }),
        Job::new("resilient, attribute, asynchronous", || {
            let key = own_key();
            move || run(annotated(key))
        }),
    ];
    Group::new("Idempotency in memory, a replayed result", jobs)
        .note("Includes formatting the key and deserializing the stored result.")
        .shared()
}

fn carried_out() -> Group {
    // Time passes between calls, so that the record of the previous call has expired.
    let jobs = vec![
        Job::new("resilient, component", move || {
            let time = ManualClock::new();
            let once = once(&Registry::with_clock(time.clock()), SECOND);
            let key = own_key().to_string();
            move || {
                time.advance(2 * SECOND);
                once.call(&key, Fingerprint::NONE, || work(number()))
            }
        }),
        Job::new("resilient, attribute, asynchronous", || {
            let time = ManualClock::new();
            let registry = Registry::with_clock(time.clock());
            let key = own_key();
            move || {
                time.advance(2 * SECOND);
                run(forgotten(&registry, key))
            }
        }),
    ];
    Group::new("Idempotency in memory, an executed call", jobs)
        .note(
            "Includes claiming the key and serializing the result. The record expires before the next call.",
        )
        .shared()
}
