//! The load shedder as a stage.

use std::future::Future;
use std::task::{Context, Waker};

use super::*;
use crate::load_shed::{self, LoadShedder};

fn fixed(limit: u32) -> load_shed::Config {
    load_shed::Config::default().adaptive(false).max_in_flight(limit)
}

fn shedding(fixture: &Fixture, config: load_shed::Config) -> (Pipeline, Arc<LoadShedder>) {
    fixture.all();
    let shedder = fixture.registry.load_shedder("x");
    shedder.reconfigure(config).unwrap();
    let stages = fixture.registry.pipeline("op").load_shed("x").circuit_breaker("x").retry("x");
    (stages.bulkhead("x").timeout("x").build(), shedder)
}

fn kind(outcome: &Outcome) -> RejectionKind {
    match outcome {
        Err(Error::Rejected(rejection)) => rejection.kind(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_is_admitted_once_for_all_its_attempts_and_in_flight_throughout() {
    // T35
    let fixture = Fixture::new();
    let (pipeline, shedder) = shedding(&fixture, fixed(10));
    let attempts = Cell::new(0);
    let outcome = pipeline.call(|| {
        attempts.set(attempts.get() + 1);
        assert_eq!(shedder.stats().in_flight, 1);
        if attempts.get() == 1 { Err(Error::Down) } else { Outcome::Ok(1) }
    });
    assert_eq!((outcome.unwrap(), attempts.get()), (1, 2));
    assert_eq!((shedder.stats().in_flight, shedder.stats().admitted()), (0, 1));
}

#[test]
fn a_shed_call_reaches_nothing_and_is_not_retried() {
    // T34, T21
    let fixture = Fixture::new();
    let (pipeline, shedder) = shedding(&fixture, fixed(1));
    let held = shedder.try_acquire().unwrap();
    for _ in 0..20 {
        let outcome: Outcome = pipeline.call(|| unreachable!("it is shed"));
        assert_eq!(kind(&outcome), RejectionKind::Shed);
        let Err(Error::Rejected(rejection)) = outcome else { unreachable!() };
        assert!(rejection.retry_after().is_some());
    }
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.rejected, stats.in_flight), (20, 20, 0), "T130");
    assert_eq!(stats.latency.p50, Duration::ZERO, "rejected calls are not timed");
    assert_eq!((fixture.registry.retry("x").stats().retries, shedder.stats().shed()), (0, 20));
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.calls, 0);
    drop(held);
    assert!(pipeline.call(|| Outcome::Ok(1)).is_ok());
}

#[test]
fn the_class_of_the_call_decides() {
    // T63
    let fixture = Fixture::new();
    let (pipeline, shedder) = shedding(&fixture, fixed(10));
    let _held: Vec<_> = (0..9).map(|_| shedder.try_acquire_as(Priority::High).unwrap()).collect();
    let call =
        |priority: Priority| pipeline.request().options(priority).judge(Verdict::of).call(|| Outcome::Ok(1));
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        assert_eq!(kind(&call(priority)), RejectionKind::Shed);
    }
    assert!(call(Priority::Critical).is_ok());
}

#[test]
fn a_late_call_times_out_and_is_not_shed() {
    let fixture = Fixture::new();
    let (pipeline, shedder) = shedding(&fixture, fixed(10));
    fixture.registry.timeout("outer").reconfigure(timeout::Config::default().total(MS(10))).unwrap();
    let outer = fixture.registry.pipeline("outer").timeout("outer").build();
    let inner = outer.call(|| {
        fixture.time.advance(MS(20));
        pipeline.call(|| -> Outcome { unreachable!("there is no time left") })
    });
    assert_eq!(kind(&inner), RejectionKind::QueueTimeout);
    assert_eq!(pipeline.stats().rejected + pipeline.stats().timed_out, 1);
    assert_eq!((shedder.stats().admitted(), shedder.stats().shed()), (0, 0));
}

#[test]
fn rejections_by_the_bulkhead_or_an_open_circuit_do_not_count() {
    let fixture = Fixture::new();
    let (pipeline, shedder) = shedding(&fixture, fixed(10).throttle(true));
    fixture.registry.circuit_breaker("x").force_open();
    for _ in 0..50 {
        assert_eq!(kind(&pipeline.call(|| Outcome::Ok(1))), RejectionKind::CircuitOpen);
    }
    fixture.registry.circuit_breaker("x").reset();
    let behind = fixture.registry.bulkhead("x");
    let full = behind.try_acquire().unwrap();
    assert_eq!(kind(&pipeline.call(|| Outcome::Ok(1))), RejectionKind::BulkheadFull);
    drop(full);
    let stats = shedder.stats();
    assert_eq!((stats.in_flight, stats.classes.normal.requests), (0, 0));
}

