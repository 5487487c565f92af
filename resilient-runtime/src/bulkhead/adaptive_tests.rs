//! Tests of the adaptive bulkhead. `adaptive/simulation.rs` tests that it finds the right limit.

use std::task::{Poll, Waker};

use super::*;
use crate::adaptive::LimitReason;
use crate::classify::Class;
use crate::clock::ManualClock;
use crate::registry::Registry;

const MS: fn(u64) -> Duration = Duration::from_millis;
const OVERLOAD: Verdict = Verdict::Failure(Class::Overload { retry_after: None });

fn adaptive() -> Config {
    Config::default().adaptive(true)
}

fn fixture(config: Config) -> (ManualClock, Arc<Bulkhead>) {
    let time = ManualClock::new();
    let bulkhead = Registry::with_clock(time.clock()).bulkhead("b");
    bulkhead.reconfigure(config).unwrap();
    (time, bulkhead)
}

/// Fills the bulkhead, lets each call take 10 ms, and ends all calls with this verdict. Repeats this ten times, which
/// is less than a window.
fn tenth_of_a_second(time: &ManualClock, bulkhead: &Bulkhead, verdict: Verdict) {
    for _ in 0..10 {
        let permits: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire().ok()).collect();
        time.advance(MS(10));
        permits.into_iter().for_each(|permit| permit.settle(verdict));
    }
}

fn second(time: &ManualClock, bulkhead: &Bulkhead, verdict: Verdict) {
    (0..10).for_each(|_| tenth_of_a_second(time, bulkhead, verdict));
}

#[test]
fn the_limit_grows_while_latency_is_stable() {
    let (time, bulkhead) = fixture(adaptive());
    assert_eq!(
        (bulkhead.stats().limit, bulkhead.stats().adaptive.unwrap().reason),
        (20, LimitReason::Initial)
    );
    (0..5).for_each(|_| second(&time, &bulkhead, Verdict::Success));
    let stats = bulkhead.stats();
    assert!(stats.limit > 40, "{stats:?}");
    let permits: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire().ok()).collect();
    assert_eq!(permits.len(), stats.limit as usize);
    let adaptive = stats.adaptive.unwrap();
    assert_eq!((adaptive.limit, adaptive.min, adaptive.max), (stats.limit, 1, 200));
    assert!(adaptive.latency.unwrap().abs_diff(MS(10)) < MS(1), "{adaptive:?}");
}

#[test]
fn overload_lowers_the_limit_without_interrupting_calls() {
    // T51
    let (time, bulkhead) = fixture(adaptive());
    let held: Vec<_> = (0..10).map(|_| bulkhead.try_acquire().unwrap()).collect();
    (0..3).for_each(|_| second(&time, &bulkhead, OVERLOAD));
    let stats = bulkhead.stats();
    assert_eq!((stats.in_use, stats.adaptive.unwrap().reason), (10, LimitReason::Overloaded));
    assert!(stats.limit <= 10 && bulkhead.try_acquire().is_err(), "{stats:?}");
    drop(held);
    assert_eq!(bulkhead.stats().in_use, 0);
}

#[test]
fn a_growing_limit_admits_waiters_at_once() {
    // T52
    let (time, bulkhead) = fixture(adaptive().max_queue(1).max_wait(Duration::from_hours(1)));
    let mut waiter = None;
    for _ in 0..100 {
        let mut permits: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire().ok()).collect();
        let held = permits.pop();
        waiter = Some(bulkhead.queue(Priority::Normal, Instant::NEVER));
        let poll = |waiter: &mut Option<Admission<'_>>| {
            let waiter = waiter.as_mut().expect("it was just created");
            std::pin::Pin::new(waiter).poll(&mut std::task::Context::from_waker(Waker::noop()))
        };
        assert!(poll(&mut waiter).is_pending());
        time.advance(MS(10));
        let (limit, before) = (bulkhead.stats().limit, bulkhead.stats().in_use);
        // All calls end, but if one of them raises the limit, the waiting call is admitted first.
        bulkhead.learn(Verdict::Success, Instant::from_nanos(0), || time.clock().now());
        let grown = bulkhead.stats().limit > limit;
        if grown {
            assert_eq!((poll(&mut waiter), bulkhead.stats().in_use), (Poll::Ready(Ok(())), before + 1));
            return;
        }
        waiter = None;
        permits.into_iter().for_each(|permit| permit.settle(Verdict::Success));
        drop(held);
    }
    drop(waiter);
    panic!("the limit never grew: {:?}", bulkhead.stats());
}

#[test]
fn a_dropped_permit_does_not_change_the_limit() {
    // T68, T147
    let (time, bulkhead) = fixture(adaptive());
    for _ in 0..1000 {
        let permits: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire().ok()).collect();
        time.advance(MS(10));
        drop(permits);
    }
    let stats = bulkhead.stats();
    assert_eq!((stats.limit, stats.adaptive.unwrap().windows, stats.in_use), (20, 0, 0));
}

