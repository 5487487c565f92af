//! Leaky bucket: admits calls at equal intervals.

use std::time::Duration;

use resilient_runtime::clock::Clock;
use resilient_runtime::rate_limit::{Algorithm, Config, Rate, RateLimiter};
use resilient_runtime::{Component, Registry, RejectionKind};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A limiter of ten calls per second, in which a call waits for at most `max_wait`.
fn limiter(max_wait: Duration) -> std::sync::Arc<RateLimiter> {
    let limiter = Registry::with_clock(Clock::tokio()).rate_limiter("mail");
    let config = Config::default().rate("10/s".parse::<Rate>().unwrap()).algorithm(Algorithm::LeakyBucket);
    limiter.reconfigure(config.max_wait(max_wait)).unwrap();
    limiter
}

/// Starts `calls` calls at the same time. Returns when each was admitted, or why it was rejected.
async fn together(limiter: &std::sync::Arc<RateLimiter>, calls: u32) -> Vec<Result<Duration, RejectionKind>> {
    let start = tokio::time::Instant::now();
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                let token = limiter.acquire().await;
                token.map(|_| start.elapsed()).map_err(|refused| refused.kind())
            })
        })
        .collect();
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.unwrap());
    }
    ended
}

#[tokio::test(start_paused = true)]
async fn calls_are_admitted_at_equal_intervals_in_the_order_of_arrival() {
    let limiter = limiter(MS(1000));
    let left = together(&limiter, 5).await;
    for (number, at) in (0..).zip(left) {
        let (at, due) = (at.unwrap(), MS(100 * number));
        assert!(at >= due && at <= due + MS(5), "call {number} was admitted at {at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_too_long_is_rejected() {
    let limiter = limiter(MS(250));
    let left = together(&limiter, 5).await;
    assert!(left[..3].iter().all(Result::is_ok), "{left:?}");
    assert_eq!(left[3..], [Err(RejectionKind::RateLimited), Err(RejectionKind::RateLimited)]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_limiter_accumulates_no_burst() {
    let limiter = limiter(MS(1000));
    tokio::time::sleep(Duration::from_hours(1)).await;
    let left = together(&limiter, 2).await;
    assert!(*left[1].as_ref().unwrap() >= MS(100), "{left:?}");
}
