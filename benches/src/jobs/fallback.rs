use std::sync::Arc;

use resilient_runtime::fallback::{Chain, Level};
use resilient_runtime::{Degradation, Registry, resilient};
use tower::{Layer, Service, ServiceExt};
use tower_resilience::fallback::FallbackLayer;

use super::each;
use crate::body::{BodyError, Failed, number, run, work};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![group(false), group(true), kept(), served()]
}

#[resilient(fallback(local_cache(max_age = "10m", key = id), default = Ok(0)), name = "bench: kept")]
fn keeps(id: u64, fail: bool) -> Result<u64, Failed> {
    body(fail, Failed::Body).map(|n| n ^ id)
}

#[resilient(fallback(replica = Err(Failed::Body), backup = Ok(id)), name = "bench: levels")]
fn second_level(id: u64) -> Result<u64, Failed> {
    body(true, Failed::Body)
}

#[resilient(fallback(replica = Err(Failed::Body), backup = std::future::ready(Ok(id)).await), name = "bench: levels later")]
async fn second_level_async(id: u64) -> Result<u64, Failed> {
    body(true, Failed::Body)
}

/// A thousand keys, used in sequence.
const KEYS: u64 = 1000;

fn kept() -> Group {
    let jobs = vec![
        Job::new("resilient, attribute", || || keeps(7, false)),
        Job::new("resilient, attribute, of 1000 keys", || {
            let mut key = 0;
            move || {
                key = (key + 1) % KEYS;
                keeps(key, false)
            }
        }),
        Job::new("resilient, attribute, without the cache", || || annotated(false)),
    ];
    Group::new("Fallback, not needed, result cached", jobs)
        .goals([Goal::NoAllocation])
        .note("Only functions with a built-in `local_cache` have this cost: two hashes of the key, a copy, and one of sixteen locks.")
        .shared()
}

fn served() -> Group {
    let jobs = vec![
        Job::new("resilient, from the local cache", || {
            // Stores a value, which the fallback then serves.
            let known = keeps(7, false).is_ok();
            move || (known, keeps(7, true))
        }),
        Job::new("resilient, second level", || || second_level(1)),
        Job::new("resilient, second level, asynchronous", || || run(second_level_async(1))),
        Job::new("resilient, second level, collected", || || Degradation::collect(|| second_level(1))),
        Job::new("resilient, default", || || annotated(true)),
    ];
    Group::new("Fallback, used, by level", jobs)
        .note(
            "Includes statistics by level and an event for subscribers. `collected` also formats the reason.",
        )
        .shared()
}

#[resilient(fallback = Ok(0))]
fn annotated(fail: bool) -> Result<u64, Failed> {
    body(fail, Failed::Body)
}

fn body<E>(fail: bool, error: E) -> Result<u64, E> {
    if fail { Err(error) } else { work(number()) }
}

fn group(fail: bool) -> Group {
    let fallback = Registry::new().fallback("bench");
    let layer = FallbackLayer::<u64, u64, BodyError>::value(0);
    let service = each(layer.layer(tower::service_fn(move |_: u64| async move { body(fail, BodyError) })));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let fallback = Arc::clone(&fallback);
            move || fallback.call(|| body(fail, Failed::Body), || Chain::of(Level::Default, |_| Ok(0)))
        }),
        Job::new("resilient, attribute", move || move || annotated(fail)),
        Job::new("`Result::or`", move || move || body(fail, BodyError).or(Ok::<_, BodyError>(0))),
        Job::new("`tower-resilience`", move || {
            let mut service = service();
            move || run(async { service.ready().await.map_err(drop)?.call(number()).await.map_err(drop) })
        }),
    ];
    if fail {
        Group::new("Fallback, used", jobs)
            .note("Resilient counts fallbacks by level and emits an event for subscribers.")
    } else {
        Group::new("Fallback, not needed", jobs).goals([Goal::NoAllocation])
    }
    .shared()
}
