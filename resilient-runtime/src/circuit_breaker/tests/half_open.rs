//! The half-open circuit: the number of probes, which results count, and what they decide.

use super::*;

#[test]
fn calls_from_before_the_outage_do_not_affect_the_probes() {
    // T1
    let fixture = Fixture::new(config().failure_threshold(1).half_open_calls(2).slow_call(SECOND));
    let old: Vec<_> = (0..7).map(|_| fixture.admitted()).collect();
    fixture.call(FAILED);
    fixture.time.advance(5 * SECOND);
    let _probe = fixture.admitted();
    old.into_iter().for_each(|ticket| fixture.settle(ticket, Verdict::Success));
    let _probe = fixture.admitted();
    fixture.refused();
    fixture.assert_state(State::HalfOpen);
    assert_eq!(fixture.stats().probes.in_flight, 2);
}

#[test]
fn late_results_do_not_close_or_reopen() {
    // T2, T3
    for verdict in [Verdict::Success, FAILED] {
        let fixture = Fixture::new(config().failure_threshold(1));
        let old: Vec<_> = (0..100).map(|_| fixture.admitted()).collect();
        fixture.call(FAILED);
        fixture.time.advance(5 * SECOND);
        let probe = fixture.admitted();
        old.into_iter().for_each(|ticket| fixture.settle(ticket, verdict));
        fixture.assert_state(State::HalfOpen);
        fixture.settle(probe, Verdict::Success);
        fixture.call(Verdict::Success);
        fixture.assert_state(State::Closed);
        let stats = fixture.stats();
        assert_eq!((stats.late, stats.successful, stats.failed), (100, 2, 1));
        assert_eq!(stats.window.calls, 0, "late results are not in the new window");
    }
}

#[test]
fn a_result_from_before_the_outage_is_late_after_it() {
    // T3
    let fixture = Fixture::new(config().failure_threshold(1).half_open_calls(1));
    let old = fixture.admitted();
    fixture.call(FAILED);
    fixture.time.advance(5 * SECOND);
    fixture.call(Verdict::Success);
    fixture.assert_state(State::Closed);
    fixture.settle(old, FAILED);
    fixture.assert_state(State::Closed);
    assert_eq!(fixture.stats().late, 1);
}

#[test]
fn a_probe_that_is_dropped_at_any_point_releases_its_slot() {
    // T4, T6, T146
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    let fixture = Fixture::half_open(config().half_open_calls(1));
    let breaker = &*fixture.breaker;
    for polls in 0..4 {
        let mut left = 3;
        let probe = pin!(breaker.call_async(async || {
            std::future::poll_fn(|_| {
                left -= 1;
                if left > 0 { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
            })
            .await;
            std::future::pending::<Option<()>>().await
        }));
        {
            let mut probe = probe;
            for _ in 0..polls {
                assert!(probe.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                assert_eq!(fixture.stats().probes.in_flight, 1);
                fixture.refused();
            }
        }
    }
    // `pin!` drops the probe at the end of each iteration.
    assert_eq!(fixture.stats().probes.in_flight, 0);
    assert_eq!(fixture.stats().ignored, 3);
    fixture.assert_state(State::HalfOpen);
    fixture.call(Verdict::Success);
    fixture.assert_state(State::Closed);
}

#[test]
fn a_probe_without_a_result_does_not_close_or_block() {
    // T6, T7
    for nothing in [None, Some(IGNORED), Some(Verdict::Failure(Class::NotExecuted { retry_after: None }))] {
        let fixture = Fixture::half_open(config());
        for _ in 0..10 {
            let probes: Vec<_> = (0..3).map(|_| fixture.admitted()).collect();
            fixture.refused();
            probes.into_iter().for_each(|probe| fixture.settle(probe, nothing));
        }
        fixture.assert_state(State::HalfOpen);
        assert_eq!(fixture.stats().ignored, 30);
        fixture.calls(2, Verdict::Success);
        fixture.assert_state(State::Closed);
    }
}

#[test]
fn a_panicking_probe_counts_as_failed() {
    // T147
    let fixture = Fixture::half_open(config().half_open_calls(1));
    let breaker = Arc::clone(&fixture.breaker);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        breaker.call(|| -> Option<()> { std::panic::resume_unwind(Box::new("the probe panicked")) })
    }));
    result.unwrap_err();
    fixture.assert_state(State::Open);
    let outage = fixture.refused().outage().unwrap();
    assert_eq!((outage.reopened, outage.last_probe.unwrap().failed), (1, true));
}

