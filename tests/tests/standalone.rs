//! Components without a registry.

use std::future::ready;
use std::io;
use std::time::Duration;

use resilient_runtime::circuit_breaker::State;
use resilient_runtime::clock::{Clock, ManualClock};
use resilient_runtime::fallback::{Chain, Level};
use resilient_runtime::health::Status;
use resilient_runtime::idempotency::{Fingerprint, MemoryStore};
use resilient_runtime::rate_limit::Rate;
use resilient_runtime::settings::Origin;
use resilient_runtime::{
    Bulkhead, CircuitBreaker, Coalesce, Component, ConfigError, Fallback, HealthCheck, Hedge, Idempotency,
    LoadShedder, RateLimiter, Registry, Rejection, RejectionKind, Retry, RetryBudget, Timeout, budget,
    bulkhead, circuit_breaker, coalesce, fallback, health, hedge, idempotency, load_shed, rate_limit, retry,
    timeout,
};

const ANSWER: fn() -> Result<u32, Rejection> = || Ok(7);

fn refused_as(kind: RejectionKind, outcome: Result<u32, Rejection>) {
    assert_eq!(outcome.unwrap_err().kind(), kind);
}

#[test]
fn a_circuit_breaker_opens() {
    let breaker = CircuitBreaker::new(circuit_breaker::Config::default().failure_threshold(1)).unwrap();
    assert_eq!(breaker.call(|| None::<u32>), None);
    assert_eq!(breaker.state(), State::Open);
    refused_as(RejectionKind::CircuitOpen, breaker.call(ANSWER));
    assert_eq!(breaker.stats().rejected, 1);
}

#[test]
fn a_rate_limiter_rejects() {
    let rate = Rate::new(1, Duration::from_hours(1)).unwrap();
    let limiter = RateLimiter::new(rate_limit::Config::default().rate(rate)).unwrap();
    assert!(limiter.call(ANSWER).is_ok());
    refused_as(RejectionKind::RateLimited, limiter.call(ANSWER));
}

