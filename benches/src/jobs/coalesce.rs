use std::sync::Arc;

use resilient_runtime::{Coalesce, Pipeline, Registry, Rejection, resilient};

use super::own_key;
use crate::body::{number, run};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![alone(), alone_async()]
}

type Answer = Result<u64, Rejection>;

fn work(n: u64) -> Answer {
    crate::body::work(n)
}

async fn work_async(n: u64) -> Answer {
    crate::body::work_async(n).await
}

fn coalesce() -> Arc<Coalesce> {
    Registry::new().coalesce("bench")
}

fn around() -> Arc<Pipeline> {
    Arc::new(Pipeline::builder("bench: coalesce").coalesce(coalesce()).build())
}

#[resilient(coalesce(key = id))]
fn annotated(id: u64) -> Answer {
    work(id)
}

#[resilient(coalesce(key = id))]
async fn annotated_async(id: u64) -> Answer {
    work_async(id).await
}

fn alone() -> Group {
    let (by_hand, built) = (coalesce(), around());
    let jobs = vec![
        Job::new("resilient, component", move || {
            let (coalesce, key) = (Arc::clone(&by_hand), own_key());
            move || coalesce.call(&key, || work(number()))
        }),
        Job::new("resilient, builder", move || {
            let (pipeline, key) = (Arc::clone(&built), own_key());
            move || pipeline.request().coalesce_key(&key).call(|| work(number()))
        }),
        Job::new("resilient, attribute", || {
            let key = own_key();
            move || annotated(key)
        }),
    ];
    Group::new("Coalesce, no concurrent call with the same key", jobs)
        .goals([Goal::NoAllocation])
        .note("Includes two keyed hashes of 64 bits, so that different keys do not collide, and a table lock before and after the work. The attribute and the builder include the statistics of the function.")
        .shared()
}

fn alone_async() -> Group {
    let (by_hand, built) = (coalesce(), around());
    let jobs = vec![
        Job::new("resilient, component", move || {
            let (coalesce, key) = (Arc::clone(&by_hand), own_key());
            move || run(coalesce.call_async(&key, async || work_async(number()).await))
        }),
        Job::new("resilient, builder", move || {
            let (pipeline, key) = (Arc::clone(&built), own_key());
            move || run(pipeline.request().coalesce_key(&key).call_async(|| work_async(number())))
        }),
        Job::new("resilient, attribute", || {
            let key = own_key();
            move || run(annotated_async(key))
        }),
    ];
    Group::new("Coalesce, no concurrent call with the same key, asynchronous", jobs)
        .goals([Goal::NoAllocation])
        .shared()
}
