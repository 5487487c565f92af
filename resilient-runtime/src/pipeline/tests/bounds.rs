//! How often a call runs, when its last attempt can begin, and what the rejection of an inner stage costs.

use super::*;
use crate::clock::Clock;
use crate::rate_limit::{self, Rate};
use crate::{hedge, is_hedge};

fn registry() -> Registry {
    let registry = Registry::with_seed(Clock::tokio(), 7);
    let retry = retry::Config::default().max(2).base(MS(10)).jitter(Ratio::ZERO).max_elapsed(MS(1000));
    registry.retry("x").reconfigure(retry).unwrap();
    let queue = bulkhead::Config::default().max_concurrent(1).max_queue(9).max_wait(MS(60_000));
    registry.bulkhead("x").reconfigure(queue).unwrap();
    registry
}

#[tokio::test(start_paused = true)]
async fn no_retry_begins_after_max_elapsed_in_a_queue() {
    let registry = registry();
    let pipeline = registry.pipeline("op").retry("x").bulkhead("x").build();
    let (attempts, start) = (Cell::new(0), tokio::time::Instant::now());
    let bulkhead = registry.bulkhead("x");
    let held = Cell::new(None);
    let outcome = pipeline
        .call_async(async || -> Outcome {
            attempts.set(attempts.get() + 1);
            // When it leaves, another call takes its permit.
            let bulkhead = Arc::clone(&bulkhead);
            held.set(Some(tokio::spawn(async move {
                let _permit = bulkhead.acquire().await.unwrap();
                tokio::time::sleep(MS(30_000)).await;
            })));
            tokio::task::yield_now().await;
            Err(Error::Down)
        })
        .await;
    assert!(outcome.is_err());
    assert_eq!(attempts.get(), 1);
    assert!((MS(1000)..MS(1010)).contains(&start.elapsed()), "{:?}", start.elapsed());
    held.take().unwrap().abort();
}

#[tokio::test(start_paused = true)]
async fn no_retry_begins_after_max_elapsed_if_its_pause_was_not_polled() {
    // A busy thread, or a future in a `select!` that is not polled.
    let registry = registry();
    registry.hedge("x").reconfigure(hedge::Config::default().after(MS(90_000)).max(1)).unwrap();
    for pipeline in [
        registry.pipeline("plain").retry("x").build(),
        registry.pipeline("queued").retry("x").bulkhead("x").timeout("t").build(),
        registry.pipeline("hedged").retry("x").hedge("x").idempotent().build(),
    ] {
        let attempts = Cell::new(0);
        let mut call = Box::pin(pipeline.call_async(async || -> Outcome {
            attempts.set(attempts.get() + 1);
            Err(Error::Down)
        }));
        std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending(), "{}, {:?}", pipeline.name(), retry::stopped());
            std::task::Poll::Ready(())
        })
        .await;
        let begun = attempts.get();
        tokio::time::sleep(MS(30_000)).await;
        let Err(Error::Rejected(rejection)) = call.await else { panic!("too late for {}", pipeline.name()) };
        assert_eq!((rejection.kind(), attempts.get()), (RejectionKind::TotalTimeout, begun));
    }
}

