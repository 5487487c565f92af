use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::{Component, Hedge, Pipeline, Registry, hedge, resilient};

use crate::body::{Failed, number, run, work_async, work_later};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![ready(), pending()]
}

fn fixed() -> Arc<Hedge> {
    let hedge = Registry::new().hedge("bench");
    let config = hedge::Config::default().after(Duration::from_secs(1));
    hedge.reconfigure(config).expect("these settings are within their ranges");
    hedge
}

fn around(hedge: &Arc<Hedge>) -> Arc<Pipeline> {
    Arc::new(Pipeline::builder("bench: hedge").hedge(hedge).idempotent().build())
}

#[resilient(hedge(after = "1s"), idempotent)]
async fn annotated() -> Result<u64, Failed> {
    work_async(number()).await
}

#[resilient(hedge(after = "1s"), idempotent)]
async fn annotated_later() -> Result<u64, Failed> {
    work_later(number()).await
}

fn ready() -> Group {
    let (by_delay, by_percentile, built) = (fixed(), Registry::new().hedge("bench"), around(&fixed()));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let hedge = Arc::clone(&by_delay);
            move || run(hedge.call_async(|| work_async::<Failed>(number())))
        }),
        Job::new("resilient, component, delay by percentile", move || {
            let hedge = Arc::clone(&by_percentile);
            move || run(hedge.call_async(|| work_async::<Failed>(number())))
        }),
        Job::new("resilient, builder", move || {
            let pipeline = Arc::clone(&built);
            move || run(pipeline.call_async(|| work_async::<Failed>(number())))
        }),
        Job::new("resilient, attribute", || || run(annotated())),
    ];
    Group::new("Hedge, not needed", jobs)
        .goals([Goal::NoAllocation])
        .note("The attribute and the builder include the statistics of the function. A delay by percentile measures each attempt, which reads the clock twice.")
        .shared()
}

fn pending() -> Group {
    let (by_delay, built) = (fixed(), around(&fixed()));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let hedge = Arc::clone(&by_delay);
            move || run(hedge.call_async(|| work_later::<Failed>(number())))
        }),
        Job::new("resilient, builder", move || {
            let pipeline = Arc::clone(&built);
            move || run(pipeline.call_async(|| work_later::<Failed>(number())))
        }),
        Job::new("resilient, attribute", || || run(annotated_later())),
        Job::new("`tokio::time::timeout` alone", || {
            || run(tokio::time::timeout(Duration::from_secs(1), work_later::<Failed>(number())))
        }),
    ];
    Group::new("Hedge, pending once: a timer is armed and cancelled", jobs)
        .goals([Goal::Above("`tokio::time::timeout` alone", 60.0), Goal::NoAllocation])
        .shared()
}
