use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::load_shed::Config;
use resilient_runtime::{Class, Component, LoadShedder, Priority, Registry, Verdict, resilient};
use tokio::sync::Semaphore;

use crate::body::{BodyError, Failed, number, work};
use crate::harness::{Goal, Group, Job};

const DOWN: Verdict = Verdict::Failure(Class::TRANSIENT);

pub(super) fn groups() -> Vec<Group> {
    vec![admitted(), shed()]
}

fn shedder(config: Config) -> Arc<LoadShedder> {
    let shedder = Registry::new().load_shedder("bench");
    shedder.reconfigure(config).expect("these settings are within their ranges");
    shedder
}

#[resilient(load_shed = "bench: attribute")]
fn annotated() -> Result<u64, Failed> {
    work(number())
}

fn admitted() -> Group {
    let job = |who: &'static str, config: Config| {
        let shedder = shedder(config);
        Job::new(who, move || {
            let shedder = Arc::clone(&shedder);
            move || shedder.try_acquire().map(|permit| permit.settle(Verdict::Success)).is_ok()
        })
    };
    let semaphore = Arc::new(Semaphore::new(64));
    let jobs = vec![
        job("resilient, a fixed limit", Config::default().adaptive(false).max_in_flight(100)),
        job("resilient, adaptive limit", Config::default()),
        job("resilient, client throttle", Config::default().adaptive(false).throttle(true)),
        Job::new("resilient, attribute", || annotated),
        Job::new("`tokio::sync::Semaphore`", move || {
            let semaphore = Arc::clone(&semaphore);
            move || semaphore.try_acquire().is_ok()
        }),
    ];
    Group::new("Load shedding, call admitted", jobs)
        .goals([Goal::NoAllocation])
        .note("Resilient reads the clock once with a fixed limit, otherwise twice. A semaphore has no priorities and measures no delays.")
        .shared()
}

/// A shedder that sheds all calls except critical ones for some minutes.
fn standing() -> Arc<LoadShedder> {
    let config = || Config::default().adaptive(false);
    let shedder = shedder(config().interval(Duration::from_millis(1)));
    while shedder.stats().shedding < Some(Priority::High) {
        shedder.waited(Duration::from_secs(1));
    }
    shedder.reconfigure(config().interval(Duration::from_mins(1))).expect("a setting within its range");
    shedder
}

fn shed() -> Group {
    let by_limit = shedder(Config::default().adaptive(false).max_in_flight(1));
    // Holds the permit forever.
    std::mem::forget(by_limit.try_acquire());
    let by_delay = standing();
    let by_throttle = shedder(
        Config::default()
            .adaptive(false)
            .throttle(true)
            .throttle_floor(resilient_runtime::Ratio::percent(1.0).unwrap_or(resilient_runtime::Ratio::ONE)),
    );
    for _ in 0..10_000 {
        let _ = by_throttle.try_acquire().map(|permit| permit.settle(DOWN));
    }
    let semaphore = Arc::new(Semaphore::new(0));
    let job = |who: &'static str, shedder: Arc<LoadShedder>| {
        Job::new(who, move || {
            let shedder = Arc::clone(&shedder);
            // Admitted calls fail; otherwise the throttle would soon admit all calls.
            move || shedder.call_judged(|| work::<Failed>(number()), |_| DOWN)
        })
    };
    let jobs = vec![
        job("resilient, in flight", by_limit),
        job("resilient, queue delay", by_delay),
        job("resilient, client throttle", by_throttle),
        Job::new("`tokio::sync::Semaphore`", move || {
            let semaphore = Arc::clone(&semaphore);
            move || semaphore.try_acquire().map_err(|_| BodyError).and_then(|_permit| work(number()))
        }),
    ];
    Group::new("Load shedding, call rejected", jobs)
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("Resilient counts the rejection by priority and rule, and returns a jittered retry-after time.")
}
