//! A bulkhead that finds its limit, among the stages.

use super::*;
use crate::adaptive::{AdaptiveLimitStats, LimitReason};

/// All stages, of which the bulkhead is adaptive.
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

/// One after the other, each of which takes 10 ms.
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
fn it_learns_from_attempts_that_succeed() {
    let fixture = Fixture::new();
    let pipeline = adaptive(&fixture, bulkhead::Config::default().adaptive_initial(1));
    calls(&fixture, &pipeline, 300, || Ok(1));
    let found = found(&fixture);
    assert!(found.limit > 1 && found.latency.unwrap().abs_diff(MS(10)) < MS(1), "{found:?}");
    fixture.nothing_is_held();
}

#[test]
fn attempts_that_are_cut_off_bring_it_down() {
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
fn an_attempt_counts_from_when_it_left_the_queue() {
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
fn neither_the_callers_mistakes_nor_refusals_nor_cancelled_calls_are_evidence() {
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
fn a_call_that_began_before_it_was_turned_on_gives_its_permit_back_and_says_nothing() {
    // T117
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("op").bulkhead("x").build();
    let bulkhead = fixture.registry.bulkhead("x");
    // Of the first calls of an operation the time is always taken.
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
