//! Tests of the circuit breaker, one behavior each, with a manual clock.

mod concurrent;
mod events;
mod half_open;
mod opening;
mod operator;
mod outage;

use std::sync::Arc;
use std::time::Duration;

use super::{CircuitBreaker, Config, State, Stats, Ticket};
use crate::classify::{Class, Verdict};
use crate::clock::{Instant, ManualClock};
use crate::component::{Component, Core, Create};
use crate::outage::OpenReason;
use crate::ratio::Ratio;
use crate::rejection::Rejection;

const SECOND: Duration = Duration::from_secs(1);
const FAILED: Verdict = Verdict::Failure(Class::TRANSIENT);
const IGNORED: Verdict = Verdict::Failure(Class::Ignored);

/// A breaker and its clock.
struct Fixture {
    time: ManualClock,
    breaker: Arc<CircuitBreaker>,
}

/// Without jitter, so that periods are exact.
fn config() -> Config {
    Config::default().open_jitter(Ratio::ZERO)
}

/// One nanosecond less.
fn just_before(span: Duration) -> Duration {
    span.saturating_sub(Duration::from_nanos(1))
}

fn share(share: f64) -> Ratio {
    Ratio::new(share).unwrap()
}

impl Fixture {
    fn new(config: Config) -> Self {
        let time = ManualClock::new();
        let core = Core::for_test("x", time.clock(), config);
        Self { time, breaker: Arc::new(CircuitBreaker::create(core)) }
    }

    /// With an open circuit.
    fn open(config: Config) -> Self {
        let fixture = Self::new(config.failure_threshold(1));
        fixture.call(FAILED);
        assert_eq!(fixture.breaker.state(), State::Open);
        fixture
    }

    /// With a circuit whose open period has ended.
    fn half_open(config: Config) -> Self {
        let fixture = Self::open(config);
        fixture.time.advance(fixture.stats().retry_after.unwrap());
        assert_eq!(fixture.breaker.state(), State::HalfOpen);
        fixture
    }

    fn now(&self) -> Instant {
        self.time.clock().now()
    }

    fn admit(&self) -> Result<Ticket, Rejection> {
        self.breaker.admit(|| self.now())
    }

    fn admitted(&self) -> Ticket {
        self.admit().expect("the call should be admitted")
    }

    fn refused(&self) -> Rejection {
        self.admit().expect_err("the call should be rejected")
    }

    fn settle(&self, ticket: Ticket, verdict: impl Into<Option<Verdict>>) {
        self.breaker.settle(ticket, verdict.into(), None, self.now(), || self.now());
    }

    /// A call that takes no time.
    fn call(&self, verdict: Verdict) {
        let ticket = self.admitted();
        self.settle(ticket, verdict);
    }

    fn calls(&self, number: usize, verdict: Verdict) {
        (0..number).for_each(|_| self.call(verdict));
    }

    /// A call that takes `span`.
    fn slow_call(&self, span: Duration, verdict: Verdict) {
        let (ticket, started) = (self.admitted(), self.now());
        self.time.advance(span);
        self.breaker.settle(ticket, Some(verdict), None, started, || self.now());
    }

    fn stats(&self) -> Stats {
        self.breaker.stats()
    }

    #[track_caller]
    fn assert_state(&self, state: State) {
        assert_eq!(self.breaker.state(), state);
    }
}

#[test]
fn ten_failures_of_twenty_calls_open_the_circuit_and_nine_do_not() {
    // T17
    let fixture = Fixture::new(config());
    for _ in 0..9 {
        fixture.call(FAILED);
        fixture.call(Verdict::Success);
    }
    fixture.call(Verdict::Success);
    fixture.assert_state(State::Closed);
    fixture.call(FAILED);
    fixture.assert_state(State::Open);
    let reason = OpenReason::FailureRate { observed: Ratio::HALF, limit: Ratio::HALF, calls: 20 };
    assert_eq!(fixture.refused().reason(), Some(reason));
    assert_eq!(fixture.stats().reason, Some(reason));
}

