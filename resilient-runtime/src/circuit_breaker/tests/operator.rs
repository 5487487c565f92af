//! Forced states, reset, and changes of settings while calls run.

use super::*;
use crate::circuit_breaker::Window;

#[test]
fn forced_open_stays_open_over_time() {
    // T14
    let fixture = Fixture::open(config());
    let old = fixture.admit();
    old.unwrap_err();
    fixture.breaker.force_open();
    fixture.time.advance(24 * 3600 * SECOND);
    fixture.assert_state(State::ForcedOpen);
    let rejection = fixture.refused();
    assert_eq!((rejection.reason(), rejection.retry_after()), (Some(OpenReason::Forced), None));
    assert!(fixture.breaker.would_refuse(fixture.now()));
    fixture.breaker.resume();
    fixture.assert_state(State::Closed);
    fixture.admitted();
}

#[test]
fn earlier_results_do_not_end_a_forced_state() {
    // T14
    for (force, state) in [
        (CircuitBreaker::force_open as fn(&CircuitBreaker), State::ForcedOpen),
        (CircuitBreaker::force_closed, State::ForcedClosed),
        (CircuitBreaker::disable, State::Disabled),
    ] {
        let fixture = Fixture::half_open(config());
        let probes: Vec<_> = (0..3).map(|_| fixture.admitted()).collect();
        force(&fixture.breaker);
        probes.into_iter().for_each(|probe| fixture.settle(probe, FAILED));
        fixture.assert_state(state);
        assert_eq!(fixture.stats().late, 3);
    }
}

#[test]
fn forced_closed_counts_and_never_opens() {
    let fixture = Fixture::new(config());
    fixture.breaker.force_closed();
    fixture.calls(100, FAILED);
    fixture.assert_state(State::ForcedClosed);
    assert_eq!((fixture.stats().window.failed, fixture.stats().failed), (100, 100));
    fixture.breaker.resume();
    assert_eq!(fixture.stats().window.calls, 0);
    fixture.calls(4, FAILED);
    fixture.assert_state(State::Closed);
}

#[test]
fn a_disabled_breaker_counts_nothing() {
    let fixture = Fixture::new(config());
    fixture.breaker.disable();
    fixture.calls(100, FAILED);
    fixture.calls(100, Verdict::Success);
    let left = fixture.admitted();
    let stats = fixture.stats();
    assert_eq!((stats.window.calls, stats.failed, stats.successful), (0, 0, 0));
    fixture.breaker.resume();
    fixture.settle(left, FAILED);
    assert_eq!(fixture.stats().failed + fixture.stats().late, 0);
}

#[test]
fn resume_does_not_close_a_circuit_that_opened_by_itself() {
    let fixture = Fixture::open(config());
    fixture.breaker.resume();
    fixture.assert_state(State::Open);
}

#[test]
fn reset_restores_the_initial_state() {
    for window in [Window::Count(10), Window::Time(SECOND)] {
        let fixture = Fixture::half_open(config().window(window));
        fixture.call(FAILED);
        let probe = fixture.admitted();
        fixture.breaker.reset();
        let mut new = Fixture::new(config().window(window).failure_threshold(1)).stats();
        assert_eq!(fixture.stats(), new);
        fixture.settle(probe, FAILED);
        new.late = 1;
        assert_eq!(fixture.stats(), new);
        fixture.call(FAILED);
        assert_eq!(fixture.stats().retry_after, Some(5 * SECOND), "the first open period again");
    }
}

#[test]
fn calls_in_flight_at_a_reset_are_late() {
    let fixture = Fixture::new(config().failure_threshold(1));
    let old = fixture.admitted();
    fixture.breaker.reset();
    fixture.settle(old, FAILED);
    fixture.assert_state(State::Closed);
}

#[test]
fn new_thresholds_apply_to_the_existing_window() {
    // T117
    for window in [Window::Count(100), Window::Time(30 * SECOND)] {
        let base = || config().window(window).low_volume_failures(0);
        let fixture = Fixture::new(base());
        fixture.calls(12, Verdict::Success);
        fixture.calls(7, FAILED);
        let running = fixture.admitted();
        fixture.breaker.reconfigure(base().failure_rate(share(0.4))).unwrap();
        fixture.assert_state(State::Closed);
        assert_eq!((fixture.stats().window.calls, fixture.stats().failures_in_a_row), (19, 7));
        fixture.settle(running, FAILED);
        let reason = OpenReason::FailureRate { observed: share(0.4), limit: share(0.4), calls: 20 };
        assert_eq!(fixture.refused().reason(), Some(reason));
    }
}