#[test]
fn a_full_bulkhead_rejects() {
    let bulkhead = Bulkhead::new(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let _held = bulkhead.try_acquire().unwrap();
    refused_as(RejectionKind::BulkheadFull, bulkhead.call(ANSWER));
}

#[test]
fn a_load_shedder_sheds() {
    let config = load_shed::Config::default().max_in_flight(1).adaptive(false);
    let shedder = LoadShedder::new(config).unwrap();
    let _in_flight = shedder.try_acquire().unwrap();
    refused_as(RejectionKind::Shed, shedder.call(ANSWER));
}

#[test]
fn a_retry_uses_its_clock() {
    let config = retry::Config::default().max(2).base(Duration::from_hours(1)).max_delay(None);
    let time = ManualClock::new();
    let retry = Retry::with_name_and_clock("stock", time.clock(), config).unwrap();
    let mut answers = [None, None, Some(7)].into_iter();
    assert_eq!(retry.call(|| answers.next().flatten()), Some(7));
    assert_eq!((retry.name(), retry.stats().recovered), ("stock", 1));
}

#[test]
fn a_retry_budget_denies() {
    let budget = RetryBudget::new(budget::Config::default().reserve(0)).unwrap();
    (0..10).for_each(|_| budget.deposit());
    assert!(budget.try_withdraw(), "ten calls deposit one token");
    assert!(!budget.try_withdraw());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_cancels_a_call() {
    let config = timeout::Config::default().total(Duration::from_secs(5));
    let timeout = Timeout::with_name_and_clock("page", Clock::tokio(), config).unwrap();
    let outcome = timeout.call_async(std::future::pending).await;
    refused_as(RejectionKind::TotalTimeout, outcome);
    assert_eq!(timeout.stats().total_timeouts, 1);
}

#[tokio::test]
async fn a_hedge_sends_another_attempt() {
    let hedge = Hedge::new(hedge::Config::default()).unwrap();
    let mut replicas = [None, Some("row")].into_iter();
    assert_eq!(hedge.call_async(|| ready(replicas.next().flatten())).await, Some("row"));
    assert_eq!(hedge.stats().sent, 1);
}

#[tokio::test]
async fn coalescing_shares_one_call() {
    let coalesce = Coalesce::new(coalesce::Config::default()).unwrap();
    let work = async || {
        tokio::task::yield_now().await;
        Some(7)
    };
    let both = tokio::join!(coalesce.call_async("Oslo", work), coalesce.call_async("Oslo", work));
    assert_eq!((both, coalesce.stats().led), ((Some(7), Some(7)), 1));
}

#[test]
fn idempotency_replays_a_result() {
    let once = Idempotency::new(idempotency::Config::default()).unwrap();
    let mail = |id: u32| once.call("ada", Fingerprint::NONE, || Some(id));
    assert_eq!((mail(1), mail(2)), (Some(1), Some(1)));
    let store = std::sync::Arc::new(MemoryStore::new(Clock::system(), 10));
    once.set_store(store.clone());
    once.call("ada", Fingerprint::NONE, || Some(3));
    assert_eq!(store.len(), 1);
}

#[test]
fn a_fallback_replaces_a_failure() {
    let fallback = Fallback::new(fallback::Config::default()).unwrap();
    let grey = || Chain::of(Level::Default, |_| Some("grey.png"));
    assert_eq!(fallback.call(|| None, grey), Some("grey.png"));
    assert_eq!(fallback.stats().levels[&Level::Default].served, 1);
}

#[tokio::test]
async fn a_health_check_calls_its_probe() {
    let disk = HealthCheck::new(health::Config::default().failures(1)).unwrap();
    disk.probe(|| ready(Err(io::Error::other("no space left"))));
    let stats = disk.check().await;
    assert_eq!((stats.status, stats.output.as_deref()), (Status::Fail, Some("no space left")));
}

#[test]
fn an_invalid_configuration_is_rejected_with_all_its_problems() {
    let config = || bulkhead::Config::default().max_concurrent(0).max_queue(9);
    let refused = Bulkhead::new(config()).unwrap_err();
    assert_eq!(Registry::new().bulkhead("x").reconfigure(config()), Err(refused.clone()));
    assert_eq!(refused.problems().len(), 2, "{refused}");
}

#[test]
fn a_setting_that_names_a_component_of_a_registry_is_rejected() {
    fn field<C: Component>(made: Result<C, ConfigError>) -> &'static str {
        made.err().unwrap().problems()[0].field
    }
    assert_eq!(field(Retry::new(retry::Config::default().budget("shared"))), "budget");
    assert_eq!(field(Idempotency::new(idempotency::Config::default().store("shared"))), "store");
    assert!(Retry::new(retry::Config::default().budget("off")).is_ok());
}

#[test]
fn a_component_without_a_registry_works_like_one_of_a_registry() {
    let breaker = CircuitBreaker::new(circuit_breaker::Config::default().min_calls(3)).unwrap();
    assert_eq!(breaker.name(), "circuit_breaker");
    let changed: Vec<_> =
        breaker.effective().into_iter().filter(|set| set.origin != Origin::Default).collect();
    assert_eq!((changed.len(), changed[0].field, changed[0].origin), (1, "min_calls", Origin::Runtime));
    breaker.reconfigure(circuit_breaker::Config::default()).unwrap();
    breaker.reset();
    let nameless =
        CircuitBreaker::with_name_and_clock("", Clock::system(), circuit_breaker::Config::default());
    assert_eq!(nameless.unwrap().name(), "(empty)", "a name is never rejected");
}

#[test]
fn a_component_without_a_registry_can_be_a_stage_of_a_pipeline() {
    let bulkhead = Bulkhead::new(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let bulkhead = std::sync::Arc::new(bulkhead);
    let pipeline = Registry::new().pipeline("order").bulkhead(&bulkhead).build();
    let _held = bulkhead.try_acquire().unwrap();
    refused_as(RejectionKind::BulkheadFull, pipeline.call(ANSWER));
}
