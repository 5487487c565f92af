//! A bulkhead that finds its limit by itself. That it finds the right one, see `adaptive/simulation.rs`.

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

/// Fills the bulkhead, lets each call take 10 ms, and ends them all in this way; ten times, which is less than a window.
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
fn it_grows_while_calls_are_not_slower_and_the_gate_with_it() {
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
fn overload_brings_it_down_and_interrupts_nobody() {
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
            let waiter = waiter.as_mut().expect("it was just made");
            std::pin::Pin::new(waiter).poll(&mut std::task::Context::from_waker(Waker::noop()))
        };
        assert!(poll(&mut waiter).is_pending());
        time.advance(MS(10));
        let (limit, before) = (bulkhead.stats().limit, bulkhead.stats().in_use);
        // All of them leave, but those who grow the limit first let the waiter in.
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
    panic!("it never grew: {:?}", bulkhead.stats());
}

#[test]
fn a_permit_that_is_dropped_is_no_evidence() {
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
fn failures_that_are_fast_do_not_let_it_grow() {
    // T62
    let (time, bulkhead) = fixture(adaptive());
    (0..20).for_each(|_| second(&time, &bulkhead, Verdict::Failure(Class::TRANSIENT)));
    assert_eq!(bulkhead.stats().limit, 20);
}

#[test]
fn it_is_turned_on_and_off_while_it_is_in_use() {
    // T117
    let (time, bulkhead) = fixture(Config::default());
    let held = bulkhead.try_acquire().unwrap();
    second(&time, &bulkhead, Verdict::Success);
    assert_eq!((bulkhead.stats().limit, bulkhead.stats().adaptive), (64, None));
    bulkhead.reconfigure(adaptive()).unwrap();
    assert_eq!((bulkhead.stats().limit, bulkhead.stats().in_use), (20, 1));
    // It does not know when it was taken.
    held.settle(OVERLOAD);
    (0..5).for_each(|_| second(&time, &bulkhead, Verdict::Success));
    let found = bulkhead.stats();
    assert!(found.limit > 40, "{found:?}");
    bulkhead.reconfigure(adaptive().max_queue(3).max_wait(MS(1))).unwrap();
    assert_eq!(bulkhead.stats().adaptive, found.adaptive, "another setting has changed");
    bulkhead.reconfigure(adaptive().adaptive_max(30)).unwrap();
    assert_eq!(bulkhead.stats().limit, 30);
    let held = bulkhead.try_acquire().unwrap();
    bulkhead.reconfigure(Config::default()).unwrap();
    assert_eq!((bulkhead.stats().limit, bulkhead.stats().adaptive, bulkhead.stats().in_use), (64, None, 1));
    held.settle(OVERLOAD);
    assert_eq!(std::iter::from_fn(|| bulkhead.try_acquire().ok().map(std::mem::forget)).count(), 64);
    bulkhead.reconfigure(adaptive().adaptive_initial(7)).unwrap();
    assert_eq!(bulkhead.stats().limit, 7, "it begins anew");
}

#[test]
fn reset_lets_it_begin_anew() {
    let (time, bulkhead) = fixture(adaptive());
    (0..5).for_each(|_| second(&time, &bulkhead, Verdict::Success));
    assert!(bulkhead.stats().limit > 40);
    bulkhead.reset();
    assert_eq!((bulkhead.stats().limit, bulkhead.stats().adaptive.unwrap().baseline), (20, None));
    assert_eq!(std::iter::from_fn(|| bulkhead.try_acquire().ok().map(std::mem::forget)).count(), 20);
}

#[test]
fn a_reserve_is_kept_of_whatever_it_finds() {
    // T63
    let (time, bulkhead) = fixture(adaptive().adaptive_min(5).reserve_critical(4));
    (0..5).for_each(|_| second(&time, &bulkhead, OVERLOAD));
    let limits = bulkhead.stats().limits;
    assert_eq!((limits.normal, limits.critical), (1, 5));
}

#[test]
fn calls_by_hand_measure_themselves() {
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
async fn asynchronous_calls_by_hand_tell_by_their_judge_that_they_were_overloaded() {
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
fn settings_that_cannot_be_are_refused_whole() {
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
    assert!(bulkhead.reconfigure(off).is_ok(), "of no effect, and so no error");
    assert_eq!(adaptive().adaptive_min(30).bounds().initial, 30);
    assert_eq!(adaptive().adaptive_max(9).bounds().initial, 9);
}
