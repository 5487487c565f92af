//! Allocations: a successful call allocates nothing, whatever the stages.
//!
//! The benchmarks measure how long calls take; tests do not.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use resilient_runtime::clock::ManualClock;
use resilient_runtime::{Component, Pipeline, Registry, Rejection, circuit_breaker, rate_limit, resilient};

type Outcome = Result<u64, Rejection>;

#[resilient(
    circuit_breaker = "cost",
    retry("cost", max = 3),
    bulkhead = "cost",
    timeout("cost", total = "1s", attempt = "500ms"),
    fallback = expensive()
)]
async fn all(n: u64) -> Outcome {
    Ok(n + 1)
}

#[allow(clippy::unnecessary_wraps)] // must have the type of the function
fn expensive() -> Outcome {
    Ok(vec![0; 1000].len() as u64)
}

#[resilient(circuit_breaker = "cost", retry("cost", max = 3), bulkhead = "cost", fallback(default = expensive()))]
fn all_sync(n: u64) -> Outcome {
    Ok(n + 1)
}

#[resilient(
    circuit_breaker = "cost",
    fallback(local_cache(max_age = "10m", key = n), backup = expensive(), default = expensive())
)]
fn kept(n: u64) -> Outcome {
    Ok(n + 1)
}

#[resilient(retry("down", max = 3), fallback(replica = Err(unreachable()), default = Ok(0)))]
async fn down(n: u64) -> std::io::Result<u64> {
    Err(unreachable()).map(|()| n)
}

fn unreachable() -> std::io::Error {
    std::io::ErrorKind::Unsupported.into()
}

#[resilient(circuit_breaker("counted", window = 100, slow_call = "1s"))]
fn counted(n: u64) -> Outcome {
    Ok(n + 1)
}

/// Runs a future that is ready at its first poll.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is not ready"),
    }
}

/// Number of allocations of a thousand calls, after one call that does the one-time allocations.
fn allocations<T>(mut call: impl FnMut() -> T) -> u64 {
    call();
    measure(|| (0..1000).for_each(|_| drop(call()))).count_total
}

#[test]
fn a_successful_call_allocates_nothing() {
    assert_eq!(allocations(|| all_sync(1).unwrap()), 0);
    assert_eq!(allocations(|| ready(all(1)).unwrap()), 0);
    assert_eq!(allocations(|| counted(1).unwrap()), 0);
}

#[test]
fn updating_a_cached_value_and_using_a_default_allocate_nothing() {
    // T96
    assert_eq!(allocations(|| kept(1).unwrap()), 0);
    assert_eq!(allocations(|| ready(down(1)).unwrap()), 0);
}

#[test]
fn a_successful_call_of_a_pipeline_allocates_nothing() {
    let pipeline = Pipeline::builder("cost of a pipeline")
        .circuit_breaker("cost of a pipeline")
        .retry("cost of a pipeline")
        .bulkhead("cost of a pipeline")
        .timeout("cost of a pipeline")
        .build();
    assert_eq!(allocations(|| pipeline.call(|| Outcome::Ok(1)).unwrap()), 0);
    assert_eq!(allocations(|| ready(pipeline.call_async(async || Outcome::Ok(1))).unwrap()), 0);
}

#[test]
fn a_successful_call_of_nested_components_allocates_nothing() {
    let registry = Registry::new();
    let (breaker, bulkhead, retry) =
        (registry.circuit_breaker("x"), registry.bulkhead("x"), registry.retry("x"));
    let nested = || bulkhead.call(|| breaker.call(|| retry.call(|| Outcome::Ok(1))));
    assert_eq!(allocations(|| nested().unwrap()), 0);
}

#[test]
fn a_rejection_allocates_nothing() {
    let registry = Registry::new();
    let (breaker, bulkhead) = (registry.circuit_breaker("x"), registry.bulkhead("x"));
    breaker.force_open();
    assert_eq!(allocations(|| breaker.try_acquire().is_err()), 0);
    let one = resilient_runtime::bulkhead::Config::default().max_concurrent(1);
    bulkhead.reconfigure(one).unwrap();
    let _held = bulkhead.try_acquire().unwrap();
    assert_eq!(allocations(|| bulkhead.try_acquire().is_err()), 0);
    assert_eq!(allocations(|| bulkhead.call(|| Outcome::Ok(1)).is_err()), 0);
    let open = registry.pipeline("refused").circuit_breaker(&breaker).build();
    assert_eq!(allocations(|| open.call(|| Outcome::Ok(1)).is_err()), 0);
}

