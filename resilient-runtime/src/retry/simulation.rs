//! H1, T37: what the budget makes of a lone caller, of batches and of storms, in virtual time. Attempts take no time; pauses are
//! those of the backoff, and all calls run side by side.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::classify::Class;
use crate::clock::{Delay, ManualClock};
use crate::ratio::Ratio;
use crate::registry::Registry;

/// Calls that come together.
struct Wave {
    /// In milliseconds.
    at: u64,
    calls: u32,
    /// So many attempts of each fail, then one succeeds.
    failures: u32,
}

#[derive(Debug, Default, PartialEq)]
struct Result {
    calls: u32,
    succeeded: u32,
    retries: u32,
    denied: u64,
}

impl Result {
    /// Attempts for each call.
    fn load(&self) -> f64 {
        f64::from(self.calls + self.retries) / f64::from(self.calls)
    }
}

const ALWAYS: u32 = u32::MAX;

fn run(config: Config, waves: impl IntoIterator<Item = Wave>) -> Result {
    run_with(config, waves).0
}

fn run_with(config: Config, waves: impl IntoIterator<Item = Wave>) -> (Result, Arc<Retry>) {
    let time = ManualClock::new();
    let clock = time.clock();
    let retry = Registry::with_seed(clock.clone(), 7).retry("r");
    retry.reconfigure(config).unwrap();
    let began = clock.now();
    let mut result = Result::default();
    // When, in what order, the failures still to come, and the call; a new one has made no attempt.
    let mut due = BinaryHeap::new();
    let mut order = 0_u64;
    for Wave { at, calls, failures } in waves {
        for _ in 0..calls {
            due.push(Reverse((Duration::from_millis(at), order, failures, 0_u32)));
            order += 1;
        }
    }
    let mut calls: Vec<Progress> = Vec::new();
    while let Some(Reverse((at, _, failures, number))) = due.pop() {
        time.advance(at.saturating_sub(clock.now().since(began)));
        let number = if number == 0 {
            retry.budget().deposit();
            result.calls += 1;
            calls.push(Progress::default());
            u32::try_from(calls.len()).unwrap()
        } else {
            result.retries += 1;
            number
        };
        if failures == 0 {
            result.succeeded += 1;
            continue;
        }
        let situation = Situation {
            is_keyed: false,
            asynchronous: true,
            cause: None,
            operation: None,
            started: Instant::NEVER,
            now: clock.now(),
            deadline: Instant::NEVER,
            idempotent: true,
            standing_back: crate::context::Retries::NONE,
            inside: crate::context::Retries::NONE,
            refused: &|_| false,
        };
        let mut pause = Duration::ZERO;
        let next = retry.next(&mut calls[number as usize - 1], Class::TRANSIENT.into(), &situation, |span| {
            pause = span;
            Ok(Delay::default())
        });
        if next.is_ok() {
            let left = if failures == ALWAYS { ALWAYS } else { failures - 1 };
            due.push(Reverse((at + pause, order, left, number)));
            order += 1;
        }
    }
    result.denied = retry.stats().denied_by_budget;
    (result, retry)
}

fn batch(calls: u32, failures: u32) -> [Wave; 1] {
    [Wave { at: 0, calls, failures }]
}

/// So many calls in each second, evenly.
fn storm(per_second: u32, seconds: u32) -> impl Iterator<Item = Wave> {
    let every = 1_000_000 / u64::from(per_second);
    let count = u64::from(per_second) * u64::from(seconds);
    (0..count).map(move |index| Wave { at: index * every / 1000, calls: 1, failures: ALWAYS })
}

fn config(max: u32, base: u64) -> Config {
    Config::default().max(max).base(Duration::from_millis(base))
}

#[test]
fn a_lone_caller_and_a_small_batch_use_their_own_limit() {
    // H1
    for (max, calls, failures) in
        [(100, 1, 99), (1000, 1, 1000), (9, 100, 2), (9, 100, 9), (3, 300, 3), (1, 900, 1), (5, 200, 5)]
    {
        for base in [0, 10] {
            let result = run(config(max, base), batch(calls, failures));
            let all = Result { calls, succeeded: calls, retries: calls * failures, denied: 0 };
            assert_eq!(result, all, "{calls} calls that fail {failures} times each, base {base} ms");
        }
    }
}

#[test]
fn one_batch_after_the_other_is_not_made_to_pay_for_the_first() {
    // H1
    let waves = (0..10).map(|number| Wave { at: number * 12_000, calls: 100, failures: 2 });
    assert_eq!(run(config(9, 10), waves), Result { calls: 1000, succeeded: 1000, retries: 2000, denied: 0 });
}

#[test]
fn a_batch_that_is_not_small_is_served_as_far_as_it_is_free() {
    let result = run(config(3, 10), batch(1000, 1));
    assert_eq!(result.succeeded, 1000, "one retry for each of 1000: {result:?}");
    let result = run(config(3, 10), batch(5000, 1));
    assert!(result.retries <= 1000 + 530, "5000 at once are a storm: {result:?}");
}

