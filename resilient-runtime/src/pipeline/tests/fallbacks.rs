//! Fallbacks as a stage.

use super::*;

#[test]
fn a_call_with_a_fallback_has_one_outcome() {
    let fixture = Fixture::new();
    let pipeline = fixture.all_or();
    let chain = || Chain::of(Level::Replica, |_| Err(Error::Down)).or(Level::Default, |_| Outcome::Ok(9));
    assert_eq!(pipeline.request().fallback(chain).call(|| Outcome::Err(Error::Down)).unwrap(), 9);
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.fell_back, stats.failed), (1, 1, 0));
    let levels = fixture.registry.fallback("x").stats().levels;
    assert_eq!((levels[&Level::Replica].asked, levels[&Level::Default].served), (1, 1));
}

#[test]
fn a_fallback_that_panics_leaves_no_call_without_an_outcome() {
    let fixture = Fixture::new();
    let pipeline = fixture.all_or();
    let chain = || Chain::of(Level::Default, |_| -> Outcome { panic!("fallback") });
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        pipeline.request().fallback(chain).call(|| Outcome::Err(Error::Down))
    }));
    assert!(panicked.is_err());
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.panicked, stats.in_flight), (1, 1, 0));
    fixture.nothing_is_held();
}

#[test]
fn a_call_whose_fallback_fails_keeps_its_failure_and_the_duration_of_both() {
    let fixture = Fixture::new();
    let pipeline = fixture.all_or();
    let late = |_: &_| {
        fixture.time.advance(MS(1000));
        Outcome::Err(Error::Down)
    };
    let chain = || Chain::of(Level::Replica, late).or(Level::Default, late);
    let held = fixture.registry.bulkhead("x");
    let held = held.try_acquire().unwrap();
    assert!(pipeline.request().fallback(chain).call(|| Outcome::Ok(1)).is_err());
    drop(held);
    let stats = pipeline.stats();
    assert_eq!((stats.rejected, stats.failed, stats.cancelled), (1, 0, 0));
    assert!(stats.error_latency.p50 >= MS(2000), "{:?}", stats.error_latency);
    assert_eq!(stats.latency.measured, 0, "a failure says nothing about how long it takes to succeed");
}

#[test]
fn a_panic_in_the_fallback_of_a_timed_out_call_counts_as_panicked() {
    // T130
    let fixture = Fixture::new();
    let pipeline = fixture.all_or();
    let panicking = || {
        AsyncChain::of(Level::Default, |_: &_| async {
            if true { panic!("fallback") } else { Outcome::Ok(0) }
        })
    };
    let call = pipeline.request().fallback(panicking).call_async(async || std::future::pending().await);
    catch_unwind(AssertUnwindSafe(|| run(&fixture.time, call))).unwrap_err();
    let stats = pipeline.stats();
    assert_eq!((stats.panicked, stats.cancelled), (1, 0), "{stats:?}");
}

#[test]
fn a_panic_of_a_level_is_distinguished_from_an_unrelated_panic() {
    // T68, T130
    async fn asked(pipeline: &Pipeline, level: impl Future<Output = ()>) {
        let mut call = crate::pipeline::Call::begin(pipeline);
        assert_eq!(call.finish(Verdict::Failure(Class::Permanent)), crate::__rt::Next::Fail);
        let asking = call.enter_default();
        call.ask_default(asking, level).await;
    }
    let fixture = Fixture::new();
    let pipeline = fixture.all_or();
    let own = asked(&pipeline, async {
        pending(1).await;
        panic!("in the level");
    });
    catch_unwind(AssertUnwindSafe(|| run(&fixture.time, own))).unwrap_err();
    let other = || {
        let mut call = Box::pin(asked(&pipeline, std::future::pending()));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        panic!("not in the level");
    };
    catch_unwind(AssertUnwindSafe(other)).unwrap_err();
    let stats = pipeline.stats();
    assert_eq!((stats.panicked, stats.cancelled), (1, 1), "{stats:?}");
}