#[test]
fn a_load_shedder_allocates_nothing_whether_it_admits_or_sheds() {
    let registry = Registry::new();
    let shedder = registry.load_shedder("x");
    let config =
        resilient_runtime::load_shed::Config::default().throttle(true).target_latency(Duration::from_secs(1));
    shedder.reconfigure(config).unwrap();
    let pipeline = registry.pipeline("shed").load_shed("x").build();
    assert_eq!(allocations(|| shedder.try_acquire().unwrap().settle(resilient_runtime::Verdict::Success)), 0);
    assert_eq!(allocations(|| pipeline.call(|| Outcome::Ok(1)).unwrap()), 0);
    let full = resilient_runtime::load_shed::Config::default().adaptive(false).max_in_flight(1);
    shedder.reconfigure(full).unwrap();
    let _held = shedder.try_acquire().unwrap();
    assert_eq!(allocations(|| shedder.try_acquire().is_err()), 0);
    assert_eq!(allocations(|| pipeline.call(|| Outcome::Ok(1)).is_err()), 0);
}

#[test]
fn a_circuit_opened_by_failures_rejects_without_an_allocation() {
    // T26
    let registry = Registry::with_clock(ManualClock::new().clock());
    let breaker = registry.circuit_breaker("x");
    let config = circuit_breaker::Config::default().failure_threshold(1).open_for(Duration::from_secs(5));
    breaker.reconfigure(config).unwrap();
    let _ = breaker.call(|| Option::<()>::None);
    assert_eq!(allocations(|| breaker.try_acquire().is_err()), 0);
}

#[test]
fn the_future_of_four_stages_is_at_most_256_bytes_larger() {
    // T152
    #[allow(clippy::unused_async)] // comparable with the annotated function
    async fn bare(n: u64) -> Outcome {
        Ok(n + 1)
    }
    #[resilient(circuit_breaker = "size", retry(max = 3), bulkhead = "size", timeout = "1s")]
    async fn four(n: u64) -> Outcome {
        Ok(n + 1)
    }
    let (with, without) = (size_of_val(&four(1)), size_of_val(&bare(1)));
    assert!(with <= without + 256, "{with} bytes, {without} without the attribute");
}

#[resilient(
    circuit_breaker = "cost of all",
    retry("cost of all", max = 3),
    rate_limit("cost of all", rate = "1000000/s", key = n),
    bulkhead = "cost of all",
    timeout("cost of all", total = "1s"),
    hedge(after = "500ms"),
    idempotent,
    coalesce(key = n)
)]
async fn every_stage(n: u64) -> Outcome {
    Ok(n + 1)
}

#[test]
fn rate_limits_hedges_and_coalescing_allocate_nothing_if_they_do_not_act() {
    assert_eq!(allocations(|| ready(every_stage(1)).unwrap()), 0);
    let registry = Registry::new();
    let (limiter, hedge, coalesce) =
        (registry.rate_limiter("x"), registry.hedge("x"), registry.coalesce("x"));
    limiter.reconfigure(rate("1000000/s")).unwrap();
    assert_eq!(allocations(|| limiter.call(|| Outcome::Ok(1)).unwrap()), 0);
    assert_eq!(allocations(|| limiter.check_key("ada").allowed), 0);
    assert_eq!(allocations(|| ready(limiter.acquire()).is_ok()), 0);
    assert_eq!(allocations(|| ready(hedge.call_async(async || Outcome::Ok(1))).unwrap()), 0);
    assert_eq!(allocations(|| coalesce.call("k", || Outcome::Ok(1)).unwrap()), 0);
    assert_eq!(allocations(|| ready(coalesce.call_async("k", async || Outcome::Ok(1))).unwrap()), 0);
}

#[test]
fn a_rejection_by_a_rate_limit_allocates_nothing() {
    let limiter = Registry::new().rate_limiter("x");
    limiter.reconfigure(rate("1/day")).unwrap();
    assert!(limiter.try_acquire().is_ok() && limiter.try_acquire_key("ada").is_ok());
    assert_eq!(allocations(|| limiter.call(|| Outcome::Ok(1)).unwrap_err()), 0);
    assert_eq!(allocations(|| ready(limiter.acquire()).is_err()), 0);
    assert_eq!(allocations(|| limiter.try_acquire_key("ada").is_err()), 0);
    assert_eq!(allocations(|| limiter.check_key("ada").retry_after), 0);
}

fn rate(text: &str) -> rate_limit::Config {
    rate_limit::Config::default().rate(text.parse::<rate_limit::Rate>().unwrap())
}

#[test]
fn a_million_keys_take_at_most_48_bytes_each() {
    // T90
    const KEYS: u64 = 1_000_000;
    let limiter = Registry::new().rate_limiter("x");
    limiter.reconfigure(rate("1/h").max_keys(1_000_000)).unwrap();
    let mut admitted = 0;
    let held = measure(|| admitted = (0..KEYS).filter(|key| limiter.try_acquire_key(key).is_ok()).count());
    assert!(held.bytes_current.unsigned_abs() <= 48 * KEYS, "{} bytes", held.bytes_current);
    assert!(admitted > 999_000, "{} keys share an entry", 1_000_000 - admitted);
    // Further keys allocate nothing.
    let more = measure(|| (KEYS..2 * KEYS).for_each(|key| drop(limiter.try_acquire_key(&key))));
    assert_eq!(more.bytes_current, 0);
}