#[tokio::test]
async fn no_attempt_begins_after_max_elapsed_in_the_queue_for_a_thread() {
    let registry = Registry::new();
    let retry = retry::Config::default().base(MS(1)).max_elapsed(MS(20));
    registry.retry("x").reconfigure(retry).unwrap();
    let threads = bulkhead::Config::default().threads(1).max_queue(9);
    registry.bulkhead("x").reconfigure(threads).unwrap();
    let pipeline = registry.pipeline("op").retry("x").bulkhead("x").build();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let ends = Arc::new(std::sync::Mutex::new(ends));
    // Without the pipeline: on a busy machine its 20 ms can pass before it begins.
    let bulkhead = registry.bulkhead("x");
    let holder =
        std::thread::spawn(move || bulkhead.call_in_threads(move || ends.lock().unwrap().recv().err()));
    while registry.bulkhead("x").stats().pool.is_none_or(|pool| pool.running == 0) {
        tokio::task::yield_now().await;
    }
    let begun = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let work = {
        let begun = Arc::clone(&begun);
        move || -> Outcome {
            begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(1)
        }
    };
    for outcome in [
        pipeline.request().call_in_threads_async(work.clone()).await,
        pipeline.request().call_in_threads(work),
    ] {
        let Err(Error::Rejected(rejection)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(rejection.kind(), RejectionKind::QueueTimeout);
    }
    drop(end);
    assert!(holder.join().unwrap().is_some());
    assert_eq!(begun.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn no_first_attempt_begins_after_max_elapsed() {
    let registry = registry();
    let pipeline = registry.pipeline("op").retry("x").bulkhead("x").build();
    let bulkhead = registry.bulkhead("x");
    let permit = bulkhead.acquire().await.unwrap();
    let start = tokio::time::Instant::now();
    let outcome = pipeline.call_async(async || -> Outcome { unreachable!("too late") }).await;
    let Err(Error::Rejected(rejection)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(rejection.kind(), RejectionKind::BulkheadFull);
    assert!((MS(1000)..MS(1010)).contains(&start.elapsed()), "{:?}", start.elapsed());
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_max_elapsed_in_a_rate_limit_queue() {
    let registry = registry();
    let limit = rate_limit::Config::default().rate("1/min".parse::<Rate>().unwrap()).max_wait(MS(600_000));
    registry.rate_limiter("x").reconfigure(limit).unwrap();
    let pipeline = registry.pipeline("op").retry("x").rate_limit("x").build();
    let (attempts, start) = (Cell::new(0), tokio::time::Instant::now());
    let work = async || -> Outcome {
        attempts.set(attempts.get() + 1);
        Err(Error::Down)
    };
    assert!(pipeline.call_async(work).await.is_err());
    assert_eq!(attempts.get(), 1);
    assert!(start.elapsed() <= MS(1010), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_hedge_begins_after_max_elapsed() {
    let registry = registry();
    registry.hedge("x").reconfigure(hedge::Config::default().after(MS(1500))).unwrap();
    let pipeline = registry.pipeline("op").retry("x").hedge("x").idempotent().build();
    let work = async || -> Outcome {
        assert!(!is_hedge());
        tokio::time::sleep(MS(3000)).await;
        Ok(1)
    };
    assert_eq!(pipeline.call_async(work).await.unwrap(), 1);
    assert_eq!(registry.hedge("x").stats().sent, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_over_a_lead_after_max_elapsed_makes_no_attempt() {
    let registry = registry();
    let pipeline = registry.pipeline("op").retry("x").coalesce("x").build();
    let leader = pipeline.request().coalesce_key("key").call_async(async || -> Option<u32> {
        tokio::time::sleep(MS(30_000)).await;
        None
    });
    let leader = tokio::time::timeout(MS(20_000), leader);
    let follower = pipeline
        .request()
        .coalesce_key("key")
        .call_async(async || -> Option<u32> { unreachable!("too late") });
    let (cut, answer) = tokio::join!(leader, follower);
    assert!(cut.is_err() && answer.is_none());
}

#[tokio::test(start_paused = true)]
async fn retries_and_hedges_share_a_bound() {
    // An immediate error.
    let registry = registry();
    registry.hedge("x").reconfigure(hedge::Config::default().after(MS(50))).unwrap();
    let pipeline = registry.pipeline("op").retry("x").hedge("x").idempotent().build();
    let seen = std::cell::RefCell::new(Vec::new());
    let down = async || -> Outcome {
        seen.borrow_mut().push((crate::attempt(), is_hedge()));
        Err(Error::Down)
    };
    assert!(pipeline.call_async(down).await.is_err());
    assert_eq!(*seen.borrow(), [(1, false), (2, true), (3, false)], "one attempt and two retries");

    // Slow, and then an error: one more hedge.
    seen.borrow_mut().clear();
    let slow = async || -> Outcome {
        seen.borrow_mut().push((crate::attempt(), is_hedge()));
        tokio::time::sleep(MS(100)).await;
        Err(Error::Down)
    };
    assert!(pipeline.call_async(slow).await.is_err());
    assert_eq!(*seen.borrow(), [(1, false), (1, true), (2, false), (3, true)]);
    assert_eq!(registry.hedge("x").stats().sent, 3);
}

#[tokio::test(start_paused = true)]
async fn a_hedged_call_pauses_before_each_round() {
    let registry = registry();
    let retry = retry::Config::default().max(3).base(MS(100)).jitter(Ratio::ZERO);
    registry.retry("x").reconfigure(retry).unwrap();
    registry.hedge("x").reconfigure(hedge::Config::default().after(MS(50))).unwrap();
    let pipeline = registry.pipeline("op").retry("x").hedge("x").idempotent().build();
    let (begun, start) = (std::cell::RefCell::new(Vec::new()), tokio::time::Instant::now());
    let down = async || -> Outcome {
        begun.borrow_mut().push(start.elapsed().as_millis() / 10 * 10);
        Err(Error::Down)
    };
    assert!(pipeline.call_async(down).await.is_err());
    assert_eq!(*begun.borrow(), [0, 0, 200, 200], "the second retry comes after 2 x base");
}

#[tokio::test(start_paused = true)]
async fn is_hedge_is_true_in_a_hedge_and_false_in_nested_calls() {
    let registry = registry();
    registry.hedge("x").reconfigure(hedge::Config::default().after(MS(50))).unwrap();
    let inner = registry.pipeline("inner").hedge("x").idempotent().build();
    let outer = registry.pipeline("outer").hedge("x").idempotent().build();
    let seen = outer.call_async(async || {
        if !is_hedge() {
            std::future::pending::<()>().await;
        }
        let inside = inner.call_async(async || Some(is_hedge())).await.unwrap();
        Some((is_hedge(), inside))
    });
    assert_eq!(seen.await, Some((true, false)));
    assert!(!is_hedge());
}

fn limited(registry: &Registry, name: &str, rate: &str) -> Arc<crate::RateLimiter> {
    let limiter = registry.rate_limiter(name);
    limiter.reconfigure(rate_limit::Config::default().rate(rate.parse::<Rate>().unwrap())).unwrap();
    limiter
}

#[test]
fn a_rejection_by_an_inner_stage_refunds_the_token() {
    for algorithm in [rate_limit::Algorithm::TokenBucket, rate_limit::Algorithm::SlidingWindow] {
        let registry = Registry::with_clock(ManualClock::new().clock());
        let outer = registry.rate_limiter("outer");
        let config = rate_limit::Config::default().rate("5/h".parse::<Rate>().unwrap()).algorithm(algorithm);
        outer.reconfigure(config).unwrap();
        limited(&registry, "inner", "1/h");
        let inside = registry.pipeline("inner").rate_limit("inner").build();
        let pipeline = registry.pipeline("outer").rate_limit("outer").circuit_breaker("b").build();
        let call = || pipeline.request().judge(Verdict::by_class).call(|| inside.call(|| Outcome::Ok(1)));
        assert_eq!(call().unwrap(), 1);
        for _ in 0..20 {
            let Err(Error::Rejected(rejection)) = call() else { panic!("the inner limit is reached") };
            assert_eq!(rejection.component(), "inner");
        }
        assert_eq!(outer.stats().remaining, 4);
        let breaker = registry.circuit_breaker("b").stats();
        assert_eq!((breaker.window.calls, breaker.window.failed), (1, 0));
    }
}

#[tokio::test]
async fn a_rejection_by_an_inner_component_refunds_the_token() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    let (outer, inner) = (limited(&registry, "outer", "5/h"), limited(&registry, "inner", "1/h"));
    let call = || outer.call(|| inner.call(|| Ok::<u32, Rejection>(1)));
    assert!(call().is_ok());
    for _ in 0..9 {
        assert_eq!(call().unwrap_err().component(), "inner");
        let read = async || inner.call(|| std::io::Result::Ok(1));
        assert!(outer.call_async(read).await.is_err());
        let own = outer.call_judged(|| inner.call(|| Outcome::Ok(1)), crate::judge!());
        assert!(own.is_err());
    }
    assert_eq!(outer.stats().remaining, 4);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_in_an_asynchronous_attempt_or_on_a_thread_refunds_the_token() {
    let registry = registry();
    let outer = limited(&registry, "outer", "5/h");
    let pipeline = registry.pipeline("outer").rate_limit("outer").bulkhead("x").timeout("t").build();
    let full = Arc::new(registry.bulkhead("full"));
    full.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let _held = full.try_acquire().unwrap();
    for _ in 0..9 {
        let refused = async || -> Outcome { full.try_acquire().map(|_| 1).map_err(Error::from) };
        let call = pipeline.request().rate_key("ada").judge(Verdict::by_class).call_async(refused).await;
        let Err(Error::Rejected(rejection)) = call else { panic!("{call:?}") };
        assert_eq!(rejection.component(), "full");
    }
    assert_eq!(outer.check_key_weighted("ada", 0).remaining, 5);

    let threads = bulkhead::Config::default().threads(1);
    registry.bulkhead("threads").reconfigure(threads).unwrap();
    let pool = registry.pipeline("pool").rate_limit("outer").bulkhead("threads").build();
    for _ in 0..9 {
        let full = Arc::clone(&full);
        let refused = move || -> Outcome { full.try_acquire().map(|_| 1).map_err(Error::from) };
        let call = pool.request().judge(Verdict::by_class).call_in_threads_async(refused).await;
        let Err(Error::Rejected(rejection)) = call else { panic!("{call:?}") };
        assert_eq!(rejection.component(), "full");
    }
    assert_eq!(outer.stats().remaining, 5);
}

#[test]
fn a_rejected_retry_after_an_uncertain_attempt_does_not_count_as_not_executed() {
    // T33: the rejection must not free an outer idempotency key.
    let fixture = Fixture::new();
    let retry = retry::Config::default().base(MS(10)).max(1);
    fixture.registry.retry("x").reconfigure(retry).unwrap();
    limited(&fixture.registry, "x", "1/h");
    let pipeline = fixture.registry.pipeline("op").retry("x").rate_limit("x").idempotent().build();
    let reset = || std::io::Result::<u32>::Err(std::io::ErrorKind::ConnectionReset.into());
    let refused = pipeline.request().judge(Verdict::by_class).call(reset).unwrap_err();
    let (kind, _) = RejectionKind::found_in(&refused).unwrap();
    assert_eq!(kind, RejectionKind::RateLimited);
    assert!(matches!(refused.classify(), Class::Uncertain { .. }), "{refused:?}");
}
