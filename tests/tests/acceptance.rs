//! The acceptance suite: what each part promises, through the public API alone. Read it first.
//!
//! Each test shows one promise on a registry and a clock of its own. Nothing sleeps.
//!
//! There are 42 tests, as the specification asks for. The numbers that it lists by component add up to 41 (circuit breaker 6,
//! retry 4, retry budget 3, bulkhead 2, adaptive timeout 3, fallback chain 3, token bucket 3, sliding window 3, leaky bucket
//! 3, health 3, service 4, attribute 2, integration 2): integration has 3 here.
//!
//! The 15 principles, and the tests here that prove them (`component::test`):
//!
//! | principle | proved by |
//! |---|---|
//! | no single point of failure | `fallback_chain::the_next_level_answers_when_one_fails`, `integration::an_outage_is_survived_with_degraded_answers` |
//! | fail fast | `circuit_breaker::an_open_circuit_refuses_without_a_call`, `bulkhead::a_full_bulkhead_refuses_at_once` |
//! | graceful degradation | `fallback_chain::an_answer_of_a_level_is_marked_as_degraded`, `integration::an_outage_is_survived_with_degraded_answers` |
//! | circuit breaker | `circuit_breaker` (all six) |
//! | bulkhead isolation | `bulkhead::a_slow_dependency_leaves_the_permits_of_others_alone` |
//! | exponential backoff | `retry::pauses_double_and_are_jittered_by_half` |
//! | timeout everything | `adaptive_timeout` (all three), `integration::one_deadline_covers_all_nested_calls` |
//! | health checks | `health` (all three) |
//! | idempotency | `integration::a_repeated_request_is_carried_out_once` |
//! | retry budget | `retry_budget` (all three) |
//! | fallback chain | `fallback_chain` (all three) |
//! | chaos engineering | open: it does not exist yet |
//! | rate limiting | `token_bucket`, `sliding_window`, `leaky_bucket` |
//! | observability | `service::every_call_is_counted_once`, `service::stats_list_every_component_by_its_name` |
//! | auto-recovery | `circuit_breaker::probes_that_succeed_close_the_circuit`, `health::one_success_passes_again` |

#[path = "acceptance/adaptive_timeout.rs"]
mod adaptive_timeout;
#[path = "acceptance/attribute.rs"]
mod attribute;
#[path = "acceptance/bulkhead.rs"]
mod bulkhead;
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

/// A registry, and the clock that moves its time.
fn registry() -> (ManualClock, Registry) {
    let time = ManualClock::new();
    (time.clone(), Registry::with_clock(time.clock()))
}

/// What a call gets from a dependency that is down: another attempt may succeed, and nothing was done.
fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

/// What a call gets whose request is wrong: another attempt would fail as well.
fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}
