use std::time::Duration;

use super::window::{from_f64, log, to_f64};
use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn at(span: Duration) -> Instant {
    Instant::from_nanos(1_000_000_000).after(span)
}

#[test]
fn the_logarithm_is_accurate_to_a_hundredth() {
    let mut nanos = 1_u64;
    while nanos < u64::MAX / 3 {
        let off = to_f64(log(nanos)) - (nanos as f64).log2();
        assert!(off.abs() < 0.0125, "{nanos}: {off}");
        nanos += nanos / 7 + 1;
    }
    assert_eq!((log(0), log(1), log(1024)), (0, 0, from_f64(10.0)));
    assert!(log(u64::MAX) <= from_f64(64.0));
}

#[test]
fn it_starts_at_the_initial_value_clamped_to_its_bounds() {
    assert_eq!(AdaptiveLimit::new(20, 1, 200).limit(), 20);
    assert_eq!(AdaptiveLimit::new(0, 5, 200).limit(), 5);
    assert_eq!(AdaptiveLimit::new(500, 5, 200).limit(), 200);
    assert_eq!(AdaptiveLimit::new(7, 9, 3).limit(), 9, "the maximum is raised to the minimum");
}

#[test]
fn one_window_without_a_slowdown_lets_it_grow_and_reports_the_reason() {
    let limit = AdaptiveLimit::new(20, 1, 200);
    for call in 0..200 {
        let now = at(MS(10 * call));
        limit.sample(now, now.after(MS(10)), 20, Sample::Success);
        if limit.limit() > 20 {
            assert_eq!(limit.stats().reason, LimitReason::Growing);
            return;
        }
    }
    panic!("it did not grow: {:?}", limit.stats());
}

#[test]
fn it_leaves_the_minimum_when_calls_succeed_again() {
    // T60
    let limit = AdaptiveLimit::new(20, 1, 200);
    let mut now = at(MS(0));
    let mut call = |sample| {
        let (started, in_flight) = (now, limit.limit());
        now = now.after(MS(5));
        limit.sample(started, now, in_flight, sample);
    };
    (0..2000).for_each(|_| call(Sample::Overloaded));
    assert_eq!((limit.limit(), limit.stats().reason), (1, LimitReason::Overloaded));
    (0..2000).for_each(|_| call(Sample::Success));
    assert!(limit.limit() > 20, "{:?}", limit.stats());
}

#[test]
fn a_few_overloaded_calls_are_ignored_and_more_lower_it_by_their_share() {
    let after = |every: u32| {
        let limit = AdaptiveLimit::new(100, 1, 100);
        let mut now = at(MS(0));
        for number in 0..400 {
            let started = now;
            now = now.after(MS(1));
            let sample = if number % every == 0 { Sample::Overloaded } else { Sample::Success };
            // Below the limit, so that nothing else moves it.
            limit.sample(started, now, 10, sample);
        }
        limit.limit()
    };
    assert_eq!(after(25), 100);
    assert_eq!(after(5), 80);
    assert_eq!(after(1), 50, "at most by half in one window");
}

#[test]
fn a_call_cut_off_before_the_usual_time_is_ignored() {
    let limit = AdaptiveLimit::new(20, 1, 200);
    let mut now = at(MS(0));
    let mut call = |took: Duration, sample| {
        let started = now;
        now = now.after(took);
        limit.sample(started, now, 10, sample);
    };
    (0..100).for_each(|_| call(MS(20), Sample::Success));
    (0..500).for_each(|_| call(MS(5), Sample::CutOff));
    assert_eq!(limit.limit(), 20, "its caller had less than the usual time");
    (0..100).for_each(|_| call(MS(30), Sample::CutOff));
    assert!(limit.limit() < 20, "{:?}", limit.stats());
}

#[test]
fn errors_of_the_caller_are_neutral() {
    use crate::classify::Class;
    let ignored = [Class::Ignored, Class::NotExecuted { retry_after: None }];
    assert!(ignored.iter().all(|class| Sample::from(Verdict::Failure(*class)) == Sample::Ignored));
    let limit = AdaptiveLimit::new(20, 1, 200);
    (0..1000).for_each(|call| {
        limit.sample(at(MS(call)), at(MS(call + 1)), 20, Sample::Ignored);
    });
    assert_eq!((limit.limit(), limit.stats().windows), (20, 0));
}

#[test]
fn one_call_that_hung_for_a_day_does_not_move_the_latency() {
    let limit = AdaptiveLimit::new(20, 1, 20);
    let mut now = at(MS(0));
    for number in 0..400 {
        let took = if number == 300 { Duration::from_hours(24) } else { MS(10) };
        limit.sample(now, now.after(took), 20, Sample::Success);
        now = now.after(MS(10));
    }
    let stats = limit.stats();
    assert!(stats.latency.unwrap() < MS(11), "{stats:?}");
}

#[test]
fn a_clock_that_stops_or_moves_back_does_no_harm() {
    // T88
    let limit = AdaptiveLimit::new(20, 1, 200);
    for number in 0..1000 {
        limit.sample(at(MS(500)), at(MS(500 - number % 400)), u32::MAX, Sample::Success);
    }
    limit.sample(at(MS(0)), Instant::NEVER, 1, Sample::Success);
    limit.sample(Instant::NEVER, at(MS(0)), 1, Sample::CutOff);
    assert!((1..=200).contains(&limit.limit()));
    // The limit still adapts afterwards.
    let before = limit.limit();
    let mut now = at(Duration::from_hours(1));
    for _ in 0..2000 {
        let started = now;
        now = now.after(MS(5));
        limit.sample(started, now, limit.limit(), Sample::Overloaded);
    }
    assert_eq!((limit.limit(), limit.stats().reason), (1, LimitReason::Overloaded), "it was at {before}");
}

#[test]
fn a_call_that_is_reported_late_does_not_restart_the_window() {
    // T156
    let limit = AdaptiveLimit::new(20, 1, 200);
    let call = |millis| limit.sample(at(MS(millis)), at(MS(millis + 10)), 20, Sample::Success);
    let mut now = 0;
    while limit.stats().windows < 3 {
        now += 10;
        call(now);
    }
    // The call ended before the window began, and its thread was suspended in between.
    limit.evaluate(at(MS(now - 200)));
    for number in 0..1000 {
        call(now + 100 + number / 10);
    }
    assert_eq!(limit.stats().windows, 3, "its 250 ms are not over");
}

#[test]
fn threads_that_end_calls_at_once_close_a_window_once() {
    // T156
    let limit = AdaptiveLimit::new(20, 1, 200);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for call in 0..10_000 {
                    limit.sample(at(MS(call)), at(MS(call + 10)), limit.limit(), Sample::Success);
                }
            });
        }
    });
    let stats = limit.stats();
    // Ten seconds with windows of a quarter of a second.
    assert!((1..=40).contains(&stats.windows), "{stats:?}");
    assert!((21..=200).contains(&stats.limit), "it grows while calls succeed at full use: {stats:?}");
    let latency = stats.latency.unwrap();
    assert!((MS(8)..=MS(11)).contains(&latency), "each call took 10 ms: {stats:?}");
}

#[test]
fn new_bounds_apply_immediately() {
    let limit = AdaptiveLimit::new(20, 1, 200);
    limit.set_bounds(40, 50);
    assert_eq!(limit.limit(), 40);
    limit.set_bounds(1, 10);
    assert_eq!(limit.limit(), 10);
    limit.restart(7, 1, 200);
    assert_eq!((limit.limit(), limit.stats().reason), (7, LimitReason::Initial));
}
