//! No permit or other resource is held after a call, however it ends.

use std::cell::RefCell;

use super::*;
use crate::circuit_breaker::State;
use crate::{Verdict, rate_limit, retry};

/// All stages that hold something while an attempt runs.
fn all(fixture: &Fixture) -> Pipeline {
    let limit = rate_limit::Config::default().rate("5/h".parse::<rate_limit::Rate>().unwrap());
    fixture.registry.rate_limiter("x").reconfigure(limit).unwrap();
    fixture.registry.retry("x").reconfigure(retry::Config::default().jitter(crate::Ratio::ZERO)).unwrap();
    let builder = fixture.registry.pipeline("op").load_shed("x").retry("x").circuit_breaker("x");
    builder.rate_limit("x").bulkhead("b").timeout("x").build()
}

fn nothing_is_held(fixture: &Fixture) {
    until("all has ended", || fixture.bulkhead.stats().in_use == 0);
    let stats = fixture.bulkhead.stats();
    let pool = stats.pool.unwrap();
    assert_eq!((stats.queued, pool.running, pool.queued, pool.abandoned), (0, 0, 0, 0));
    let breaker = fixture.registry.circuit_breaker("x").stats();
    assert_eq!((breaker.state, breaker.probes.in_flight), (State::Closed, 0));
    assert_eq!(fixture.registry.load_shedder("x").stats().in_flight, 0);
    assert_eq!(fixture.time.timers(), 0);
}

/// The progress of the work when the future is dropped.
#[derive(Clone, Copy, Debug)]
enum At {
    /// The work waits for a thread.
    Queued,
    /// The work runs.
    Running,
    /// The work has ended, but the caller has not polled.
    Ended,
}

#[test]
fn a_call_dropped_at_any_point_of_any_attempt_holds_nothing() {
    // T146, T68: the first attempts fail, and the last one is dropped after this many polls.
    for at in [At::Queued, At::Running, At::Ended] {
        for (failures, polls) in (0..3).flat_map(|failures| (0..4).map(move |polls| (failures, polls))) {
            let case = format!("{at:?}, after {failures} failures and {polls} polls");
            let fixture = fixture(1, 2);
            let pipeline = all(&fixture);
            let (told, tells) = channel();
            let (end, ends) = channel::<Outcome>();
            let ends = Arc::new(Mutex::new(ends));
            let work = {
                let ends = Arc::clone(&ends);
                move || {
                    let _ = told.send(());
                    // Without holding the lock.
                    let ended = ends.lock().recv();
                    ended.unwrap_or(Ok(0))
                }
            };
            let mut call = Box::pin(pipeline.request().call_in_threads_async(work));
            for failure in 0..u64::from(failures) {
                assert!(poll(call.as_mut()).is_pending(), "{case}");
                tells.recv().unwrap();
                end.send(Err(Rejection::new(RejectionKind::ConnectTimeout, "elsewhere"))).unwrap();
                let seen = RefCell::new(call.as_mut());
                until("it pauses after it has failed", || {
                    assert!(poll(seen.borrow_mut().as_mut()).is_pending(), "{case}");
                    fixture.registry.circuit_breaker("x").stats().window.failed > failure
                });
                fixture.time.advance(Duration::from_secs(2));
            }
            let (hangs, hanging_now, go) = hanging();
            let mut other = Box::pin(fixture.bulkhead.call_in_threads_async(hangs));
            if matches!(at, At::Queued) {
                assert!(poll(other.as_mut()).is_pending());
                hanging_now.recv().unwrap();
            }
            for _ in 0..polls {
                assert!(poll(call.as_mut()).is_pending(), "{case}");
            }
            if polls > 0 && !matches!(at, At::Queued) {
                tells.recv().unwrap();
            }
            if polls > 0 && matches!(at, At::Ended) {
                end.send(Ok(1)).unwrap();
                until("it has ended", || fixture.bulkhead.stats().in_use == 0);
            }
            drop(call);
            let abandoned = u32::from(polls > 0 && matches!(at, At::Running));
            assert_eq!(fixture.bulkhead.stats().pool.unwrap().abandoned, abandoned, "{case}");
            drop((end, other, go));
            nothing_is_held(&fixture);
            let began = u32::from(polls > 0 && !matches!(at, At::Queued));
            let paid = fixture.registry.rate_limiter("x").stats();
            assert_eq!(paid.remaining, 5 - (failures + began), "{case}");
            let stats = pipeline.stats();
            let cancelled = u64::from(failures > 0 || polls > 0);
            assert_eq!((stats.in_flight, stats.cancelled), (0, cancelled), "{case}");
            assert_eq!(stats.failed + stats.panicked + stats.timed_out + stats.succeeded, 0, "{case}");
        }
    }
}

