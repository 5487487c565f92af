use std::sync::Arc;

use resilient::fallback::{Chain, Level};
use resilient::{Registry, resilient};
use tower::{Layer, Service, ServiceExt};
use tower_resilience::fallback::FallbackLayer;

use super::each;
use crate::body::{BodyError, Failed, number, run, work};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![group(false), group(true)]
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
        Job::new("resilient, by hand", move || {
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
        Group::new("Fallback, used", jobs).note("Ours counts it, by level, and tells it to whoever listens.")
    } else {
        Group::new("Fallback, not needed", jobs).goals([Goal::NoAllocation])
    }
    .shared()
}
