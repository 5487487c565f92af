//! The effect of each argument of the attribute.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use resilient_runtime::clock::{Clock, ManualClock};
use resilient_runtime::{Component, Priority, Registry, Rejection, RejectionKind, resilient};

use crate::{E, flaky, tick};

#[test]
fn when_selects_the_errors_to_retry() {
    fn is_bad(error: &E) -> bool {
        *error == E::Bad
    }
    #[resilient(retry(max = 5, base = "0ms", when = is_bad))]
    fn call(calls: &Cell<u32>, text: &str) -> Result<u32, E> {
        flaky(calls, 3)?;
        Ok(text.parse()?)
    }
    let calls = Cell::new(0);
    assert_eq!(call(&calls, "7"), Ok(7));
    assert_eq!(calls.get(), 3);
    assert!(matches!(call(&calls, "x"), Err(E::Parse(_))));
    assert_eq!(calls.get(), 4, "a parse error is not retried");
}

#[test]
fn failure_counts_a_value_as_failed() {
    // T45: the last value is returned
    #[resilient(retry(max = 2, base = "0ms"), failure = |outcome| matches!(outcome, Ok(0..10)))]
    fn call(calls: &Cell<u32>, step: u32) -> Result<u32, E> {
        calls.set(calls.get() + step);
        Ok(calls.get())
    }
    assert_eq!(call(&Cell::new(0), 5), Ok(10));
    assert_eq!(call(&Cell::new(0), 1), Ok(3));
}

#[test]
fn attempts_includes_the_first_attempt() {
    // T45
    #[resilient(retry(attempts = 3, base = "0ms"))]
    fn call(calls: &Cell<u32>) -> Result<u32, E> {
        flaky(calls, 100)
    }
    let calls = Cell::new(0);
    assert_eq!(call(&calls), Err(E::Bad));
    assert_eq!(calls.get(), 3);
}

#[test]
fn map_err_converts_to_a_foreign_error() {
    #[resilient(registry = registry, circuit_breaker = "x", map_err = |_| std::fmt::Error)]
    fn call(registry: &Registry) -> Result<u32, std::fmt::Error> {
        Ok(1)
    }
    let registry = Registry::new();
    assert_eq!(call(&registry), Ok(1));
    registry.circuit_breaker("x").force_open();
    assert_eq!(call(&registry), Err(std::fmt::Error));
}

#[test]
fn priority_is_a_word_or_an_expression_over_the_arguments() {
    #[resilient(registry = registry, bulkhead("x", max_concurrent = 2, reserve(critical = 1)), priority = *class)]
    fn by_expression(registry: &Registry, class: &Priority) -> Result<u32, E> {
        Ok(1)
    }
    #[resilient(registry = registry, bulkhead = "x", priority = critical)]
    fn by_word(registry: &Registry) -> Result<u32, E> {
        Ok(2)
    }
    let registry = Registry::new();
    assert_eq!(by_expression(&registry, &Priority::Normal), Ok(1));
    let bulkhead = registry.bulkhead("x");
    let _held = bulkhead.try_acquire().unwrap();
    assert!(by_expression(&registry, &Priority::High).is_err(), "the last permit is reserved");
    assert_eq!(by_expression(&registry, &Priority::Critical), Ok(1));
    assert_eq!(by_word(&registry), Ok(2));
}

#[test]
fn name_sets_the_operation() {
    #[resilient(registry = registry, retry(max = 1), name = "named")]
    fn call(registry: &Registry) -> Result<u32, E> {
        Ok(1)
    }
    let registry = Registry::new();
    assert_eq!(call(&registry), Ok(1));
    assert_eq!(registry.stats().operations["named"].succeeded, 1);
    assert!(
        registry.stats().retry.contains_key("named"),
        "an unnamed component has the name of the operation"
    );
}

#[test]
fn each_registry_has_its_own_circuit_breaker() {
    // T158
    #[resilient(registry = registry, circuit_breaker("x", failure_threshold = 1))]
    fn call(registry: &Registry, up: bool) -> Result<u32, E> {
        if up { Ok(1) } else { Err(E::Bad) }
    }
    let (one, other) = (Registry::new(), Registry::new());
    assert_eq!(call(&one, false), Err(E::Bad));
    assert!(matches!(call(&one, true), Err(E::Rejected(_))));
    assert_eq!(call(&other, true), Ok(1));
    assert_eq!(one.sites().len(), 1);
}

mod renamed {
    pub(super) use resilient_runtime as other_name;
}

#[resilient(circuit_breaker = "renamed", crate = crate::arguments::renamed::other_name)]
fn under_another_path() -> Option<u32> {
    Some(1)
}

#[test]
fn the_crate_can_have_another_path() {
    assert_eq!(under_another_path(), Some(1));
}

