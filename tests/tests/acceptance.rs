//! Acceptance tests: the behaviour of each component, through the public API only. A good place to start reading.
//!
//! Each test shows one behaviour, with its own registry and clock. No test sleeps.
//!
//! There are 42 tests, as the specification requires. Its numbers per component add up to 41 (circuit breaker 6, retry
//! 4, retry budget 3, bulkhead 2, adaptive timeout 3, fallback chain 3, token bucket 3, sliding window 3, leaky bucket
//! 3, health 3, service 4, attribute 2, integration 2), therefore integration has 3 tests. The two tests of `chaos` are additional.
//!
//! The 15 principles of the specification, and the tests that demonstrate them (`component::test`):
//!
//! | principle | tests |
//! |---|---|
//! | no single point of failure | `fallback_chain::the_next_level_is_used_when_one_fails`, `integration::calls_succeed_with_degraded_results_in_an_outage` |
//! | fail fast | `circuit_breaker::an_open_circuit_rejects_without_a_call`, `bulkhead::a_full_bulkhead_rejects_at_once` |
//! | graceful degradation | `fallback_chain::the_result_of_a_level_is_marked_as_degraded`, `integration::calls_succeed_with_degraded_results_in_an_outage` |
//! | circuit breaker | `circuit_breaker` (all six) |
//! | bulkhead isolation | `bulkhead::a_slow_dependency_does_not_use_the_permits_of_others` |
//! | exponential backoff | `retry::delays_double_and_are_jittered_by_half` |
//! | timeout everything | `adaptive_timeout` (all three), `integration::one_deadline_covers_all_nested_calls` |
//! | health checks | `health` (all three) |
//! | idempotency | `integration::a_repeated_request_is_executed_once` |
//! | retry budget | `retry_budget` (all three) |
//! | fallback chain | `fallback_chain` (all three) |
//! | chaos engineering | `chaos` (both), and the game day of the payment service in `gameday.rs` |
//! | rate limiting | `token_bucket`, `sliding_window`, `leaky_bucket` |
//! | observability | `service::every_call_is_counted_once`, `service::stats_list_every_component_by_its_name` |
//! | auto-recovery | `circuit_breaker::successful_probes_close_the_circuit`, `health::a_check_passes_again_after_one_success` |

#[path = "acceptance/adaptive_timeout.rs"]
mod adaptive_timeout;
#[path = "acceptance/attribute.rs"]
mod attribute;
#[path = "acceptance/bulkhead.rs"]
mod bulkhead;
#[path = "acceptance/chaos.rs"]
mod chaos;
#[path = "acceptance/circuit_breaker.rs"]
mod circuit_breaker;
#[path = "acceptance/fallback_chain.rs"]
mod fallback_chain;
#[path = "acceptance/health.rs"]
mod health;
#[path = "acceptance/integration.rs"]
mod integration;
#[path = "acceptance/leaky_bucket.rs"]
mod leaky_bucket;
#[path = "acceptance/retry.rs"]
mod retry;
#[path = "acceptance/retry_budget.rs"]
mod retry_budget;
#[path = "acceptance/service.rs"]
mod service;
#[path = "acceptance/sliding_window.rs"]
mod sliding_window;
#[path = "acceptance/token_bucket.rs"]
mod token_bucket;

use std::io;
use std::time::Duration;

use resilient_runtime::Registry;
use resilient_runtime::clock::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

/// A registry with a manual clock.
fn registry() -> (ManualClock, Registry) {
    let time = ManualClock::new();
    (time.clone(), Registry::with_clock(time.clock()))
}

/// The error of a dependency that is down: the call had no effect, and a retry can succeed.
fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

/// The error of an invalid request: a retry would fail, too.
fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}
