//! Sliding window: never admits more than the rate in any window.

use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::Component;
use resilient_runtime::clock::ManualClock;
use resilient_runtime::rate_limit::{Algorithm, Config, Rate, RateLimiter};

use crate::{SECOND, registry};

/// A limiter of a hundred calls per minute.
fn limiter() -> (ManualClock, Arc<RateLimiter>) {
    let (time, registry) = registry();
    let limiter = registry.rate_limiter("quota");
    let config = Config::default().rate("100/m".parse::<Rate>().unwrap()).algorithm(Algorithm::SlidingWindow);
    limiter.reconfigure(config).unwrap();
    (time, limiter)
}

#[test]
fn a_window_admits_the_whole_rate_at_once_but_not_more() {
    let (_, limiter) = limiter();
    let admitted = (0..300).filter(|_| limiter.check().allowed).count();
    assert_eq!(admitted, 100);
}

#[test]
fn no_window_admits_more_than_the_rate_wherever_it_begins() {
    let (time, limiter) = limiter();
    let mut admitted = Vec::new();
    time.advance(Duration::from_secs(5));
    for tenth in 0..3000_u32 {
        (0..3).filter(|_| limiter.check().allowed).for_each(|_| admitted.push(tenth));
        time.advance(Duration::from_millis(100));
    }
    for begin in 0..2400 {
        let held = admitted.iter().filter(|at| (begin..begin + 600).contains(*at)).count();
        assert!(held <= 100, "{held} in the minute from {begin}");
    }
    assert!(admitted.len() > 400, "{} in five minutes", admitted.len());
}

#[test]
fn each_key_has_its_own_window() {
    let (time, limiter) = limiter();
    assert!((0..100).all(|_| limiter.check_key("ada").allowed));
    assert!(!limiter.check_key("ada").allowed);
    assert!(limiter.check_key("bob").allowed);
    time.advance(120 * SECOND);
    assert!(limiter.check_key("ada").allowed);
}
