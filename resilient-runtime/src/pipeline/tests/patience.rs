//! A call that ended only because an outer deadline passed is not counted against the dependency.

use super::*;
use crate::clock::Clock;
use crate::deadline::{self, Deadline};

fn registry() -> Registry {
    let registry = Registry::with_seed(Clock::tokio(), 7);
    let breaker = circuit_breaker::Config::default().failure_threshold(2).open_for(MS(1000));
    registry.circuit_breaker("x").reconfigure(breaker).unwrap();
    registry.timeout("x").reconfigure(timeout::Config::default().attempt(MS(400))).unwrap();
    registry
}

fn soon(millis: u64) -> Deadline {
    Deadline::after_on(&Clock::tokio(), MS(millis))
}

async fn slow() -> Outcome {
    tokio::time::sleep(MS(50)).await;
    Ok(1)
}

#[tokio::test(start_paused = true)]
async fn short_outer_deadlines_do_not_open_the_circuit() {
    let registry = registry();
    let pipeline = registry.pipeline("op").circuit_breaker("x").timeout("x").build();
    for _ in 0..20 {
        let outcome = soon(5).scope_async(pipeline.call_async(slow)).await;
        let Err(Error::Rejected(rejection)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(rejection.kind(), RejectionKind::TotalTimeout);
    }
    let stats = registry.circuit_breaker("x").stats();
    assert_eq!((stats.state, stats.window.calls, stats.window.failed), (State::Closed, 0, 0));
    assert_eq!(pipeline.call_async(slow).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_nested_timeout_by_the_outer_deadline_does_not_count() {
    let registry = registry();
    let pipeline = registry.pipeline("op").circuit_breaker("x").build();
    let inner = registry.pipeline("inner").timeout("x").build();
    for _ in 0..5 {
        let nested = soon(5).scope_async(
            pipeline.request().judge(Verdict::by_class).call_async(async || inner.call_async(slow).await),
        );
        assert!(nested.await.is_err());
        let read = soon(5).scope_async(
            pipeline.request().judge(Verdict::by_class).call_async(async || deadline::read(slow()).await),
        );
        assert!(read.await.is_err());
    }
    let stats = registry.circuit_breaker("x").stats();
    assert_eq!((stats.state, stats.window.failed), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn a_late_error_of_the_dependency_counts() {
    let registry = registry();
    let pipeline = registry.pipeline("op").circuit_breaker("x").build();
    for _ in 0..2 {
        let down = async || -> Outcome {
            tokio::time::sleep(MS(50)).await;
            Err(Error::Down)
        };
        let judged = pipeline.request().judge(Verdict::by_class).call_async(down);
        assert!(soon(5).scope_async(judged).await.is_err());
    }
    assert_eq!(registry.circuit_breaker("x").state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn the_calls_own_limits_count_within_an_outer_deadline_too() {
    let registry = registry();
    let pipeline = registry.pipeline("op").circuit_breaker("x").timeout("x").build();
    let hangs = std::future::pending::<Outcome>;
    // A deadline at the same time as the attempt timeout, then one far away.
    assert!(soon(400).scope_async(pipeline.call_async(hangs)).await.is_err());
    assert!(soon(10_000).scope_async(pipeline.call_async(hangs)).await.is_err());
    assert_eq!(registry.circuit_breaker("x").state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_counts_at_the_outer_deadline() {
    let registry = registry();
    let slow_call = circuit_breaker::Config::default().failure_threshold(2).slow_call(MS(100));
    registry.circuit_breaker("x").reconfigure(slow_call).unwrap();
    let pipeline = registry.pipeline("op").circuit_breaker("x").timeout("x").build();
    for millis in [50, 50, 200, 200] {
        assert!(
            soon(millis).scope_async(pipeline.call_async(std::future::pending::<Outcome>)).await.is_err()
        );
    }
    let stats = registry.circuit_breaker("x").stats();
    assert_eq!((stats.state, stats.window.failed), (State::Open, 2));
}

#[tokio::test(start_paused = true)]
async fn a_probe_ended_by_an_outer_deadline_returns_its_permit() {
    // T4, T6
    let registry = registry();
    let one = circuit_breaker::Config::default().failure_threshold(1).open_for(MS(1000)).half_open_calls(1);
    registry.circuit_breaker("x").reconfigure(one.open_jitter(Ratio::ZERO)).unwrap();
    let pipeline = registry.pipeline("op").circuit_breaker("x").timeout("x").build();
    assert!(pipeline.call_async(async || Outcome::Err(Error::Down)).await.is_err());
    tokio::time::advance(MS(1000)).await;
    for _ in 0..3 {
        assert!(soon(5).scope_async(pipeline.call_async(slow)).await.is_err());
        assert_eq!(registry.circuit_breaker("x").state(), State::HalfOpen);
    }
    assert_eq!(pipeline.call_async(slow).await.unwrap(), 1, "a probe is available");
    assert_eq!(registry.circuit_breaker("x").state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_outer_deadline_does_not_change_adaptive_limits() {
    let registry = registry();
    let adaptive = timeout::Config::default().adaptive(true).attempt(MS(400));
    registry.timeout("x").reconfigure(adaptive).unwrap();
    registry.bulkhead("x").reconfigure(bulkhead::Config::default().adaptive(true)).unwrap();
    registry.load_shedder("x").reconfigure(crate::load_shed::Config::default().throttle(true)).unwrap();
    let stages = registry.pipeline("op").timeout("x").bulkhead("x").load_shed("x").hedge("x").idempotent();
    let pipeline = stages.build();
    for _ in 0..200 {
        assert!(soon(5).scope_async(pipeline.call_async(slow)).await.is_err());
    }
    assert_eq!(registry.timeout("x").stats().adaptive.unwrap().samples, 0);
    assert_eq!(registry.hedge("x").stats().attempts.measured, 0);
    assert_eq!(registry.load_shedder("x").stats().classes.normal.shed, 0);
    assert_eq!(registry.bulkhead("x").stats().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn an_outer_deadline_does_not_change_an_adaptive_timeout_without_a_pipeline() {
    let registry = registry();
    let timeout = registry.timeout("x");
    timeout.reconfigure(timeout::Config::default().adaptive(true).attempt(MS(400))).unwrap();
    assert!(soon(5).scope_async(timeout.call_async(slow)).await.is_err());
    assert_eq!(timeout.stats().adaptive.unwrap().samples, 0);
    assert!(timeout.call_async(std::future::pending::<Outcome>).await.is_err());
    assert_eq!(timeout.stats().adaptive.unwrap().samples, 1);
}