#[test]
fn fast_failures_do_not_raise_the_limit() {
    // T62
    let (time, bulkhead) = fixture(adaptive());
    (0..20).for_each(|_| second(&time, &bulkhead, Verdict::Failure(Class::TRANSIENT)));
    assert_eq!(bulkhead.stats().limit, 20);
}

#[test]
fn adaptive_can_be_switched_while_calls_run() {
    // T117
    let (time, bulkhead) = fixture(Config::default());
    let held = bulkhead.try_acquire().unwrap();
    second(&time, &bulkhead, Verdict::Success);
    assert_eq!((bulkhead.stats().limit, bulkhead.stats().adaptive), (64, None));
    bulkhead.reconfigure(adaptive()).unwrap();
    assert_eq!((bulkhead.stats().limit, bulkhead.stats().in_use), (20, 1));
    // This permit has no start time.
    held.settle(OVERLOAD);
    (0..5).for_each(|_| second(&time, &bulkhead, Verdict::Success));
    let found = bulkhead.stats();
    assert!(found.limit > 40, "{found:?}");
    bulkhead.reconfigure(adaptive().max_queue(3).max_wait(MS(1))).unwrap();
    assert_eq!(bulkhead.stats().adaptive, found.adaptive, "another setting changed");
    bulkhead.reconfigure(adaptive().adaptive_max(30)).unwrap();
    assert_eq!(bulkhead.stats().limit, 30);
    let held = bulkhead.try_acquire().unwrap();
    bulkhead.reconfigure(Config::default()).unwrap();
    assert_eq!((bulkhead.stats().limit, bulkhead.stats().adaptive, bulkhead.stats().in_use), (64, None, 1));
    held.settle(OVERLOAD);
    assert_eq!(std::iter::from_fn(|| bulkhead.try_acquire().ok().map(std::mem::forget)).count(), 64);
    bulkhead.reconfigure(adaptive().adaptive_initial(7)).unwrap();
    assert_eq!(bulkhead.stats().limit, 7, "the limit restarts");
}

#[test]
fn reset_restarts_the_limit() {
    let (time, bulkhead) = fixture(adaptive());
    (0..5).for_each(|_| second(&time, &bulkhead, Verdict::Success));
    assert!(bulkhead.stats().limit > 40);
    bulkhead.reset();
    assert_eq!((bulkhead.stats().limit, bulkhead.stats().adaptive.unwrap().baseline), (20, None));
    assert_eq!(std::iter::from_fn(|| bulkhead.try_acquire().ok().map(std::mem::forget)).count(), 20);
}

#[test]
fn reserves_apply_to_the_adaptive_limit() {
    // T63
    let (time, bulkhead) = fixture(adaptive().adaptive_min(5).reserve_critical(4));
    (0..5).for_each(|_| second(&time, &bulkhead, OVERLOAD));
    let limits = bulkhead.stats().limits;
    assert_eq!((limits.normal, limits.critical), (1, 5));
}

#[test]
fn calls_without_the_attribute_are_measured() {
    let (time, bulkhead) = fixture(adaptive().adaptive_initial(1));
    for _ in 0..200 {
        let outcome: Result<(), Rejection> = bulkhead.call(|| {
            time.advance(MS(10));
            Ok(())
        });
        outcome.unwrap();
    }
    assert!(bulkhead.stats().adaptive.unwrap().windows > 0);
}

#[tokio::test]
async fn a_custom_judge_reports_overload() {
    let (time, bulkhead) = fixture(adaptive());
    for _ in 0..200 {
        let work = async || {
            time.advance(MS(10));
            Err::<(), _>(Rejection::new(RejectionKind::NoTimer, "x"))
        };
        let _ = bulkhead.call_judged_async(work, |_| OVERLOAD).await;
    }
    assert_eq!(bulkhead.stats().adaptive.unwrap().reason, LimitReason::Overloaded);
}

#[test]
fn invalid_settings_are_rejected_as_a_whole() {
    // T127
    let (_, bulkhead) = fixture(Config::default());
    let refused = |config: Config| {
        let error = bulkhead.reconfigure(config).unwrap_err();
        error.problems().iter().map(|problem| problem.field).collect::<Vec<_>>()
    };
    assert_eq!(refused(adaptive().adaptive_min(0)), ["adaptive_min"]);
    assert_eq!(refused(adaptive().adaptive_max(2_000_000)), ["adaptive_max"]);
    assert_eq!(refused(adaptive().adaptive_min(9).adaptive_max(8)), ["adaptive_min"]);
    assert_eq!(refused(adaptive().adaptive_initial(300)), ["adaptive_initial"]);
    assert_eq!(refused(adaptive().reserve_high(1)), ["reserve_high"]);
    assert_eq!(*bulkhead.config(), Config::default());
    let off = Config::default().adaptive_min(9).adaptive_max(8);
    assert!(bulkhead.reconfigure(off).is_ok(), "no effect, so no error");
    assert_eq!(adaptive().adaptive_min(30).bounds().initial, 30);
    assert_eq!(adaptive().adaptive_max(9).bounds().initial, 9);
}