#[test]
fn each_call_is_one_request_and_its_last_attempt_decides_whether_it_was_accepted() {
    // T93
    let fixture = Fixture::new();
    let (pipeline, shedder) = shedding(&fixture, load_shed::Config::default().throttle(true));
    let run = |outcomes: [fn() -> Outcome; 2]| {
        let mut turns = outcomes.into_iter().cycle();
        let mut work = || turns.next().unwrap()();
        let _ = pipeline.request().priority(Priority::High).judge(Verdict::by_class).call(&mut work);
        let class = shedder.stats().classes.high;
        fixture.registry.circuit_breaker("x").reset();
        shedder.reset();
        (class.requests, class.accepts)
    };
    assert_eq!(run([|| Ok(1), || Ok(1)]), (1, 1));
    assert_eq!(run([|| Err(Error::Down), || Ok(1)]), (1, 1), "accepted at the second attempt");
    assert_eq!(run([|| Err(Error::Down), || Err(Error::Down)]), (1, 0));
    assert_eq!(run([|| Err(Error::Mistake), || Ok(1)]), (1, 1), "the dependency has responded");
}

#[test]
fn a_fallback_does_not_load_the_dependency() {
    let fixture = Fixture::new();
    let (pipeline, shedder) = shedding(&fixture, fixed(10));
    let seen = Cell::new(9);
    let asked = pipeline
        .request()
        .fallback(|| {
            Chain::of(Level::Default, |_| {
                seen.set(shedder.stats().in_flight);
                Ok(2)
            })
        })
        .call(|| Outcome::Err(Error::Down));
    assert_eq!((asked.unwrap(), seen.get(), shedder.stats().in_flight), (2, 0, 0));
}

#[test]
fn a_panic_leaves_nothing_in_flight() {
    // T147
    let fixture = Fixture::new();
    let (pipeline, shedder) = shedding(&fixture, fixed(10).throttle(true));
    catch_unwind(AssertUnwindSafe(|| pipeline.call(|| -> Outcome { panic!("in the body") }))).unwrap_err();
    fixture.nothing_is_held();
    let stats = shedder.stats();
    assert_eq!((stats.in_flight, stats.classes.normal.requests, stats.classes.normal.accepts), (0, 1, 0));
}

#[test]
fn a_call_dropped_after_any_number_of_polls_is_not_in_flight() {
    // T146: with a failed attempt, a pause, the bulkhead queue, and settings that change during the call
    for (polls, changes) in (0..40).flat_map(|polls| [(polls, false), (polls, true)]) {
        let fixture = Fixture::new();
        let (pipeline, shedder) = shedding(&fixture, fixed(10).throttle(true));
        let queued = bulkhead::Config::default().max_concurrent(1).max_queue(4).max_wait(MS(50));
        fixture.registry.bulkhead("x").reconfigure(queued).unwrap();
        let behind = fixture.registry.bulkhead("x");
        let mut held = Some(behind.try_acquire().unwrap());
        let attempts = Cell::new(0);
        let work = async || {
            attempts.set(attempts.get() + 1);
            pending(5).await;
            if attempts.get() == 1 { Outcome::Err(Error::Down) } else { Ok(1) }
        };
        let chain = || AsyncChain::of(Level::Default, |_: &crate::Failure<Error>| std::future::ready(Ok(0)));
        let mut call = Box::pin(pipeline.request().fallback(chain).call_async(work));
        let mut cx = Context::from_waker(Waker::noop());
        let mut ended = false;
        for poll in 0..polls {
            ended = call.as_mut().poll(&mut cx).is_ready();
            if ended {
                break;
            }
            assert_eq!(shedder.stats().in_flight, 1, "after {poll} polls");
            if poll == 2 {
                held = None;
            }
            if changes && poll == 4 {
                shedder.reconfigure(load_shed::Config::default().target_latency(MS(1))).unwrap();
                shedder.reset();
            }
            fixture.time.advance(MS(1));
        }
        drop(call);
        drop(held);
        fixture.nothing_is_held();
        assert_eq!(shedder.stats().in_flight, 0, "after {polls} polls");
        let cancelled = u64::from(polls > 0 && !ended);
        assert_eq!((pipeline.stats().cancelled, pipeline.stats().in_flight), (cancelled, 0));
    }
}