#[test]
fn exactly_half_of_ten_opens_a_closed_and_a_half_open_circuit() {
    // T17
    let config = config().window(10).failure_rate(Ratio::HALF).half_open_calls(10).low_volume_failures(0);
    let fixture = Fixture::new(config);
    fixture.calls(5, Verdict::Success);
    fixture.calls(4, FAILED);
    fixture.assert_state(State::Closed);
    fixture.call(FAILED);
    fixture.assert_state(State::Open);
    fixture.time.advance(5 * SECOND);
    fixture.calls(5, Verdict::Success);
    fixture.calls(4, FAILED);
    fixture.assert_state(State::HalfOpen);
    fixture.call(FAILED);
    fixture.assert_state(State::Open);
}

#[test]
fn five_failures_in_a_row_open_a_circuit_with_little_traffic() {
    let fixture = Fixture::new(config());
    fixture.calls(4, FAILED);
    fixture.call(Verdict::Success);
    fixture.calls(4, FAILED);
    fixture.assert_state(State::Closed);
    fixture.call(FAILED);
    assert_eq!(fixture.refused().reason(), Some(OpenReason::Consecutive { failures: 5 }));
}

#[test]
fn the_classic_settings_alone_make_the_classic_breaker() {
    let fixture = Fixture::new(config().failure_threshold(3).success_threshold(2).open_for(30 * SECOND));
    for _ in 0..50 {
        fixture.calls(2, FAILED);
        fixture.call(Verdict::Success);
    }
    fixture.assert_state(State::Closed);
    fixture.calls(3, FAILED);
    assert_eq!(fixture.refused().retry_after(), Some(30 * SECOND));
    fixture.time.advance(30 * SECOND);
    fixture.call(Verdict::Success);
    fixture.assert_state(State::HalfOpen);
    fixture.call(Verdict::Success);
    fixture.assert_state(State::Closed);
}

#[test]
fn calls_without_a_result_are_not_in_the_window() {
    let fixture = Fixture::new(config());
    fixture.calls(100, IGNORED);
    fixture.calls(100, Verdict::Failure(Class::NotExecuted { retry_after: None }));
    let cancelled = fixture.admitted();
    fixture.settle(cancelled, None);
    fixture.calls(4, FAILED);
    let stats = fixture.stats();
    assert_eq!((stats.window.calls, stats.ignored, stats.failed), (4, 201, 4));
    fixture.call(IGNORED);
    fixture.call(FAILED);
    fixture.assert_state(State::Open);
}

#[test]
fn every_failure_that_ran_counts() {
    let fixture = Fixture::new(config());
    for class in [
        Class::TRANSIENT,
        Class::Uncertain { retry_after: None },
        Class::Overload { retry_after: None },
        Class::Permanent,
    ] {
        fixture.call(Verdict::Failure(class));
    }
    assert_eq!(fixture.stats().window.failed, 4);
}

#[test]
fn a_call_counts_as_failed_as_soon_as_it_reaches_slow_call() {
    // T17
    for window in [super::Window::Count(100), super::Window::Time(3600 * SECOND)] {
        let fixture = Fixture::new(config().window(window).slow_call(SECOND).min_calls(4));
        fixture.slow_call(just_before(SECOND), Verdict::Success);
        fixture.slow_call(SECOND, Verdict::Success);
        fixture.slow_call(SECOND, FAILED);
        let stats = fixture.stats();
        assert_eq!((stats.window.calls, stats.window.failed, stats.window.slow), (3, 1, 2));
        assert_eq!((stats.successful, stats.failed, stats.slow), (2, 1, 2));
        fixture.slow_call(2 * SECOND, Verdict::Success);
        let reason = OpenReason::FailureRate { observed: share(0.75), limit: Ratio::HALF, calls: 4 };
        assert_eq!(fixture.refused().reason(), Some(reason));
    }
}

#[test]
fn with_slow_rate_slow_calls_do_not_count_as_failures() {
    let fixture = Fixture::new(config().slow_call(SECOND).slow_rate(share(0.8)).min_calls(10).window(100));
    (0..2).for_each(|_| fixture.slow_call(Duration::ZERO, Verdict::Success));
    (0..7).for_each(|_| fixture.slow_call(SECOND, Verdict::Success));
    fixture.assert_state(State::Closed);
    fixture.slow_call(SECOND, Verdict::Success);
    let reason = OpenReason::SlowRate { observed: share(0.8), limit: share(0.8), calls: 10 };
    assert_eq!(fixture.refused().reason(), Some(reason));
}

