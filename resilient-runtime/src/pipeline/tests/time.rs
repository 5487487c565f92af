//! Calls that time out.

use super::*;

#[test]
fn an_attempt_that_timed_out_is_retried_only_if_idempotent() {
    // T33
    for (idempotent, attempts) in [(false, 1), (true, 2)] {
        let fixture = Fixture::new();
        fixture.all();
        fixture.limit_attempts();
        let builder = fixture.registry.pipeline("op").retry("x").timeout("x");
        let pipeline = if idempotent { builder.idempotent() } else { builder }.build();
        let calls = Cell::new(0);
        let call = pipeline.call_async(async || -> Outcome {
            calls.set(calls.get() + 1);
            if calls.get() == 1 { std::future::pending().await } else { Ok(1) }
        });
        let outcome = run(&fixture.time, call);
        assert_eq!(calls.get(), attempts);
        assert_eq!(outcome.is_ok(), idempotent, "{outcome:?}");
        fixture.nothing_is_held();
    }
}

#[test]
fn an_attempt_keeps_the_limit_it_began_with() {
    // T117
    let settings = [
        timeout::Config::default().total(MS(500)).attempt(MS(100)),
        timeout::Config::default().total(MS(500)),
    ];
    for (before, after) in [(0, 1), (1, 0)] {
        let fixture = Fixture::new();
        let timeout = fixture.registry.timeout("x");
        timeout.reconfigure(settings[before].clone()).unwrap();
        let pipeline = fixture.registry.pipeline("op").timeout("x").build();
        let mut call = Box::pin(pipeline.call_async(async || -> Outcome { std::future::pending().await }));
        assert!(
            call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
        );
        timeout.reconfigure(settings[after].clone()).unwrap();
        let error = run(&fixture.time, call).unwrap_err();
        let expected = [RejectionKind::AttemptTimeout, RejectionKind::TotalTimeout][before];
        assert!(matches!(error, Error::Rejected(ref r) if r.kind() == expected), "{error}");
        let stats = timeout.stats();
        assert_eq!([stats.attempt_timeouts, stats.total_timeouts][before], 1);
    }
}

#[test]
fn the_total_timeout_ends_everything() {
    // T66
    let fixture = Fixture::new();
    fixture.all();
    fixture.registry.timeout("x").reconfigure(timeout::Config::default().total(MS(25))).unwrap();
    let pipeline = fixture.registry.pipeline("op").retry("x").timeout("x").idempotent().build();
    let start = fixture.time.clock().now();
    let calls = Cell::new(0);
    let call = pipeline.call_async(async || {
        calls.set(calls.get() + 1);
        Outcome::Err(Error::Down)
    });
    assert!(matches!(run(&fixture.time, call), Err(Error::Down)), "the last real error");
    assert_eq!(calls.get(), 2, "the pause of 20 ms after the second attempt would end at 30 ms");
    assert!(fixture.time.clock().now().since(start) < MS(25));
}

#[test]
fn a_bulkhead_called_directly_queues_no_longer_than_the_outer_deadline() {
    // T66
    let fixture = Fixture::new();
    fixture.all();
    let pipeline = fixture.registry.pipeline("op").timeout("x").build();
    let bulkhead = fixture.registry.bulkhead("inner");
    let queued = bulkhead::Config::default().max_concurrent(1).max_queue(1).max_wait(MS(9000));
    bulkhead.reconfigure(queued).unwrap();
    let _held = bulkhead.try_acquire().unwrap();
    let outcome = pipeline.call(|| {
        fixture.time.advance(MS(500));
        bulkhead.call(|| Outcome::Ok(1))
    });
    assert!(matches!(outcome, Err(Error::Rejected(ref r)) if r.kind() == RejectionKind::BulkheadFull));
}

#[test]
fn a_call_with_no_time_left_is_rejected_before_it_begins() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let clock = fixture.time.clock();
    let passed = clock.now();
    let _scope = crate::context::Scope::current().with_deadline(passed, &clock).enter();
    let error = pipeline.call(|| -> Outcome { unreachable!("no time") }).unwrap_err();
    assert!(matches!(error, Error::Rejected(ref r) if r.kind() == RejectionKind::QueueTimeout), "{error}");
    assert_eq!(pipeline.stats().timed_out, 1);
    assert_eq!(fixture.registry.timeout("x").stats().queue_timeouts, 1);
    assert_eq!(error.to_string(), "a call of `x` timed out before it began: no time was left");
}

#[test]
fn a_call_that_waited_too_long_counts_as_not_executed_unless_an_attempt_ran() {
    // T33
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let bulkhead = fixture.registry.bulkhead("x");
    let queued = bulkhead::Config::default().max_concurrent(1).max_queue(4).max_wait(MS(5000));
    bulkhead.reconfigure(queued).unwrap();
    let mut held = Some(bulkhead.try_acquire().unwrap());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for (attempts, kind) in [(0, RejectionKind::QueueTimeout), (1, RejectionKind::TotalTimeout)] {
        let made = Cell::new(0);
        let mut call = Box::pin(pipeline.call_async(async || {
            made.set(made.get() + 1);
            Outcome::Err(Error::Down)
        }));
        if attempts == 1 {
            drop(held.take());
        }
        assert!(call.as_mut().poll(&mut cx).is_pending());
        held = held.or_else(|| Some(bulkhead.try_acquire().unwrap()));
        fixture.time.advance(MS(10));
        assert!(call.as_mut().poll(&mut cx).is_pending(), "in the queue");
        fixture.time.advance(MS(490));
        let std::task::Poll::Ready(Err(Error::Rejected(rejection))) = call.as_mut().poll(&mut cx) else {
            panic!("out of time")
        };
        assert_eq!((made.get(), rejection.kind()), (attempts, kind));
        assert_eq!(rejection.elapsed(), Some(MS(500)));
        let told = std::error::Error::source(&rejection).unwrap().to_string();
        assert_eq!(told == "the call was not executed", attempts == 0, "{told}");
    }
    drop(held);
    fixture.nothing_is_held();
}