#[test]
fn the_bulkhead_queue_is_a_standing_delay() {
    let fixture = Fixture::new();
    let (_, shedder) = shedding(&fixture, load_shed::Config::default().adaptive(false));
    let queued = bulkhead::Config::default().max_concurrent(1).max_queue(8).max_wait(MS(500));
    fixture.registry.bulkhead("x").reconfigure(queued).unwrap();
    let pipeline = fixture.registry.pipeline("queued").load_shed("x").bulkhead("x").build();
    let mut cx = Context::from_waker(Waker::noop());
    let behind = fixture.registry.bulkhead("x");
    let mut in_turn = |waits: u64| {
        let held = behind.try_acquire().unwrap();
        let mut call = Box::pin(
            pipeline
                .request()
                .priority(Priority::Critical)
                .judge(Verdict::of)
                .call_async(async || Outcome::Ok(1)),
        );
        assert!(call.as_mut().poll(&mut cx).is_pending(), "it waits");
        fixture.time.advance(MS(waits));
        drop(held);
        assert!(call.as_mut().poll(&mut cx).is_ready(), "in its turn");
    };
    (0..8).for_each(|_| in_turn(30));
    assert_eq!(shedder.stats().delay, Some(MS(30)));
    assert_eq!(shedder.stats().shedding, Some(Priority::Normal));
    assert_eq!(kind(&pipeline.call(|| Outcome::Ok(1))), RejectionKind::Shed);
    // A call that finds a free permit shows that the queue is empty.
    for _ in 0..40 {
        in_turn(30);
        assert!(
            pipeline
                .request()
                .priority(Priority::Critical)
                .judge(Verdict::of)
                .call(|| Outcome::Ok(1))
                .is_ok()
        );
        in_turn(30);
    }
    let stats = shedder.stats();
    assert_eq!((stats.shedding, stats.delay, stats.shed_by.delay), (None, Some(Duration::ZERO), 1));
}

#[test]
fn reported_waits_show_a_queue_before_the_pipeline() {
    let fixture = Fixture::new();
    let (_, shedder) = shedding(&fixture, load_shed::Config::default().adaptive(false));
    let pipeline = fixture.registry.pipeline("front").load_shed("x").build();
    let call = |waited: u64, priority: Priority| {
        pipeline.waited(MS(waited));
        fixture.time.advance(MS(waited));
        pipeline.request().options(priority).judge(Verdict::of).call(|| Outcome::Ok(1))
    };
    for _ in 0..5 {
        assert!(call(30, Priority::Normal).is_ok());
    }
    assert_eq!(kind(&call(30, Priority::Low)), RejectionKind::Shed);
    assert!(call(30, Priority::High).is_ok());
    assert_eq!(shedder.stats().delay, Some(MS(30)));
}

#[tokio::test(start_paused = true)]
async fn concurrent_attempts_are_one_call_in_flight() {
    // T80
    let registry = Registry::with_seed(crate::clock::Clock::tokio(), 7);
    registry.hedge("x").reconfigure(crate::hedge::Config::default().after(MS(50))).unwrap();
    let shedder = registry.load_shedder("x");
    shedder.reconfigure(fixed(2).throttle(true)).unwrap();
    let pipeline = registry.pipeline("op").load_shed("x").hedge("x").idempotent().build();
    let outcome = pipeline
        .call_async(async || {
            tokio::time::sleep(MS(120)).await;
            Outcome::Ok(shedder.stats().in_flight)
        })
        .await;
    assert_eq!(outcome.unwrap(), 1);
    assert_eq!(registry.hedge("x").stats().sent, 1);
    let stats = shedder.stats();
    assert_eq!((stats.in_flight, stats.admitted(), stats.classes.normal.accepts), (0, 1, 1));
    let _held: Vec<_> = (0..2).map(|_| shedder.try_acquire_as(Priority::Critical).unwrap()).collect();
    let outcome = pipeline.call_async(async || -> Outcome { unreachable!("it is shed") }).await;
    assert_eq!(kind(&outcome), RejectionKind::Shed);
}

#[test]
fn it_is_between_the_total_timeout_and_the_retry() {
    let fixture = Fixture::new();
    let (pipeline, _) = shedding(&fixture, fixed(3));
    let kinds: Vec<_> = pipeline.explain().stages.iter().map(|stage| stage.kind.as_str()).collect();
    assert_eq!(kinds, ["timeout", "load_shed", "retry", "circuit_breaker", "bulkhead"]);
    assert!(pipeline.explain().to_string().contains("max_in_flight = 3  (run-time)"));
}