#[test]
fn inline_settings_reach_the_components() {
    // T40
    #[resilient(
        registry = registry,
        circuit_breaker("x", failure_rate = "25%", window = 50, min_calls = 10, success_threshold = 2,
            open_for = "1m30s", open_max = "2m", half_open_calls = 4, slow_call = "250ms", slow_rate = 0.75),
        retry("x", max = 2, backoff = fibonacci, base = "5ms", factor = 3, max_delay = "1s", jitter = 0,
            max_elapsed = "10s", budget(ratio = 0.5, reserve = 7)),
        bulkhead("x", max_concurrent = 9, max_queue = 3, max_wait = "70ms", reserve(critical = 1, high = 2))
    )]
    fn call(registry: &Registry) -> Result<u32, E> {
        Ok(1)
    }
    let registry = Registry::new();
    assert_eq!(call(&registry), Ok(1));
    let breaker = registry.circuit_breaker("x").config();
    assert_eq!(breaker.failure_rate, resilient_runtime::Ratio::new(0.25));
    assert_eq!(breaker.window, resilient_runtime::circuit_breaker::Window::Count(50));
    assert_eq!((breaker.min_calls, breaker.success_threshold), (Some(10), Some(2)));
    assert_eq!((breaker.open_for, breaker.open_max), (Duration::from_secs(90), Some(Duration::from_mins(2))));
    assert_eq!(breaker.slow_call, Some(Duration::from_millis(250)));
    let retry = registry.retry("x").config();
    assert_eq!((retry.max, retry.backoff), (2, resilient_runtime::retry::Backoff::Fibonacci));
    assert_eq!((retry.base, retry.max_delay), (Duration::from_millis(5), Some(Duration::from_secs(1))));
    assert!((retry.budget_reserve - 7.0).abs() < f64::EPSILON && (retry.factor - 3.0).abs() < f64::EPSILON);
    assert_eq!(retry.max_elapsed, Some(Duration::from_secs(10)));
    let bulkhead = registry.bulkhead("x").config();
    assert_eq!((bulkhead.max_concurrent, bulkhead.max_queue), (9, 3));
    assert_eq!((bulkhead.reserve_critical, bulkhead.reserve_high), (1, 2));
    assert_eq!(bulkhead.max_wait, Some(Duration::from_millis(70)));
}

#[test]
fn the_attribute_checks_against_the_defaults_of_the_runtime() {
    // `validate.rs` of the attribute uses these for `open_max = ".."` and `reserve(..)` alone.
    assert_eq!(resilient_runtime::circuit_breaker::Config::default().open_for, Duration::from_secs(5));
    assert_eq!(resilient_runtime::bulkhead::Config::default().max_concurrent, 64);
}

#[test]
fn functions_share_a_budget_by_name() {
    // T40
    #[resilient(registry = registry, retry("one", max = 1, base = "0ms", budget = "shared"))]
    fn one(registry: &Registry) -> Result<u32, E> {
        Err(E::Bad)
    }
    #[resilient(registry = registry, retry("other", max = 1, base = "0ms", budget = "shared"))]
    fn other(registry: &Registry) -> Result<u32, E> {
        Err(E::Bad)
    }
    let registry = Registry::with_clock(ManualClock::new().clock());
    // With the default `free`, few calls need no tokens.
    let strict = resilient_runtime::budget::Config::default().free(0);
    registry.retry_budget("shared").reconfigure(strict).unwrap();
    for _ in 0..50 {
        assert!(one(&registry).is_err() && other(&registry).is_err());
    }
    let budget = &registry.stats().retry_budget["shared"];
    // 30 tokens of reserve and a tenth of a token for each of the 100 calls.
    assert!((38..=40).contains(&budget.withdrawn) && budget.denied >= 60, "{budget:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_and_attempts_time_out() {
    // T33, T64
    #[resilient(registry = registry, timeout(total = "1s", attempt = "300ms"), retry(max = 9, base = "0ms"), idempotent)]
    async fn call(registry: &Registry, calls: &AtomicU32) -> Result<u32, Rejection> {
        calls.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
    let registry = Registry::with_clock(Clock::tokio());
    let (calls, start) = (AtomicU32::new(0), tokio::time::Instant::now());
    let rejection = call(&registry, &calls).await.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::TotalTimeout);
    assert_eq!(calls.into_inner(), 4, "three attempts of 300 ms, and one of the remaining time");
    assert!((1000..1010).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(registry.stats().timeout.values().map(|timeout| timeout.attempt_timeouts).sum::<u64>(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_idempotent_a_timed_out_attempt_is_not_retried() {
    // T33
    #[resilient(registry = registry, timeout(attempt = "300ms"), retry(max = 9, base = "0ms"))]
    async fn call(registry: &Registry, calls: &AtomicU32) -> Result<u32, Rejection> {
        calls.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
    let registry = Registry::with_clock(Clock::tokio());
    let calls = AtomicU32::new(0);
    assert_eq!(call(&registry, &calls).await.unwrap_err().kind(), RejectionKind::AttemptTimeout);
    assert_eq!(calls.into_inner(), 1);
}

#[tokio::test(start_paused = true)]
async fn nested_functions_inherit_the_deadline() {
    // T66
    #[resilient(registry = registry, timeout = "50ms")]
    async fn outer(registry: &Registry) -> Result<u32, Rejection> {
        inner(registry).await
    }
    #[resilient(registry = registry, timeout = "1h", retry(max = 9, base = "40ms", jitter = 0))]
    async fn inner(registry: &Registry) -> Result<u32, Rejection> {
        tick().await;
        Err(registry.circuit_breaker("other").try_acquire().unwrap_err())
    }
    let registry = Registry::with_clock(Clock::tokio());
    registry.circuit_breaker("other").force_open();
    let start = tokio::time::Instant::now();
    assert!(outer(&registry).await.is_err());
    assert!(start.elapsed() <= Duration::from_millis(52), "{:?}", start.elapsed());
}

#[tokio::test]
async fn calls_wait_in_the_queue_of_a_bulkhead() {
    #[resilient(registry = registry, bulkhead("x", max_concurrent = 1, max_queue = 8, max_wait = "10s"))]
    async fn call(registry: &Registry, inside: &AtomicU32) -> Result<u32, Rejection> {
        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
        tick().await;
        inside.fetch_sub(1, Ordering::SeqCst);
        Ok(1)
    }
    let (registry, inside) = (Registry::new(), AtomicU32::new(0));
    let calls = (0..5).map(|_| call(&registry, &inside));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(registry.bulkhead("x").stats().waited, 4);
}