#[test]
fn calls_that_hang_open_the_circuit_before_they_end() {
    // T22
    let fixture = Fixture::new(config().slow_call(SECOND).slow_in_flight(true));
    let hanging: Vec<_> = (0..20).map(|_| fixture.admitted()).collect();
    fixture.time.advance(just_before(SECOND));
    let quick = fixture.admitted();
    fixture.settle(quick, None);
    fixture.time.advance(Duration::from_nanos(1));
    assert_eq!(fixture.refused().reason(), Some(OpenReason::SlowInFlight { calls: 20 }));
    fixture.assert_state(State::Open);
    hanging.into_iter().for_each(|ticket| fixture.settle(ticket, Verdict::Success));
    assert_eq!(fixture.stats().late, 20);
}

#[test]
fn calls_that_ended_do_not_count_as_hanging() {
    // T22
    let fixture = Fixture::new(config().slow_call(SECOND).slow_in_flight(true));
    let mut hanging: Vec<_> = (0..20).map(|_| fixture.admitted()).collect();
    let ended = hanging.split_off(19);
    ended.into_iter().for_each(|ticket| fixture.settle(ticket, IGNORED));
    fixture.time.advance(SECOND);
    fixture.call(Verdict::Success);
    fixture.assert_state(State::Closed);
    // 19 hanging calls and 1 good call: more than half of the 20 calls needed.
    assert_eq!(fixture.refused().reason(), Some(OpenReason::SlowInFlight { calls: 19 }));
}

#[test]
fn calls_that_hang_since_before_the_outage_are_late() {
    // T22
    let config = config().slow_call(SECOND).slow_in_flight(true).half_open_calls(1).min_calls(2);
    let fixture = Fixture::new(config);
    let hanging: Vec<_> = (0..2).map(|_| fixture.admitted()).collect();
    fixture.time.advance(SECOND);
    fixture.refused();
    fixture.time.advance(5 * SECOND);
    fixture.call(Verdict::Success);
    fixture.assert_state(State::Closed);
    fixture.calls(10, Verdict::Success);
    fixture.assert_state(State::Closed);
    hanging.into_iter().for_each(|ticket| fixture.settle(ticket, FAILED));
    assert_eq!(fixture.stats().late, 2);
}

#[test]
fn unwatched_calls_need_no_lease() {
    let fixture = Fixture::new(config().slow_call(SECOND));
    assert_eq!(fixture.admitted().lease, super::NO_LEASE);
    for _ in 0..100 {
        fixture.admitted();
    }
    fixture.time.advance(3600 * SECOND);
    fixture.admitted();
}

#[test]
fn a_long_idle_time_empties_the_window() {
    // T12
    let fixture = Fixture::new(config());
    for _ in 0..9 {
        fixture.calls(1, FAILED);
        fixture.calls(1, Verdict::Success);
    }
    fixture.time.advance(8 * 3600 * SECOND);
    assert_eq!(fixture.stats().window.calls, 0);
    fixture.calls(4, FAILED);
    fixture.assert_state(State::Closed);
    fixture.time.advance(Duration::MAX);
    fixture.call(FAILED);
    assert_eq!(fixture.stats().window.calls, 1, "at the end of time");
}

#[test]
fn statistics_are_serialized_in_seconds() {
    let fixture = Fixture::open(config().open_for(1500 * SECOND / 1000));
    fixture.time.advance(SECOND / 2);
    let json = serde_json::to_value(fixture.stats()).unwrap();
    assert_eq!(json["state"], "open");
    assert_eq!(json["unchanged_for"], 0.5);
    assert_eq!(json["retry_after"], 1.0);
    assert_eq!(json["reason"]["rule"], "consecutive");
    assert_eq!(json["window"]["size"]["seconds"], 30.0);
    assert_eq!(json["window"]["min_calls"], 20);
    assert_eq!(json["window"]["failure_rate"], 1.0);
}

#[test]
fn a_breaker_takes_at_most_one_kibibyte_and_its_own_settings_280_bytes_more() {
    // With two cores. Each further power of two adds 128 bytes per core. The default settings are shared.
    let stripes = 2 * 128;
    let shared_breaker = size_of::<CircuitBreaker>() + 2 * size_of::<usize>();
    assert!(shared_breaker + stripes <= 1024, "{shared_breaker} + {stripes}");
    let own_settings = size_of::<Config>() + 2 * size_of::<usize>();
    assert!(own_settings <= 280, "{own_settings}");
}
