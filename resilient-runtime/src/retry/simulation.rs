//! T37: simulates the retry budget for single calls, batches and outages in virtual time. Attempts take no time, pauses
//! follow the backoff, and all calls run concurrently.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::classify::Class;
use crate::clock::{Delay, ManualClock};
use crate::ratio::Ratio;
use crate::registry::Registry;

/// Calls that begin at the same time.
struct Wave {
    /// In milliseconds.
    at: u64,
    calls: u32,
    /// How many attempts of each call fail before one succeeds.
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
    /// Returns the attempts per call.
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
    // The time, the order, the remaining failures and the call. A new call has made no attempt.
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
            suppressed: crate::context::Retries::NONE,
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

/// Evenly distributed calls that always fail.
fn storm(per_second: u32, seconds: u32) -> impl Iterator<Item = Wave> {
    let every = 1_000_000 / u64::from(per_second);
    let count = u64::from(per_second) * u64::from(seconds);
    (0..count).map(move |index| Wave { at: index * every / 1000, calls: 1, failures: ALWAYS })
}

fn config(max: u32, base: u64) -> Config {
    Config::default().max(max).base(Duration::from_millis(base))
}

#[test]
fn a_single_caller_and_a_small_batch_are_limited_by_max() {
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
fn consecutive_small_batches_pay_no_debt() {
    let waves = (0..10).map(|number| Wave { at: number * 12_000, calls: 100, failures: 2 });
    assert_eq!(run(config(9, 10), waves), Result { calls: 1000, succeeded: 1000, retries: 2000, denied: 0 });
}

#[test]
fn a_large_batch_gets_its_free_retries() {
    let result = run(config(3, 10), batch(1000, 1));
    assert_eq!(result.succeeded, 1000, "one retry for each of 1000: {result:?}");
    let result = run(config(3, 10), batch(5000, 1));
    assert!(result.retries <= 1000 + 530, "5000 at once exceed the free retries: {result:?}");
}

#[test]
fn a_large_batch_gets_no_second_retry_unless_free_is_larger() {
    // The n-th retry of each call is free up to `free / n` calls: the second one for 500 calls, but not for 1000.
    for (calls, free, succeeded) in
        [(500, 1000, 500), (1000, 1000, 0), (1000, 2000, 1000), (1000, 10_000, 1000)]
    {
        let config = config(9, 10).budget_free(free);
        let (result, retry) = run_with(config, batch(calls, 2));
        let retries = if succeeded > 0 { 2 * calls } else { calls };
        let denied = u64::from(calls - succeeded);
        assert_eq!(result, Result { calls, succeeded, retries, denied }, "{calls} calls, {free} free");
        // The statistics count each denied call.
        assert_eq!(retry.stats().denied_by_budget, denied);
    }
    // A larger `free` limits an outage too: it is a loan that is paid back.
    let result = run(config(3, 100).budget_free(10_000), storm(1000, 60));
    assert!(result.load() < 1.3, "{:.3} attempts for each call: {result:?}", result.load());
    assert!(result.denied > u64::from(result.calls) / 2);
}

#[test]
fn retries_in_an_outage_stay_within_the_ratio_and_the_reserve() {
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
    assert!(short.load() < 1.2, "{:.3} before the initial debt is paid", short.load());
}

#[test]
fn an_outage_with_few_calls_is_limited_in_retries_per_second() {
    // T37: about 100 a second, more at the beginning, and what the calls and the seconds earn
    for per_second in [1, 5, 20, 50, 90, 110, 300] {
        let result = run(config(1000, 0), storm(per_second, 60));
        let earned = result.calls / 10 + 30 + 3 * 80;
        assert!(result.retries <= 100 * 60 + 6000 + earned, "{per_second} a second: {result:?}");
    }
    let result = run(config(3, 100), storm(5, 60));
    assert_eq!((result.retries, result.denied), (result.calls * 3, 0), "each uses its own limit: {result:?}");
}

#[test]
fn retries_work_again_after_an_outage() {
    // T39
    let after = (0..100).map(|index| Wave { at: 75_000 + index * 10, calls: 1, failures: 1 });
    let result = run(config(3, 10), storm(1000, 60).chain(after));
    assert_eq!(result.succeeded, 100, "{result:?}");
}

#[test]
fn calls_that_mostly_succeed_are_always_retried() {
    // T37: below its ratio, a budget denies nothing
    let waves = (0..60_000).map(|index| Wave { at: index, calls: 1, failures: u32::from(index % 20 == 0) });
    let result = run(config(3, 100), waves);
    assert_eq!((result.succeeded, result.denied), (60_000, 0), "{result:?}");
}

#[test]
fn without_a_budget_every_call_is_limited_by_max() {
    let result = run(config(3, 10).budget("off"), storm(1000, 5));
    assert_eq!((result.retries, result.denied), (15_000, 0));
    let strict = config(3, 10).budget_free(0);
    assert!(run(strict, batch(100, 2)).denied > 0, "without free retries small batches need tokens");
    let strict = config(3, 10).budget_reserve(0);
    assert!(run(strict, batch(100, 2)).denied > 0, "the same without a reserve");
}

#[test]
fn a_budget_can_be_disabled_and_enabled_at_run_time() {
    let (_, retry) = run_with(config(3, 0), storm(1000, 5));
    let outcome = || retry.call(|| None::<u32>).is_none() && stopped().unwrap().why == Stop::Budget;
    assert!(outcome(), "after an outage no token is left");
    retry.reconfigure(config(3, 0).budget("off")).unwrap();
    assert!(!outcome());
    retry.reconfigure(config(3, 0)).unwrap();
    assert!(outcome());
    assert!(retry.reconfigure(config(3, 0).budget("other")).is_err());
}