#[test]
fn a_window_that_changes_its_size_keeps_the_newest_calls() {
    // T117
    let fixture = Fixture::new(config().window(100).failure_rate(Ratio::ONE).low_volume_failures(0));
    fixture.calls(30, Verdict::Success);
    fixture.calls(8, FAILED);
    let sized = |size: u32| config().window(size).failure_rate(Ratio::ONE).low_volume_failures(0);
    fixture.breaker.reconfigure(sized(10)).unwrap();
    assert_eq!((fixture.stats().window.calls, fixture.stats().window.failed), (10, 8));
    fixture.breaker.reconfigure(sized(1000)).unwrap();
    fixture.call(Verdict::Success);
    assert_eq!((fixture.stats().window.calls, fixture.stats().window.failed), (11, 8));
}

#[test]
fn a_window_of_another_kind_starts_empty_and_totals_are_kept() {
    let fixture = Fixture::new(config().low_volume_failures(0));
    fixture.calls(5, Verdict::Success);
    fixture.calls(5, FAILED);
    for window in [Window::Count(10), Window::Time(SECOND), Window::Count(10)] {
        fixture.breaker.reconfigure(config().window(window).low_volume_failures(0)).unwrap();
        assert_eq!(fixture.stats().window.calls, 0, "{window}");
        fixture.calls(2, Verdict::Success);
        fixture.call(FAILED);
        assert_eq!(fixture.stats().window.calls, 3, "{window}");
    }
    assert_eq!((fixture.stats().successful, fixture.stats().failed), (11, 8));
}

#[test]
fn the_current_open_period_and_the_probes_survive_new_settings() {
    // T117
    let fixture = Fixture::open(config());
    fixture.breaker.reconfigure(config().open_for(SECOND).failure_threshold(1)).unwrap();
    assert_eq!(fixture.refused().retry_after(), Some(5 * SECOND));
    fixture.time.advance(5 * SECOND);
    let probes: Vec<_> = (0..3).map(|_| fixture.admitted()).collect();
    fixture.breaker.reconfigure(config().half_open_calls(4)).unwrap();
    let fourth = fixture.admitted();
    fixture.refused();
    fixture.settle(fourth, Verdict::Success);
    probes.into_iter().take(2).for_each(|probe| fixture.settle(probe, Verdict::Success));
    fixture.assert_state(State::Closed);
}

#[test]
fn new_settings_apply_to_existing_probe_results_at_once() {
    // T18, T117
    let fixture = Fixture::half_open(config().half_open_calls(10));
    fixture.calls(2, Verdict::Success);
    fixture.call(FAILED);
    fixture.assert_state(State::HalfOpen);
    fixture.breaker.reconfigure(config().half_open_calls(3)).unwrap();
    fixture.assert_state(State::Closed);

    let fixture = Fixture::half_open(config().half_open_calls(10));
    fixture.call(FAILED);
    fixture.breaker.reconfigure(config().success_threshold(5)).unwrap();
    fixture.assert_state(State::Open);
}

#[test]
fn an_invalid_config_changes_nothing_and_a_later_valid_one_works() {
    // T118
    let fixture = Fixture::new(config());
    let error = fixture.breaker.reconfigure(config().window(5).min_calls(6)).unwrap_err();
    assert_eq!(error.problems()[0].field, "min_calls");
    assert_eq!(*fixture.breaker.config(), config());
    fixture.breaker.reconfigure(config().failure_threshold(1)).unwrap();
    fixture.call(FAILED);
    fixture.assert_state(State::Open);
}

#[test]
fn slow_in_flight_can_be_switched_while_calls_run() {
    let watching = || config().slow_call(SECOND).slow_in_flight(true).min_calls(2);
    let fixture = Fixture::new(watching().slow_in_flight(false));
    let unwatched = fixture.admitted();
    fixture.breaker.reconfigure(watching()).unwrap();
    let watched = fixture.admitted();
    fixture.time.advance(SECOND);
    let one_more = fixture.admitted();
    fixture.breaker.reconfigure(watching().slow_in_flight(false)).unwrap();
    fixture.time.advance(SECOND);
    for ticket in [unwatched, watched, one_more] {
        fixture.settle(ticket, Verdict::Success);
    }
    assert_eq!(fixture.stats().window.calls, 3, "all in one epoch");
}
