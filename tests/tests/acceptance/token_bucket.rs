//! Token bucket: admits a burst, and then the rate.

use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::Component;
use resilient_runtime::clock::ManualClock;
use resilient_runtime::rate_limit::{Config, Rate, RateLimiter};

use crate::{SECOND, registry};

/// A limiter of ten calls per second, with a burst of five.
fn limiter() -> (ManualClock, Arc<RateLimiter>) {
    let (time, registry) = registry();
    let limiter = registry.rate_limiter("api");
    limiter.reconfigure(Config::default().rate("10/s".parse::<Rate>().unwrap()).burst(5)).unwrap();
    (time, limiter)
}

fn admitted(limiter: &RateLimiter, calls: u32) -> usize {
    (0..calls).filter(|_| limiter.check().allowed).count()
}

#[test]
fn it_admits_the_burst_and_then_one_call_per_interval() {
    let (time, limiter) = limiter();
    assert_eq!(admitted(&limiter, 20), 5);
    time.advance(Duration::from_millis(99));
    assert_eq!(admitted(&limiter, 20), 0);
    time.advance(Duration::from_millis(1));
    assert_eq!(admitted(&limiter, 20), 1);
}

#[test]
fn an_idle_limiter_accumulates_at_most_the_burst() {
    let (time, limiter) = limiter();
    assert_eq!(admitted(&limiter, 20), 5);
    time.advance(3600 * SECOND);
    assert_eq!(admitted(&limiter, 20), 5);
}

#[test]
fn a_rejection_says_when_the_next_token_is_available() {
    let (time, limiter) = limiter();
    admitted(&limiter, 5);
    let refused = limiter.check();
    assert_eq!((refused.allowed, refused.remaining), (false, 0));
    time.advance(refused.retry_after.unwrap());
    assert!(limiter.check().allowed);
}
