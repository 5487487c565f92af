//! Calls that are dropped at any point.

use super::*;

#[test]
fn a_suspended_call_dropped_during_an_unrelated_panic_is_cancelled() {
    // T68, T130
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut call = Box::pin(pipeline.call_async(async || -> Outcome { std::future::pending().await }));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        panic!("not in the call");
    }));
    assert!(panicked.is_err());
    let stats = pipeline.stats();
    assert_eq!((stats.cancelled, stats.panicked), (1, 0));
}

#[test]
fn a_call_dropped_in_its_fallback_is_cancelled() {
    // T68, T130
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let mut call = crate::pipeline::Call::begin(&pipeline);
    assert!(call.enter());
    let permanent = Verdict::Failure(Class::Permanent);
    assert!(matches!(call.finish(permanent), crate::__rt::Next::Fail));
    drop(call.enter_level(Level::Replica).unwrap());
    call.level_failed(Level::Replica);
    let _asking = call.enter_default();
    drop(call);
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.cancelled, stats.failed), (1, 1, 0));
}

#[test]
fn a_call_dropped_after_any_number_of_polls_holds_nothing() {
    // T146, T68: a whole call with a failed attempt, a pause and a successful attempt
    for polls in 0..40 {
        let fixture = Fixture::new();
        let pipeline = fixture.all();
        let attempts = Cell::new(0);
        let mut call = Box::pin(pipeline.call_async(async || {
            attempts.set(attempts.get() + 1);
            pending(5).await;
            if attempts.get() == 1 { Outcome::Err(Error::Down) } else { Ok(1) }
        }));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut ready = false;
        for _ in 0..polls {
            if call.as_mut().poll(&mut cx).is_ready() {
                ready = true;
                break;
            }
            fixture.time.advance(MS(1));
        }
        drop(call);
        fixture.nothing_is_held();
        let stats = pipeline.stats();
        let cancelled = u64::from(polls > 0 && !ready);
        assert_eq!((stats.cancelled, stats.in_flight), (cancelled, 0), "after {polls} polls");
        assert_eq!(stats.panicked + stats.failed + stats.timed_out, 0, "after {polls} polls");
        let window = fixture.registry.circuit_breaker("x").stats().window;
        assert!(window.failed <= 1, "a cancellation is no failure");
        assert_eq!(fixture.registry.circuit_breaker("x").state(), State::Closed);
    }
}

/// The stages selected by the bits of `which`, all named `x`.
fn some(fixture: &Fixture, which: u32) -> Pipeline {
    fixture.all();
    let mut builder = fixture.registry.pipeline("some");
    if which & 1 != 0 {
        builder = builder.circuit_breaker("x");
    }
    if which & 2 != 0 {
        builder = builder.retry("x");
    }
    if which & 4 != 0 {
        builder = builder.bulkhead("x");
    }
    if which & 8 != 0 {
        builder = builder.timeout("x");
    }
    if which & 16 != 0 {
        builder = builder.fallback("x");
    }
    builder.build()
}

#[test]
fn no_combination_of_stages_holds_anything_after_a_drop_at_any_poll() {
    // T146
    for which in 0..32 {
        for polls in 0..16 {
            let fixture = Fixture::new();
            let pipeline = some(&fixture, which);
            let attempts = Cell::new(0);
            let work = async || {
                attempts.set(attempts.get() + 1);
                pending(3).await;
                if attempts.get() == 1 { Outcome::Err(Error::Down) } else { Ok(1) }
            };
            let mut call = Box::pin(
                pipeline
                    .request()
                    .fallback(|| AsyncChain::of(Level::Default, |_| std::future::ready(Ok(0))))
                    .call_async(work),
            );
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let ended = (0..polls).any(|_| {
                fixture.time.advance(MS(4));
                call.as_mut().poll(&mut cx).is_ready()
            });
            drop(call);
            fixture.nothing_is_held();
            let stats = pipeline.stats();
            let cancelled = u64::from(polls > 0 && !ended);
            assert_eq!(
                (stats.in_flight, stats.cancelled),
                (0, cancelled),
                "stages {which:05b}, {polls} polls"
            );
            let breaker = fixture.registry.circuit_breaker("x").stats();
            assert_eq!((breaker.state, breaker.probes.in_flight), (State::Closed, 0));
            assert_eq!(fixture.registry.bulkhead("x").stats().queued, 0);
        }
    }
}

#[test]
fn a_probe_dropped_in_half_open_is_returned() {
    // T4
    for polls in 1..8 {
        let fixture = Fixture::new();
        let pipeline = fixture.all();
        assert!(pipeline.call(|| Outcome::Err(Error::Down)).is_err());
        fixture.time.advance(MS(2000));
        for _ in 0..10 {
            let mut probe = Box::pin(pipeline.call_async(async || {
                pending(100).await;
                Outcome::Ok(1)
            }));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            for _ in 0..polls {
                assert!(probe.as_mut().poll(&mut cx).is_pending(), "admitted");
            }
        }
        assert_eq!(fixture.registry.circuit_breaker("x").state(), State::HalfOpen);
        fixture.nothing_is_held();
        for _ in 0..3 {
            assert!(pipeline.call(|| Outcome::Ok(1)).is_ok());
        }
    }
}

#[test]
fn a_call_dropped_in_the_queue_leaves_it() {
    // T146
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let bulkhead = fixture.registry.bulkhead("x");
    let queued = bulkhead::Config::default().max_concurrent(1).max_queue(4).max_wait(MS(50));
    bulkhead.reconfigure(queued).unwrap();
    let held = bulkhead.try_acquire().unwrap();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut call = Box::pin(pipeline.call_async(async || Outcome::Ok(1)));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(bulkhead.stats().queued, 1);
    drop(call);
    assert_eq!(bulkhead.stats().queued, 0);
    drop(held);
    fixture.nothing_is_held();
    assert_eq!(pipeline.stats().cancelled, 1);
}
