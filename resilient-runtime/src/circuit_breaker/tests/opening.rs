//! The open circuit: which calls it rejects, for how long, and with which message.

use super::*;
use crate::component::Environment;
use crate::observe::Events;
use crate::random::Random;
use crate::settings::Layered;

fn hint(span: Duration) -> Verdict {
    Verdict::Failure(Class::Overload { retry_after: Some(span) })
}

#[test]
fn a_rejection_contains_the_reason_and_the_time_to_wait() {
    let fixture = Fixture::open(config());
    fixture.time.advance(SECOND);
    let rejection = fixture.refused();
    assert_eq!(rejection.retry_after(), Some(4 * SECOND));
    let text = "circuit breaker `x` is open (1 failure in a row; opened 1.0s ago); try again in 4.0s";
    assert_eq!(rejection.to_string(), text);
}

#[test]
fn the_open_period_is_exact() {
    let fixture = Fixture::open(config());
    fixture.time.advance(just_before(5 * SECOND));
    assert!(fixture.breaker.would_refuse(fixture.now()));
    assert_eq!(fixture.refused().retry_after(), Some(Duration::from_nanos(1)));
    fixture.time.advance(Duration::from_nanos(1));
    assert!(!fixture.breaker.would_refuse(fixture.now()));
    fixture.admitted();
}

#[test]
fn the_state_is_reported_as_half_open_once_the_open_period_ends() {
    // T24
    let fixture = Fixture::open(config());
    assert_eq!((fixture.stats().state, fixture.stats().retry_after), (State::Open, Some(5 * SECOND)));
    fixture.time.advance(5 * SECOND);
    fixture.assert_state(State::HalfOpen);
    assert_eq!((fixture.stats().state, fixture.stats().retry_after), (State::HalfOpen, None));
    assert_eq!(fixture.stats().transitions, 1, "reading the state does not change it");
}

#[test]
fn a_clock_that_steps_back_does_not_keep_the_circuit_open() {
    // T10
    let fixture = Fixture::open(config().open_for(SECOND));
    fixture.time.rewind(3000 * SECOND);
    fixture.assert_state(State::Open);
    assert_eq!(fixture.refused().retry_after(), Some(SECOND), "not 50 minutes");
    fixture.time.advance(SECOND);
    fixture.assert_state(State::HalfOpen);
    fixture.admitted();
}

#[test]
fn a_clock_that_jumps_forward_ends_the_open_period_at_once() {
    // T12
    let fixture = Fixture::open(config());
    fixture.time.advance(Duration::MAX);
    fixture.assert_state(State::HalfOpen);
    fixture.calls(2, Verdict::Success);
    fixture.assert_state(State::Closed);
}

#[test]
fn the_open_period_doubles_up_to_open_max_and_restarts_once_closed() {
    let fixture = Fixture::open(config().half_open_calls(1));
    for expected in [5, 10, 20, 40, 60, 60] {
        assert_eq!(fixture.stats().retry_after, Some(expected * SECOND));
        fixture.time.advance(expected * SECOND);
        fixture.call(FAILED);
    }
    fixture.time.advance(60 * SECOND);
    fixture.call(Verdict::Success);
    fixture.assert_state(State::Closed);
    fixture.call(FAILED);
    assert_eq!(fixture.stats().retry_after, Some(5 * SECOND));
}

#[test]
fn open_max_is_never_exceeded() {
    let fixture = Fixture::open(config().half_open_calls(1).open_max(7 * SECOND));
    for _ in 0..100 {
        fixture.time.advance(fixture.stats().retry_after.unwrap());
        fixture.call(FAILED);
        assert_eq!(fixture.stats().retry_after, Some(7 * SECOND));
    }
}

#[test]
fn only_a_longer_retry_after_changes_the_open_period() {
    let opened_by = |verdict| {
        let fixture = Fixture::new(config().failure_threshold(1));
        fixture.call(verdict);
        fixture.stats().retry_after
    };
    assert_eq!(opened_by(hint(SECOND)), Some(5 * SECOND));
    assert_eq!(opened_by(hint(42 * SECOND)), Some(42 * SECOND));
    assert_eq!(opened_by(hint(Duration::MAX)), Some(3600 * SECOND), "at most one hour");
    let fixture = Fixture::half_open(config().half_open_calls(1));
    fixture.call(hint(42 * SECOND));
    assert_eq!(fixture.stats().retry_after, Some(42 * SECOND), "a probe can return it too");
}

#[test]
fn the_probes_of_200_instances_that_opened_together_are_spread() {
    // T27
    for verdict in [FAILED, hint(30 * SECOND)] {
        let time = ManualClock::new();
        let mut ends: Vec<Duration> = (0..200)
            .map(|seed| {
                let random = Arc::new(Random::new(Some(seed)));
                let environment = Environment { clock: time.clock(), events: Events::default(), random };
                let settings = Layered::of(Config::default().failure_threshold(1));
                let breaker = CircuitBreaker::create(Core { name: "x", environment, settings });
                let ticket = breaker.admit(|| time.clock().now()).unwrap();
                breaker.settle(ticket, Some(verdict), None, time.clock().now(), || time.clock().now());
                breaker.stats().retry_after.unwrap()
            })
            .collect();
        ends.sort_unstable();
        ends.dedup();
        assert!(ends.len() > 190, "only {} distinct times", ends.len());
        let (first, last) = (ends[0], ends[ends.len() - 1]);
        assert!(last > first + 2 * SECOND, "from {first:?} to {last:?}");
        if verdict == FAILED {
            assert!(first >= 5 * SECOND / 2 && last <= 5 * SECOND, "at least half of the period");
        } else {
            assert!(first >= 30 * SECOND, "never before the server's retry_after");
        }
        // At most an eighth of the probes within any twentieth of the spread.
        let crowd =
            |start: Duration| ends.iter().filter(|end| (start..start + SECOND / 8).contains(*end)).count();
        assert!(ends.iter().all(|end| crowd(*end) < 25), "too many probes at the same time");
    }
}

#[test]
fn rejected_calls_are_counted_but_not_in_the_window() {
    // T20
    for window in [super::super::Window::Count(50), super::super::Window::Time(30 * SECOND)] {
        let fixture = Fixture::open(config().window(window).half_open_calls(1));
        (0..1000).for_each(|_| {
            fixture.refused();
        });
        fixture.time.advance(5 * SECOND);
        fixture.call(Verdict::Success);
        fixture.assert_state(State::Closed);
        let stats = fixture.stats();
        assert_eq!((stats.rejected, stats.window.calls), (1000, 0));
        fixture.call(Verdict::Success);
        assert_eq!(fixture.stats().window.calls, 1);
    }
}

#[test]
fn a_million_rejections_do_not_accumulate_memory() {
    // T26
    let fixture = Fixture::open(config());
    let first = fixture.refused();
    for _ in 1..1_000_000 {
        let _ = fixture.refused();
    }
    assert_eq!(fixture.refused(), first, "no state grows");
    assert_eq!(fixture.stats().rejected, 1_000_001);
}
