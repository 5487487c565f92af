mod bounds;
mod keys;
mod shared;
mod waiting;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, Instant, ManualClock};
use crate::registry::Registry;
use crate::rejection::{Rejection, RejectionKind};

const MS: Duration = Duration::from_millis(1);

fn limiter(config: Config) -> (ManualClock, Arc<RateLimiter>) {
    let time = ManualClock::new();
    let limiter = Registry::with_clock(time.clock()).rate_limiter("r");
    limiter.reconfigure(config).unwrap();
    (time, limiter)
}

fn rate(text: &str) -> Config {
    Config::default().rate(text.parse::<Rate>().unwrap())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn admitted(limiter: &RateLimiter, calls: u32) -> u32 {
    (0..calls).map(|_| u32::from(limiter.try_acquire().is_ok())).sum()
}

#[test]
fn the_burst_is_as_configured_at_first_and_after_idle_time() {
    // T87
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let (time, limiter) = limiter(rate("10/s").algorithm(algorithm));
        assert_eq!(admitted(&limiter, 100), 10, "{algorithm:?}");
        time.advance(Duration::from_hours(10_000));
        assert_eq!(admitted(&limiter, 100), 10, "{algorithm:?}");
    }
}

#[test]
fn a_check_returns_the_state_of_the_limit() {
    let (time, limiter) = limiter(rate("10/s").burst(2));
    let first = limiter.check();
    let expected =
        Decision { allowed: true, limit: 2, remaining: 1, retry_after: None, reset_after: MS * 100 };
    assert_eq!(first, expected);
    limiter.check();
    let refused = limiter.check();
    assert_eq!((refused.allowed, refused.remaining), (false, 0));
    assert_eq!((refused.retry_after, refused.reset_after), (Some(MS * 100), MS * 200));
    time.advance(MS * 100);
    assert!(limiter.check().allowed);
    assert!(limiter.check_weighted(0).allowed, "a weight of 0 takes no token");
}

#[test]
fn a_call_that_weighs_more_than_the_limit_is_rejected_at_once() {
    // T89
    let (_, limiter) = limiter(rate("10/s").burst(5).max_wait(MS * 60_000));
    let refused = limiter.check_weighted(6);
    assert_eq!((refused.allowed, refused.retry_after), (false, None));
    let mut turn = pin!(limiter.turn(Request::ONE.with_weight(6), Instant::NEVER));
    assert!(matches!(poll(turn.as_mut()), Poll::Ready(Err(rejection)) if rejection.retry_after().is_none()));
    assert!(limiter.check_weighted(5).allowed);
}

#[test]
fn chained_limits_return_the_first_token_if_the_second_rejects() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    let (wide, narrow) = (registry.rate_limiter("wide"), registry.rate_limiter("narrow"));
    wide.reconfigure(rate("10/s")).unwrap();
    narrow.reconfigure(rate("1/s")).unwrap();
    assert_eq!(RateLimiter::try_acquire_all(&[&wide, &narrow]).unwrap().len(), 2);
    let refused = RateLimiter::try_acquire_all(&[&wide, &narrow]).unwrap_err();
    assert_eq!((refused.component(), refused.kind()), ("narrow", RejectionKind::RateLimited));
    assert_eq!(wide.stats().remaining, 9);
}

#[test]
fn a_returned_token_can_be_taken_again() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let (time, limiter) = limiter(rate("3/s").algorithm(algorithm));
        time.advance(MS * 10_050);
        let tokens: Vec<_> = (0..3).map(|_| limiter.try_acquire().unwrap()).collect();
        assert!(limiter.try_acquire().is_err());
        if algorithm != Algorithm::TokenBucket {
            time.advance(MS * 20);
        }
        tokens.into_iter().for_each(Token::give_back);
        assert_eq!(admitted(&limiter, 9), 3, "{algorithm:?}");
        let keyed = limiter.try_acquire_key("k").unwrap();
        keyed.give_back();
        assert_eq!(limiter.check_key_weighted("k", 0).remaining, 3, "{algorithm:?}");
    }
    // The part of a token that has been refilled since is not returned.
    let (time, limiter) = limiter(rate("10/s"));
    let token = limiter.try_acquire().unwrap();
    time.advance(MS * 60);
    token.give_back();
    assert_eq!(limiter.check_weighted(0).reset_after, Duration::ZERO);
    assert_eq!(admitted(&limiter, 99), 10);
}

#[test]
fn a_live_change_keeps_the_counts() {
    // T117
    let (time, limiter) = limiter(rate("10/s"));
    assert_eq!(admitted(&limiter, 8), 8);
    limiter.reconfigure(rate("20/s").burst(10)).unwrap();
    assert_eq!(admitted(&limiter, 10), 2, "2 of 10 were left");
    time.advance(MS * 50);
    assert_eq!(admitted(&limiter, 10), 1, "at the new rate");
    limiter.reconfigure(Config::default()).unwrap();
    assert_eq!(admitted(&limiter, 1000), 1000, "without a rate nothing is limited");
    limiter.reconfigure(rate("1/s")).unwrap();
    assert_eq!(admitted(&limiter, 10), 1);
}

#[test]
fn a_clock_that_steps_back_does_not_block_or_grant_a_burst() {
    // T88
    fn check(meter: &mut impl meter::Meter, rule: Rule) {
        const HOUR: u64 = 3_600_000_000_000;
        let mut take = |now: u64| (0..100).filter(|_| meter.take(rule, now, 1).is_ok()).count();
        assert_eq!(take(10 * HOUR), 10, "{rule:?}");
        assert_eq!(take(9 * HOUR), 0, "no extra burst, {rule:?}");
        assert_eq!(take(9 * HOUR + 2_000_000_000), 10, "not blocked, {rule:?}");
        assert_eq!(take(20 * HOUR), 10, "forward, {rule:?}");
        // Two threads: the one that read the clock first acts second.
        assert_eq!(take(20 * HOUR - 1_000_000), 0, "{rule:?}");
        assert_eq!(take(20 * HOUR + 2_000_000_000), 10, "{rule:?}");
    }
    let rule = |algorithm| Rule::of(&rate("10/s").algorithm(algorithm));
    check(&mut meter::Cell::default(), rule(Algorithm::TokenBucket));
    check(&mut meter::Window::default(), rule(Algorithm::SlidingWindow));
    check(&mut meter::Log::default(), rule(Algorithm::SlidingLog));
}

#[test]
fn threads_take_no_more_than_the_limit() {
    // T156
    let (_, limiter) = limiter(rate("1000/h"));
    let sum: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| admitted(&limiter, 1000))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sum, 1000);
    assert_eq!(limiter.stats().rejected, 7000);
}

#[test]
fn invalid_settings_are_rejected() {
    let limiter = Registry::new().rate_limiter("r");
    let bad = rate("20000/s").algorithm(Algorithm::SlidingLog).burst(0).max_wait(Duration::ZERO);
    let error = limiter.reconfigure(bad.max_queue(0).max_keys(0)).unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["rate", "burst", "burst", "max_wait", "max_queue", "max_keys"]);
    let endless = limiter.reconfigure(rate("1/day").burst(1_000_000)).unwrap_err();
    assert!(endless.to_string().contains("more than 100 years"), "{endless}");
    assert!(limiter.reconfigure(rate("1/day").burst(36_500)).is_ok());
    let error = limiter.reconfigure(rate("1/s").algorithm(Algorithm::LeakyBucket)).unwrap_err();
    assert!(error.to_string().contains("delays calls"), "{error}");
}