#[test]
fn permits_of_calls_that_time_out_are_released() {
    // T48, T66
    let fixture = fixture(8, 8);
    let second = Duration::from_secs(1);
    let pipeline = pipeline(&fixture, timeout::Config::default().total(second));
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..16)
            .map(|_| {
                let gate = Arc::clone(&gate);
                let pipeline = &pipeline;
                let work = move || {
                    drop(gate.lock());
                    Outcome::Ok(1)
                };
                scope.spawn(move || pipeline.request().call_in_threads(work))
            })
            .collect();
        until("all wait for their deadline", || {
            fixture.bulkhead.stats().pool.unwrap().running == 8 && fixture.time.timers() == 16
        });
        let full = pipeline.request().call_in_threads(|| Outcome::Ok(1)).unwrap_err();
        assert_eq!(full.kind(), RejectionKind::BulkheadFull);
        fixture.time.advance(second);
        let kinds: Vec<_> = calls.into_iter().map(|call| call.join().unwrap().unwrap_err().kind()).collect();
        let count = |kind| kinds.iter().filter(|&&is| is == kind).count();
        assert_eq!((count(RejectionKind::TotalTimeout), count(RejectionKind::QueueTimeout)), (8, 8));
    });
    let stats = fixture.bulkhead.stats();
    assert_eq!((stats.in_use, stats.queued, stats.pool.unwrap().abandoned), (8, 0, 8));
    drop(shut);
    until("all have ended", || fixture.bulkhead.stats().in_use == 0);
    let pool = PoolStats { threads: 8, alive: 8, ..PoolStats::default() };
    assert_eq!(fixture.bulkhead.stats().pool, Some(pool));
}

#[test]
fn a_panic_in_a_call_leaves_nothing_behind() {
    // T147, T130
    let fixture = fixture(1, 1);
    let pipeline = all(&fixture);
    for _ in 0..3 {
        let call = || pipeline.request().call_in_threads(|| -> Outcome { panic!("out of luck") });
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(call));
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"out of luck"));
        nothing_is_held(&fixture);
    }
    let mut call =
        Box::pin(pipeline.request().call_in_threads_async(|| -> Outcome { panic!("out of luck") }));
    let panicked = loop {
        match std::panic::catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))) {
            Ok(polled) => assert!(polled.is_pending()),
            Err(panic) => break panic,
        }
    };
    assert_eq!(panicked.downcast_ref::<&str>(), Some(&"out of luck"));
    drop(call);
    nothing_is_held(&fixture);
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.panicked, stats.in_flight), (4, 4, 0));
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.failed, 4, "a panic is a failure");
}