#[test]
fn a_large_batch_that_fails_twice_ends_at_its_second_retry_unless_more_is_free() {
    // H1: the n-th retry of each call is free up to n times the calls, so the second one for 500 calls and not for 1000.
    for (calls, free, succeeded) in
        [(500, 1000, 500), (1000, 1000, 0), (1000, 2000, 1000), (1000, 10_000, 1000)]
    {
        let config = config(9, 10).budget_free(free);
        let (result, retry) = run_with(config, batch(calls, 2));
        let retries = if succeeded > 0 { 2 * calls } else { calls };
        let denied = u64::from(calls - succeeded);
        assert_eq!(result, Result { calls, succeeded, retries, denied }, "{calls} calls, {free} free");
        // Not silently: the statistics have each of them.
        assert_eq!(retry.stats().denied_by_budget, denied);
    }
    // A storm is bounded with the larger number as well: it is what a batch may borrow, and pays back.
    let result = run(config(3, 100).budget_free(10_000), storm(1000, 60));
    assert!(result.load() < 1.3, "{:.3} attempts for each call: {result:?}", result.load());
    assert!(result.denied > u64::from(result.calls) / 2);
}

#[test]
fn a_storm_stays_within_the_share_of_its_calls_and_the_reserve() {
    // T37
    let reserve = |seconds: u32| 30 + 3 * (seconds + 20);
    for (percent, seconds) in [(10, 20), (10, 60), (20, 20), (20, 60)] {
        for base in [0, 100] {
            let config = config(3, base).budget_ratio(Ratio::percent(f64::from(percent)).unwrap());
            let result = run(config, storm(1000, seconds));
            let allowed = result.calls * percent / 100 + reserve(seconds);
            assert!(result.retries <= allowed, "{percent} %, {seconds} s, base {base} ms: {result:?}");
            assert!(result.denied > u64::from(result.calls) / 2);
        }
    }
    let defaults = run(config(3, 100), storm(1000, 60));
    assert!(defaults.load() < 1.105, "{:.3} attempts for each call", defaults.load());
    let short = run(config(3, 100), storm(1000, 10));
    assert!(short.load() < 1.2, "{:.3} while its beginning is not paid for yet", short.load());
}

#[test]
fn a_storm_of_few_calls_is_bounded_in_retries_a_second() {
    // T37: about 100 a second, more of them at the beginning, and what the calls and the seconds earn
    for per_second in [1, 5, 20, 50, 90, 110, 300] {
        let result = run(config(1000, 0), storm(per_second, 60));
        let earned = result.calls / 10 + 30 + 3 * 80;
        assert!(result.retries <= 100 * 60 + 6000 + earned, "{per_second} a second: {result:?}");
    }
    let result = run(config(3, 100), storm(5, 60));
    assert_eq!((result.retries, result.denied), (result.calls * 3, 0), "each uses its own limit: {result:?}");
}

#[test]
fn after_a_storm_retries_are_made_again() {
    // T39
    let after = (0..100).map(|index| Wave { at: 75_000 + index * 10, calls: 1, failures: 1 });
    let result = run(config(3, 10), storm(1000, 60).chain(after));
    assert_eq!(result.succeeded, 100, "{result:?}");
}

#[test]
fn calls_that_mostly_succeed_are_repeated_at_any_rate() {
    // T37: what a budget is for is not to be felt below its ratio
    let waves = (0..60_000).map(|index| Wave { at: index, calls: 1, failures: u32::from(index % 20 == 0) });
    let result = run(config(3, 100), waves);
    assert_eq!((result.succeeded, result.denied), (60_000, 0), "{result:?}");
}

#[test]
fn without_a_budget_every_call_uses_its_own_limit() {
    // H1
    let result = run(config(3, 10).budget("off"), storm(1000, 5));
    assert_eq!((result.retries, result.denied), (15_000, 0));
    let strict = config(3, 10).budget_free(0);
    assert!(run(strict, batch(100, 2)).denied > 0, "and without free retries small batches need tokens");
    let strict = config(3, 10).budget_reserve(0);
    assert!(run(strict, batch(100, 2)).denied > 0, "and so without a reserve");
}

#[test]
fn a_budget_can_be_taken_away_and_given_back_at_run_time() {
    // H1
    let (_, retry) = run_with(config(3, 0), storm(1000, 5));
    let outcome = || retry.call(|| None::<u32>).is_none() && stopped().unwrap().why == Stop::Budget;
    assert!(outcome(), "a storm: nothing is left");
    retry.reconfigure(config(3, 0).budget("off")).unwrap();
    assert!(!outcome());
    retry.reconfigure(config(3, 0)).unwrap();
    assert!(outcome());
    assert!(retry.reconfigure(config(3, 0).budget("other")).is_err());
}
