//! Hedged calls: several concurrent attempts.

use std::future::Future;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::hedge;

fn registry() -> Registry {
    let registry = Registry::with_seed(Clock::tokio(), 7);
    registry.hedge("x").reconfigure(hedge::Config::default().after(MS(50))).unwrap();
    registry.bulkhead("x").reconfigure(bulkhead::Config::default().max_concurrent(2)).unwrap();
    registry.timeout("x").reconfigure(timeout::Config::default().total(MS(500)).attempt(MS(200))).unwrap();
    registry
}

fn pipeline(registry: &Registry) -> Pipeline {
    let stages = registry.pipeline("op").hedge("x").circuit_breaker("x").bulkhead("x").timeout("x");
    stages.idempotent().build()
}

/// Each attempt runs the next step of the script.
fn script(turns: &[(u64, u32)]) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>> {
    let turns = turns.to_vec();
    let mut sent = 0;
    move || {
        let (millis, answer) = turns[sent];
        sent += 1;
        Box::pin(async move {
            tokio::time::sleep(MS(millis)).await;
            if answer == 0 { Err(Error::Down) } else { Ok(answer) }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_losing_attempt_is_not_counted_and_releases_its_permit() {
    // T78, T80
    let registry = registry();
    let pipeline = pipeline(&registry);
    let outcome = pipeline.call_async(script(&[(180, 1), (10, 2)])).await;
    assert_eq!(outcome.unwrap(), 2);
    assert_eq!(registry.bulkhead("x").stats().in_use, 0);
    let breaker = registry.circuit_breaker("x").stats();
    assert_eq!((breaker.window.calls, breaker.window.failed), (1, 0), "{breaker:?}");
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.succeeded, stats.in_flight), (1, 1, 0), "one call, one outcome (T130)");
    assert_eq!(registry.hedge("x").stats().won, 1);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_judged_by_the_circuit_breaker() {
    // T77
    let registry = registry();
    let outcome = pipeline(&registry).call_async(script(&[(10, 0), (10, 2)])).await;
    assert_eq!(outcome.unwrap(), 2);
    let breaker = registry.circuit_breaker("x").stats();
    assert_eq!((breaker.window.calls, breaker.window.failed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_hedge_does_not_end_the_call() {
    let registry = registry();
    registry.bulkhead("x").reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let outcome = pipeline(&registry).call_async(script(&[(100, 1), (10, 2)])).await;
    assert_eq!(outcome.unwrap(), 1, "there was no second permit");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_times_out_leaves_the_other_running() {
    let registry = registry();
    let outcome = pipeline(&registry).call_async(script(&[(1000, 1), (190, 2)])).await;
    assert_eq!(outcome.unwrap(), 2);
    assert_eq!(registry.timeout("x").stats().attempt_timeouts, 1);
    assert_eq!(registry.bulkhead("x").stats().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn the_total_ends_all_attempts() {
    // T66
    let registry = registry();
    registry.timeout("x").reconfigure(timeout::Config::default().total(MS(120))).unwrap();
    let pipeline = pipeline(&registry);
    let began = tokio::time::Instant::now();
    let outcome = pipeline.call_async(script(&[(1000, 1), (1000, 2)])).await;
    let Err(Error::Rejected(rejection)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(rejection.kind(), RejectionKind::TotalTimeout);
    assert!((MS(120)..MS(125)).contains(&began.elapsed()));
    assert_eq!((pipeline.stats().timed_out, registry.bulkhead("x").stats().in_use), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_follows_all_attempts_and_uses_the_same_budget() {
    // T81
    let registry = registry();
    registry.retry("x").reconfigure(retry::Config::default().base(MS(1)).max(1)).unwrap();
    let stages = registry.pipeline("op").hedge("x").retry("x").idempotent().build();
    // The first attempt is slow and hedged; both fail and are retried once.
    let outcome = stages.call_async(script(&[(60, 0), (20, 0), (1, 7)])).await;
    assert_eq!(outcome.unwrap(), 7);
    let budget = registry.retry("x").budget().stats();
    assert_eq!(budget.withdrawn, 2, "a hedge and a retry: {budget:?}");
    assert_eq!(registry.hedge("x").stats().sent, 1);
    assert_eq!(stages.stats().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_time_releases_everything() {
    // T146
    for millis in [0, 1, 49, 51, 120, 199, 201, 249] {
        let registry = registry();
        let pipeline = pipeline(&registry);
        let call = pipeline.call_async(script(&[(1000, 1), (1000, 2)]));
        let cut = tokio::time::timeout(Duration::from_millis(millis), call).await;
        assert!(cut.is_err());
        assert_eq!(registry.bulkhead("x").stats().in_use, 0, "after {millis} ms");
        let stats = pipeline.stats();
        assert_eq!((stats.cancelled, stats.in_flight), (1, 0), "{stats:?}");
        let failed = registry.circuit_breaker("x").stats().window.failed;
        assert_eq!(failed, u64::from(millis > 200), "only an attempt that timed out");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_an_attempt_is_a_failure_and_is_counted_once() {
    // T83, T147
    let registry = registry();
    let pipeline = std::sync::Arc::new(pipeline(&registry));
    let own = std::sync::Arc::clone(&pipeline);
    let call = tokio::spawn(async move {
        let mut sent = 0;
        let work = || {
            sent += 1;
            let is_first = sent == 1;
            async move {
                tokio::time::sleep(MS(60)).await;
                if is_first { std::panic::resume_unwind(Box::new("on purpose")) } else { Outcome::Ok(1) }
            }
        };
        own.call_async(work).await
    });
    assert!(call.await.unwrap_err().is_panic());
    let stats = pipeline.stats();
    assert_eq!((stats.panicked, stats.in_flight, stats.calls), (1, 0, 1), "{stats:?}");
    assert_eq!(registry.bulkhead("x").stats().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ended_by_the_total_timeout_counts_for_the_percentile() {
    let registry = registry();
    registry.hedge("x").reconfigure(hedge::Config::default()).unwrap();
    registry.timeout("x").reconfigure(timeout::Config::default().total(MS(120))).unwrap();
    let pipeline = registry.pipeline("op").hedge("x").timeout("x").idempotent().build();
    for _ in 0..110 {
        assert!(pipeline.call_async(script(&[(1000, 1), (1000, 2)])).await.is_err());
    }
    let stats = registry.hedge("x").stats();
    assert_eq!(stats.attempts.measured, 110 + stats.sent);
    assert!((MS(115)..MS(126)).contains(&stats.attempts.p50), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn at_saturation_hedges_are_a_tenth_of_the_calls() {
    // T81: on the budget of the retry: a tenth of the calls, and the reserve at the start.
    let registry = registry();
    registry.timeout("x").reconfigure(timeout::Config::default()).unwrap();
    registry.retry("x").reconfigure(retry::Config::default().budget_reserve(0.0)).unwrap();
    let pipeline = registry.pipeline("op").hedge("x").retry("x").idempotent().build();
    for _ in 0..1000 {
        pipeline.call_async(script(&[(60, 1), (60, 2)])).await.unwrap();
    }
    let stats = registry.hedge("x").stats();
    assert!((100..=130).contains(&stats.sent), "{stats:?}");
    assert_eq!(stats.sent + stats.denied_by_budget, 1000);
}