#[test]
fn the_circuit_reopens_as_soon_as_the_probes_cannot_succeed() {
    // T8
    let fixture = Fixture::half_open(config());
    let probes: Vec<_> = (0..3).map(|_| fixture.admitted()).collect();
    fixture.settle(probes[0], FAILED);
    fixture.assert_state(State::HalfOpen);
    fixture.settle(probes[1], FAILED);
    fixture.assert_state(State::Open);
    assert_eq!(fixture.refused().outage().unwrap().reopened, 1);
    fixture.settle(probes[2], Verdict::Success);
    fixture.assert_state(State::Open);
    assert_eq!(fixture.stats().late, 1);
}

#[test]
fn the_circuit_closes_as_soon_as_the_probes_cannot_fail() {
    // T8
    let fixture = Fixture::half_open(config());
    fixture.call(Verdict::Success);
    fixture.assert_state(State::HalfOpen);
    fixture.call(Verdict::Success);
    fixture.assert_state(State::Closed);
}

#[test]
fn a_slow_probe_counts_as_failed() {
    let fixture = Fixture::half_open(config().half_open_calls(1).slow_call(SECOND));
    fixture.slow_call(SECOND, Verdict::Success);
    fixture.assert_state(State::Open);
    assert_eq!((fixture.stats().successful, fixture.stats().slow), (1, 1));
}

#[test]
fn one_failure_reopens_with_success_threshold() {
    let fixture = Fixture::half_open(config().success_threshold(3).half_open_calls(1));
    fixture.calls(2, Verdict::Success);
    fixture.assert_state(State::HalfOpen);
    fixture.call(FAILED);
    fixture.assert_state(State::Open);
    fixture.time.advance(10 * SECOND);
    fixture.calls(3, Verdict::Success);
    fixture.assert_state(State::Closed);
}

#[test]
fn a_lost_probe_releases_its_slot_when_its_lease_expires() {
    let fixture = Fixture::half_open(config().half_open_calls(1));
    let lost = fixture.admitted();
    fixture.time.advance(just_before(60 * SECOND));
    assert!(fixture.breaker.would_refuse(fixture.now()));
    assert_eq!(fixture.refused().retry_after(), None, "the end of a probe is unknown");
    fixture.time.advance(Duration::from_nanos(1));
    assert!(!fixture.breaker.would_refuse(fixture.now()));
    let other = fixture.admitted();
    fixture.settle(lost, FAILED);
    fixture.assert_state(State::HalfOpen);
    assert_eq!(fixture.stats().late, 1);
    fixture.settle(other, Verdict::Success);
    fixture.assert_state(State::Closed);
}

#[test]
fn a_probe_of_an_earlier_half_open_period_does_not_count() {
    // T1
    let fixture = Fixture::half_open(config().half_open_calls(2));
    let old = fixture.admitted();
    fixture.call(FAILED);
    fixture.time.advance(10 * SECOND);
    let probes = [fixture.admitted(), fixture.admitted()];
    fixture.settle(old, None);
    fixture.refused();
    probes.into_iter().for_each(|probe| fixture.settle(probe, Verdict::Success));
    fixture.assert_state(State::Closed);
}

#[test]
fn a_thousand_concurrent_callers_make_exactly_half_open_calls_probes() {
    // T9
    let fixture = Fixture::half_open(config());
    let admitted = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                for _ in 0..10 {
                    // Rejected at once: no call waits for the result of a probe.
                    admitted.lock().unwrap().extend(fixture.admit().ok());
                }
            });
        }
    });
    let admitted = admitted.into_inner().unwrap();
    assert_eq!((admitted.len(), fixture.stats().rejected), (3, 997));
    admitted.into_iter().for_each(|probe| fixture.settle(probe, Verdict::Success));
    fixture.assert_state(State::Closed);
}

#[test]
fn would_refuse_matches_admission_after_lowering_the_number_of_probes() {
    // T34, T117
    let settings =
        |probes: u32| config().failure_threshold(1).half_open_calls(probes).probe_lease(3 * SECOND);
    let fixture = Fixture::half_open(settings(3));
    let _first = fixture.admitted();
    fixture.time.advance(SECOND);
    let _second = fixture.admitted();
    fixture.breaker.reconfigure(settings(1)).unwrap();
    fixture.time.advance(2 * SECOND);
    assert!(fixture.breaker.would_refuse(fixture.now()), "the second probe is in flight");
    fixture.refused();
    fixture.time.advance(SECOND);
    assert!(!fixture.breaker.would_refuse(fixture.now()));
    fixture.admitted();
}
