//! The adaptive bulkhead as a stage.

use super::*;
use crate::adaptive::{AdaptiveLimitStats, LimitReason};

/// All stages, with an adaptive bulkhead.
fn adaptive(fixture: &Fixture, config: bulkhead::Config) -> Pipeline {
    let pipeline = fixture.all();
    fixture.registry.bulkhead("x").reconfigure(config.adaptive(true)).unwrap();
    let breaker = circuit_breaker::Config::default().failure_threshold(1_000_000);
    fixture.registry.circuit_breaker("x").reconfigure(breaker).unwrap();
    pipeline
}

fn found(fixture: &Fixture) -> AdaptiveLimitStats {
    fixture.registry.bulkhead("x").stats().adaptive.unwrap()
}

/// Makes consecutive calls that take 10 ms each.
fn calls(fixture: &Fixture, pipeline: &Pipeline, number: u32, outcome: impl Fn() -> Outcome) {
    for _ in 0..number {
        let work = || {
            fixture.time.advance(MS(10));
            outcome()
        };
        let _ = pipeline.request().judge(Verdict::by_class).call(work);
    }
}

#[test]
fn successful_attempts_raise_the_limit() {
    let fixture = Fixture::new();
    let pipeline = adaptive(&fixture, bulkhead::Config::default().adaptive_initial(1));
    calls(&fixture, &pipeline, 300, || Ok(1));
    let found = found(&fixture);
    assert!(found.limit > 1 && found.latency.unwrap().abs_diff(MS(10)) < MS(1), "{found:?}");
    fixture.nothing_is_held();
}

#[test]
fn attempts_that_time_out_lower_the_limit() {
    // T60
    let fixture = Fixture::new();
    let pipeline = adaptive(&fixture, bulkhead::Config::default());
    for _ in 0..120 {
        let outcome = run(
            &fixture.time,
            pipeline.call_async(async || {
                std::future::pending::<()>().await;
                Outcome::Ok(1)
            }),
        );
        assert!(outcome.is_err());
    }
    let found = found(&fixture);
    assert!(found.limit < 20 && found.reason == LimitReason::Overloaded, "{found:?}");
    fixture.nothing_is_held();
}

#[test]
fn the_time_in_the_queue_does_not_count() {
    // T53
    let fixture = Fixture::new();
    let config = bulkhead::Config::default().adaptive_max(1).max_queue(1).max_wait(MS(90));
    let pipeline = adaptive(&fixture, config);
    let bulkhead = fixture.registry.bulkhead("x");
    for _ in 0..200 {
        let held = bulkhead.try_acquire().unwrap();
        let call = pipeline.call_async(async || {
            fixture.time.advance(MS(10));
            Outcome::Ok(1)
        });
        let mut call = std::pin::pin!(call);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending(), "it waits");
        fixture.time.advance(MS(80));
        drop(held);
        assert!(call.as_mut().poll(&mut cx).is_ready());
    }
    let found = found(&fixture);
    assert!(found.latency.unwrap().abs_diff(MS(10)) < MS(1), "{found:?}");
}

#[test]
fn ignored_rejected_and_cancelled_calls_do_not_change_the_limit() {
    // T21, T68, T147
    let fixture = Fixture::new();
    let pipeline = adaptive(&fixture, bulkhead::Config::default().adaptive_initial(1));
    calls(&fixture, &pipeline, 200, || Err(Error::Mistake));
    let bulkhead = fixture.registry.bulkhead("x");
    let held = bulkhead.try_acquire().unwrap();
    calls(&fixture, &pipeline, 200, || Ok(1));
    drop(held);
    for polls in 1..200_u32 {
        let mut call = Box::pin(pipeline.call_async(async || {
            pending(1000).await;
            Outcome::Ok(1)
        }));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..polls % 7 {
            assert!(call.as_mut().poll(&mut cx).is_pending());
            fixture.time.advance(MS(10));
        }
    }
    assert_eq!((found(&fixture).windows, found(&fixture).limit), (0, 1));
    fixture.nothing_is_held();
}

#[test]
fn a_call_that_began_before_adaptive_was_enabled_releases_its_permit_and_is_not_recorded() {
    // T117
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("op").bulkhead("x").build();
    let bulkhead = fixture.registry.bulkhead("x");
    // The first calls of an operation are always timed.
    past_the_first_samples(&pipeline);
    for on in [true, false, true] {
        let outcome = pipeline.call(|| {
            bulkhead.reconfigure(bulkhead::Config::default().adaptive(on)).unwrap();
            fixture.time.advance(MS(1000));
            Outcome::Ok(1)
        });
        assert_eq!((outcome.unwrap(), bulkhead.stats().in_use), (1, 0));
        assert_eq!(bulkhead.stats().adaptive.map(|found| found.windows), on.then_some(0));
    }
}

#[test]
fn explain_shows_its_bounds() {
    let fixture = Fixture::new();
    let pipeline = adaptive(&fixture, bulkhead::Config::default().adaptive_max(64));
    let text = pipeline.explain().to_string();
    assert!(text.contains("adaptive = true  (run-time)") && text.contains("adaptive_max = 64"), "{text}");
}
