use std::sync::Arc;
use std::time::Duration;

use resilient::idempotency::{Config, Fingerprint};
use resilient::{Component, Idempotency, Pipeline, Registry, Rejection, resilient};

use super::own_key;
use crate::body::{number, run};
use crate::harness::{Group, Job};

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

#[resilient(idempotent(key = id, ttl = "0s", fingerprint = none))]
async fn forgotten(id: u64) -> Answer {
    crate::body::work_async(id).await
}

fn once(ttl: Duration) -> Arc<Idempotency> {
    let once = Registry::new().idempotency("bench");
    once.reconfigure(Config::default().ttl(ttl)).expect("a setting within its range");
    once
}

fn replayed() -> Group {
    let by_hand = once(Duration::from_hours(1));
    let built = Arc::new(Pipeline::builder("bench: replayed").idempotency("bench: replayed").build());
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let (once, key) = (Arc::clone(&by_hand), own_key().to_string());
            move || once.call(&key, Fingerprint::NONE, || work(number()))
        }),
        Job::new("resilient, builder", move || {
            let (pipeline, key) = (Arc::clone(&built), own_key());
            move || pipeline.call_once(&key, Fingerprint::NONE, || work(number()))
        }),
        Job::new("resilient, attribute, asynchronous", || {
            let key = own_key();
            move || run(annotated(key))
        }),
    ];
    Group::new("Idempotency in memory, the answer of an earlier call", jobs)
        .note("The key is written as text, and the answer read from JSON.")
        .shared()
}

fn carried_out() -> Group {
    // The record goes with the call: else the store would fill while it is measured.
    let by_hand = once(Duration::ZERO);
    let jobs = vec![
        Job::new("resilient, by hand", move || {
            let (once, key) = (Arc::clone(&by_hand), own_key().to_string());
            move || once.call(&key, Fingerprint::NONE, || work(number()))
        }),
        Job::new("resilient, attribute, asynchronous", || {
            let key = own_key();
            move || run(forgotten(key))
        }),
    ];
    Group::new("Idempotency in memory, carried out", jobs)
        .note("Claimed, written as JSON, and kept for no time.")
        .shared()
}
