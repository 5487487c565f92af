//! 64 threads on one breaker: each call is counted exactly once.

use super::*;
use crate::circuit_breaker::Window;

const THREADS: u64 = 64;
const CALLS: u64 = 1000;

fn in_threads(work: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
}

#[test]
fn totals_are_exact() {
    // T156
    for window in [Window::Count(10_000), Window::Time(3600 * SECOND)] {
        let fixture = Fixture::new(config().window(window).failure_rate(Ratio::ONE).low_volume_failures(0));
        in_threads(|thread| {
            for call in 0..CALLS {
                let ticket = fixture.admitted();
                match (thread + call) % 4 {
                    0 => fixture.settle(ticket, FAILED),
                    1 => fixture.settle(ticket, None),
                    _ => fixture.settle(ticket, Verdict::Success),
                }
            }
        });
        let stats = fixture.stats();
        let all = THREADS * CALLS;
        assert_eq!((stats.successful, stats.failed, stats.ignored), (all / 2, all / 4, all / 4));
        let expected = if matches!(window, Window::Count(_)) { 10_000 } else { all * 3 / 4 };
        assert_eq!(stats.window.calls, expected);
    }
}

#[test]
fn every_call_ends_in_one_count_while_the_circuit_flaps() {
    // T156, T130
    for window in [Window::Count(20), Window::Time(SECOND)] {
        let fixture = Fixture::new(config().window(window).min_calls(5).half_open_calls(2).open_for(SECOND));
        in_threads(|thread| {
            for call in 0..CALLS {
                if let Ok(ticket) = fixture.admit() {
                    match (thread * 7 + call) % 5 {
                        0..=2 => fixture.settle(ticket, FAILED),
                        3 => fixture.settle(ticket, None),
                        _ => fixture.settle(ticket, Verdict::Success),
                    }
                } else {
                    fixture.time.advance(SECOND / 4);
                }
                if call == 500 && thread % 16 == 0 {
                    fixture.breaker.force_closed();
                    fixture.breaker.resume();
                }
            }
        });
        let stats = fixture.stats();
        let sum = stats.successful + stats.failed + stats.ignored + stats.late + stats.rejected;
        assert_eq!(sum, THREADS * CALLS);
        assert!(stats.transitions > 10, "only {} transitions", stats.transitions);
        assert_eq!(stats.probes.in_flight, 0);
        assert!(stats.window.calls <= THREADS * CALLS);
    }
}

#[test]
fn settings_change_under_load_without_losing_counts() {
    // T117
    let fixture = Fixture::new(config().failure_rate(Ratio::ONE).low_volume_failures(0));
    let settings = |number: u32| {
        let window = if number.is_multiple_of(3) {
            Window::Time(SECOND)
        } else {
            Window::Count(1 + number * 37 % 900)
        };
        let base = config().window(window).failure_rate(Ratio::ONE).low_volume_failures(0).min_calls(1);
        base.slow_call(SECOND).slow_in_flight(number.is_multiple_of(2))
    };
    in_threads(|thread| {
        for call in 0..CALLS {
            let ticket = fixture.admitted();
            fixture.settle(ticket, Verdict::Success);
            if thread == 0 && call % 10 == 0 {
                fixture.breaker.reconfigure(settings(u32::try_from(call / 10).unwrap())).unwrap();
            }
        }
    });
    let stats = fixture.stats();
    assert_eq!((stats.successful, stats.late, stats.transitions), (THREADS * CALLS, 0, 0));
}
