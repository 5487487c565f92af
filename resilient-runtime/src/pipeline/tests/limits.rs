//! Rate limits as a stage.

use super::*;
use crate::rate_limit;

fn limited(fixture: &Fixture, rate: &str) -> Pipeline {
    let pipeline = fixture.all();
    let config = rate_limit::Config::default().rate(rate.parse::<rate_limit::Rate>().unwrap());
    fixture.registry.rate_limiter("x").reconfigure(config).unwrap();
    drop(pipeline);
    let stages = fixture.registry.pipeline("op").rate_limit("x").circuit_breaker("x").retry("x");
    stages.bulkhead("x").timeout("x").build()
}

#[test]
fn each_attempt_pays() {
    let fixture = Fixture::new();
    let pipeline = limited(&fixture, "10/h");
    let calls = Cell::new(0);
    let outcome = pipeline.call(|| {
        calls.set(calls.get() + 1);
        if calls.get() < 2 { Err(Error::Down) } else { Outcome::Ok(1) }
    });
    assert!(outcome.is_ok());
    assert_eq!(fixture.registry.rate_limiter("x").stats().remaining, 8);
}

#[test]
fn a_rejection_by_the_bulkhead_refunds_the_token() {
    let fixture = Fixture::new();
    let pipeline = limited(&fixture, "10/h");
    let bulkhead = fixture.registry.bulkhead("x");
    let taken = bulkhead.try_acquire().unwrap();
    let refused = pipeline.call(|| Outcome::Ok(1)).unwrap_err();
    assert!(
        matches!(refused, Error::Rejected(ref rejection) if rejection.kind() == RejectionKind::BulkheadFull)
    );
    assert_eq!(fixture.registry.rate_limiter("x").stats().remaining, 10);
    drop(taken);
    assert!(pipeline.call(|| Outcome::Ok(1)).is_ok());
    assert_eq!(fixture.registry.rate_limiter("x").stats().remaining, 9);
}

#[test]
fn a_rate_limited_call_is_not_a_failure_and_is_retried_within_the_deadline() {
    // T21
    let fixture = Fixture::new();
    let pipeline = limited(&fixture, "5/s");
    let mut succeeded = 0;
    for _ in 0..6 {
        succeeded += u32::from(pipeline.call(|| Outcome::Ok(1)).is_ok());
    }
    assert_eq!(succeeded, 6, "the sixth waited 200 ms of its 500");
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.failed, 0);
    let limiter = fixture.registry.rate_limiter("x");
    limiter
        .reconfigure(rate_limit::Config::default().rate(rate_limit::Rate::new(1, MS(1000)).unwrap()))
        .unwrap();
    fixture.time.advance(MS(10_000));
    assert!(pipeline.call(|| Outcome::Ok(1)).is_ok());
    let Err(Error::Rejected(rejection)) = pipeline.call(|| Outcome::Ok(1)) else { panic!("within a second") };
    assert_eq!((rejection.kind(), rejection.component()), (RejectionKind::RateLimited, "x"));
    assert!(rejection.retry_after().unwrap() > MS(500), "{rejection}");
    assert_eq!(pipeline.stats().rejected, 1);
    fixture.nothing_is_held();
}

#[test]
fn each_key_has_its_own_limit() {
    let fixture = Fixture::new();
    let pipeline = limited(&fixture, "2/h");
    let ask = |key: &str, weight: u32| {
        let request = pipeline.request().rate_key(key).weight(weight).judge(Verdict::by_class);
        request.call(|| Outcome::Ok(1)).is_ok()
    };
    assert!(ask("a", 2) && ask("b", 1) && ask("b", 1));
    assert!(!ask("a", 1) && !ask("b", 1) && !ask("c", 3));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_turn_and_returns_it_when_dropped() {
    // T146
    let registry = Registry::with_clock(crate::clock::Clock::tokio());
    let rate = rate_limit::Rate::new(1, MS(100)).unwrap();
    let config = rate_limit::Config::default().rate(rate).max_wait(MS(1000));
    registry.rate_limiter("x").reconfigure(config).unwrap();
    let pipeline = registry.pipeline("op").rate_limit("x").bulkhead("x").circuit_breaker("x").build();
    let ask = || pipeline.call_async(async || Outcome::Ok(1));
    assert!(ask().await.is_ok());
    assert!(tokio::time::timeout(MS(50), ask()).await.is_err());
    let began = tokio::time::Instant::now();
    assert!(ask().await.is_ok());
    assert!(began.elapsed() <= MS(52), "the turn of the dropped call");
    let stats = pipeline.stats();
    assert_eq!((stats.succeeded, stats.cancelled, stats.in_flight), (2, 1, 0));
    assert_eq!(registry.rate_limiter("x").stats().queued, 0);
}

#[test]
fn a_drop_at_any_poll_refunds_the_token_unless_the_body_began() {
    // T146: in the bulkhead queue after the rate limit, in the body, and in the pause after it.
    use std::task::{Context, Poll, Waker};
    let mut ended = 0;
    for polls in 0..16 {
        let fixture = Fixture::new();
        let pipeline = limited(&fixture, "10/h");
        let (limiter, bulkhead) = (fixture.registry.rate_limiter("x"), fixture.registry.bulkhead("x"));
        let queued = bulkhead::Config::default().max_concurrent(1).max_queue(4).max_wait(MS(400));
        bulkhead.reconfigure(queued).unwrap();
        let mut permit = Some(bulkhead.try_acquire().unwrap());
        let began = Cell::new(0);
        let mut call = Box::pin(pipeline.call_async(|| {
            began.set(began.get() + 1);
            let (mut left, fails) = (3, began.get() == 1);
            std::future::poll_fn(move |_| {
                left -= 1;
                let outcome = if fails { Outcome::Err(Error::Down) } else { Outcome::Ok(1) };
                if left == 0 { Poll::Ready(outcome) } else { Poll::Pending }
            })
        }));
        let mut cx = Context::from_waker(Waker::noop());
        for poll in 0..polls {
            if poll == 4 {
                permit = None;
            }
            if std::future::Future::poll(call.as_mut(), &mut cx).is_ready() {
                ended += 1;
                break;
            }
            fixture.time.advance(MS(10));
        }
        drop((call, permit));
        assert_eq!(limiter.stats().remaining, 10 - began.get(), "after {polls} polls");
        assert_eq!(bulkhead.stats().queued, 0);
        let stats = pipeline.stats();
        assert_eq!((stats.in_flight, stats.calls), (0, stats.succeeded + stats.cancelled), "{stats:?}");
        fixture.nothing_is_held();
    }
    assert!(ended > 2, "the last calls complete");
}