#[test]
fn a_thousand_queued_calls_run_in_order_of_arrival() {
    // T56
    const CALLERS: u32 = 1000;
    let fixture = fixture(1, CALLERS);
    let (work, begun, go) = hanging();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut first = Box::pin(fixture.bulkhead.call_in_threads_async(work));
    assert!(poll(first.as_mut()).is_pending());
    begun.recv().unwrap();
    let call = |number| {
        let order = Arc::clone(&order);
        let work = move || {
            order.lock().push(number);
            Outcome::Ok(number)
        };
        Box::pin(fixture.bulkhead.call_in_threads_async(work))
    };
    let mut calls: Vec<_> = (0..CALLERS).map(call).collect();
    assert!(calls.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
    assert_eq!(fixture.bulkhead.stats().queued, u64::from(CALLERS));
    let mut full = call(CALLERS);
    let std::task::Poll::Ready(Err(refused)) = poll(full.as_mut()) else { panic!("the call waits") };
    assert_eq!(refused.kind(), RejectionKind::BulkheadFull);
    go.send(()).unwrap();
    until("all have ended", || fixture.bulkhead.stats().in_use == 0);
    assert_eq!(*order.lock(), (0..CALLERS).collect::<Vec<_>>());
    for (number, call) in (0..).zip(&mut calls) {
        let answer = loop {
            if let std::task::Poll::Ready(answer) = poll(call.as_mut()) {
                break answer;
            }
        };
        assert_eq!(answer, Ok(number));
    }
}

#[test]
fn high_calls_use_reserved_slots_in_a_flood_of_low_calls() {
    // T63
    let fixture = fixture(1, 11);
    let config = Config::default().threads(1).max_queue(11).reserve_high(4);
    fixture.bulkhead.reconfigure(config).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let shut = Arc::new(Mutex::new(()));
    let held = shut.lock();
    let call = |priority| {
        let (order, shut) = (Arc::clone(&order), Arc::clone(&shut));
        let work = move || {
            drop(shut.lock());
            order.lock().push(priority);
            Outcome::Ok(0)
        };
        let mut call = Box::pin(fixture.bulkhead.call_in_threads_as_async(priority, work));
        (poll(call.as_mut()), call)
    };
    let low: Vec<_> = (0..100).map(|_| call(Priority::Low)).collect();
    let refused = low.iter().filter(|(polled, _)| polled.is_ready()).count();
    assert_eq!(refused, 92, "eight of the twelve slots are for all classes");
    until("one runs", || fixture.bulkhead.stats().pool.unwrap().running == 1);
    let high: Vec<_> = (0..4).map(|_| call(Priority::High)).collect();
    assert!(high.iter().all(|(polled, _)| polled.is_pending()), "admitted");
    drop(held);
    until("all have ended", || fixture.bulkhead.stats().in_use == 0);
    let order = order.lock();
    assert_eq!(order[0], Priority::Low, "it ran before the high calls");
    assert!(order[1..5].iter().all(|priority| *priority == Priority::High), "{order:?}");
}

#[test]
fn work_that_ended_before_the_deadline_is_checked_is_in_time() {
    // T65
    #[derive(Default)]
    struct Woken(AtomicU32);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(1, Ordering::Release);
        }
    }
    let fixture = fixture(1, 0);
    let second = Duration::from_secs(1);
    let pipeline = pipeline(&fixture, timeout::Config::default().total(second));
    let (work, begun, go) = hanging();
    let mut call = Box::pin(pipeline.request().call_in_threads_async(once(work)));
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    assert!(call.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    begun.recv().unwrap();
    go.send(()).unwrap();
    until("the caller is woken", || woken.0.load(Ordering::Acquire) == 1);
    fixture.time.advance(second);
    assert_eq!(poll(call.as_mut()), std::task::Poll::Ready(Ok(1)));
}

#[test]
fn a_custom_judge_is_called_for_each_attempt() {
    let fixture = fixture(1, 0);
    fixture.registry.retry("r");
    let pipeline = fixture.registry.pipeline("op").retry("r").bulkhead("b").build();
    let asked = AtomicU32::new(0);
    let judge = |outcome: &Outcome| {
        if asked.fetch_add(1, Ordering::Relaxed) < 2 {
            Verdict::Failure(crate::Class::TRANSIENT)
        } else {
            Verdict::of(outcome)
        }
    };
    assert_eq!(pipeline.request().judge(judge).call_in_threads(|| Outcome::Ok(crate::attempt())), Ok(3));
}