#[test]
fn a_call_that_was_too_late_to_begin_is_not_in_the_latency() {
    let fixture = Fixture::new();
    let outer = fixture.registry.pipeline("outer").timeout("t").build();
    fixture.registry.timeout("t").reconfigure(timeout::Config::default().total(MS(10))).unwrap();
    let inner = fixture.registry.pipeline("inner").circuit_breaker("b").build();
    let late = outer.call(|| {
        fixture.time.advance(MS(10));
        inner.call(|| -> Outcome { unreachable!("no time left") })
    });
    assert!(late.is_err());
    let stats = inner.stats();
    assert_eq!((stats.timed_out, stats.latency.measured), (1, 0));
}

#[test]
fn an_immediate_bulkhead_rejection_is_not_in_the_latency() {
    let registry = Registry::new();
    let bulkhead = registry.bulkhead("b");
    bulkhead.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let pipeline = registry.pipeline("op").bulkhead("b").build();
    let _held = bulkhead.try_acquire().unwrap();
    let time = ManualClock::new();
    for _ in 0..10 {
        assert!(pipeline.call(|| Outcome::Ok(1)).is_err());
        assert!(run(&time, pipeline.call_async(async || Outcome::Ok(1))).is_err());
    }
    let stats = pipeline.stats();
    assert_eq!((stats.rejected, stats.latency.measured), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn no_attempt_runs_on_after_the_total_timeout() {
    // T66
    let registry = Registry::with_seed(crate::clock::Clock::tokio(), 7);
    registry.timeout("x").reconfigure(timeout::Config::default().total(MS(100))).unwrap();
    let retry = retry::Config::default().base(MS(5)).jitter(Ratio::ZERO).max(100).budget_reserve(1e6);
    registry.retry("x").reconfigure(retry).unwrap();
    registry.hedge("x").reconfigure(crate::hedge::Config::default().after(MS(10))).unwrap();
    let queued = bulkhead::Config::default().max_concurrent(1).max_queue(9).max_wait(MS(5000));
    registry.bulkhead("x").reconfigure(queued).unwrap();
    let stages = registry.pipeline("op").retry("x").hedge("x").bulkhead("x").timeout("x").idempotent();
    let pipeline = stages.build();
    let attempts = Cell::new(0);
    let mut events = registry.subscribe();
    let start = tokio::time::Instant::now();
    // After two failed attempts one hangs, and another waits for its permit.
    let work = async || -> Outcome {
        attempts.set(attempts.get() + 1);
        if attempts.get() <= 2 { Err(Error::Down) } else { std::future::pending().await }
    };
    let Err(Error::Rejected(rejection)) = pipeline.call_async(work).await else { panic!("out of time") };
    assert_eq!(rejection.kind(), RejectionKind::TotalTimeout);
    assert!((MS(100)..MS(105)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!((attempts.get(), registry.hedge("x").stats().sent), (3, 2));
    while events.try_recv().is_some() {}
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(events.try_recv().is_none(), "an event after the end");
    let bulkhead = registry.bulkhead("x").stats();
    assert_eq!((attempts.get(), bulkhead.in_use, bulkhead.queued), (3, 0, 0));
    assert_eq!((pipeline.stats().timed_out, pipeline.stats().in_flight), (1, 0));
}

#[test]
fn components_of_another_registry_use_their_own_clock() {
    let (time, theirs) = (ManualClock::new(), Registry::new());
    let registry = Registry::with_clock(time.clock());
    let breaker = registry.circuit_breaker("x");
    let config = circuit_breaker::Config::default().failure_threshold(1).open_for(MS(5000));
    breaker.reconfigure(config.open_jitter(crate::Ratio::ZERO)).unwrap();
    let pipeline = theirs.pipeline("op").circuit_breaker(&breaker).build();
    assert!(pipeline.call(|| Outcome::Err(Error::Down)).is_err());
    assert_eq!(breaker.stats().retry_after, Some(MS(5000)));
    time.advance(MS(5000));
    assert!(pipeline.call(|| Outcome::Ok(1)).is_ok());
}

#[test]
fn the_histogram_counts_every_call_even_if_no_stage_needs_the_time() {
    let registry = Registry::new();
    let timed = registry.pipeline("timed").timeout("x").build();
    let plain = registry.pipeline("plain").build();
    for call in 0..9000 {
        for pipeline in [&timed, &plain] {
            pipeline.call(|| (call % 3 > 0).then_some(call));
        }
    }
    let counts = |pipeline: &Pipeline| {
        let stats = pipeline.stats();
        (stats.durations.count(), stats.error_durations.count())
    };
    assert_eq!(counts(&timed), (6000, 3000));
    let (answered, failed) = counts(&plain);
    assert!((answered + failed).abs_diff(9000) <= 16, "{answered} and {failed}");
    assert!(failed.abs_diff(3000) < 300, "{failed} of 3000");
    let total = registry.stats().total;
    assert!(total.latency.measured.abs_diff(12_000) < 400, "{}", total.latency.measured);
}
