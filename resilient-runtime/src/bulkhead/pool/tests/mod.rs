//! Tests of the thread pool.

mod edges;
mod held;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::bulkhead::{Bulkhead, Config};
use crate::clock::ManualClock;
use crate::component::Component;
use crate::registry::Registry;
use crate::rejection::{Rejection, RejectionKind};
use crate::{Pipeline, timeout};

type Outcome = Result<u32, Rejection>;

struct Fixture {
    time: ManualClock,
    registry: Registry,
    bulkhead: Arc<Bulkhead>,
}

fn fixture(threads: u32, max_queue: u32) -> Fixture {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let bulkhead = registry.bulkhead("b");
    bulkhead.reconfigure(Config::default().threads(threads).max_queue(max_queue)).unwrap();
    Fixture { time, registry, bulkhead }
}

/// Work that reports that it has started, then hangs until it receives a signal.
fn hanging() -> (impl FnOnce() -> Outcome + Send, Receiver<()>, Sender<()>) {
    let (tell, begun) = channel();
    let (go, gone) = channel::<()>();
    let work = move || {
        let _ = tell.send(());
        let _ = gone.recv();
        Ok(1)
    };
    (work, begun, go)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000_000 {
        if holds() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("never: {what}");
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn work_runs_on_named_threads() {
    let fixture = fixture(2, 0);
    let name = || std::thread::current().name().map(str::to_owned).ok_or_else(|| unreachable!());
    let ran: Result<String, Rejection> = fixture.bulkhead.call_in_threads(name);
    assert_eq!(ran.unwrap(), "resilient-b-1");
    let stats = fixture.bulkhead.stats();
    let pool = PoolStats { threads: 2, alive: 1, ..PoolStats::default() };
    assert_eq!((stats.in_use, stats.pool), (0, Some(pool)), "one thread was enough");
}

#[test]
fn calls_beyond_threads_and_queue_are_rejected_at_once() {
    let fixture = fixture(1, 1);
    let (work, begun, go) = hanging();
    let bulkhead = &fixture.bulkhead;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| bulkhead.call_in_threads(work));
        begun.recv().unwrap();
        let second = scope.spawn(|| bulkhead.call_in_threads(|| Outcome::Ok(2)));
        until("one waits", || bulkhead.stats().queued == 1);
        let refused = bulkhead.call_in_threads(|| Outcome::Ok(3)).unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::BulkheadFull);
        go.send(()).unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(1), Ok(2)));
    });
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().rejected), (0, 1));
}

#[test]
fn queued_calls_run_by_class_then_by_arrival() {
    // T56, T63
    let fixture = fixture(1, 10);
    let (work, begun, go) = hanging();
    let order = Arc::new(Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let bulkhead = &fixture.bulkhead;
        scope.spawn(|| bulkhead.call_in_threads(work));
        begun.recv().unwrap();
        for (number, priority) in
            [Priority::Low, Priority::Normal, Priority::Critical, Priority::Low, Priority::High]
                .into_iter()
                .enumerate()
        {
            let order = Arc::clone(&order);
            scope.spawn(move || {
                bulkhead.call_in_threads_as(priority, move || {
                    order.lock().push(number);
                    Outcome::Ok(0)
                })
            });
            until("it waits", || bulkhead.stats().queued == number as u64 + 1);
        }
        go.send(()).unwrap();
    });
    assert_eq!(*order.lock(), [2, 4, 1, 0, 3]);
}

#[test]
fn a_panic_is_propagated_and_the_thread_survives() {
    // T55
    let fixture = fixture(1, 0);
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        fixture.bulkhead.call_in_threads(|| -> Outcome { panic!("out of luck") })
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"out of luck"));
    assert_eq!(fixture.bulkhead.call_in_threads(|| Outcome::Ok(1)), Ok(1));
    let pool = fixture.bulkhead.stats().pool.unwrap();
    assert_eq!((fixture.bulkhead.stats().in_use, pool.alive), (0, 1));
}

fn pipeline(fixture: &Fixture, config: timeout::Config) -> Pipeline {
    fixture.registry.timeout("t").reconfigure(config).unwrap();
    fixture.registry.pipeline("op").bulkhead(&fixture.bulkhead).timeout("t").circuit_breaker("c").build()
}

/// Runs `work` for the only attempt.
fn once<R>(work: impl FnOnce() -> R + Send) -> impl Fn() -> R + Clone + Send {
    let work = Arc::new(Mutex::new(Some(work)));
    move || work.lock().take().expect("one attempt")()
}

#[test]
fn a_timeout_abandons_synchronous_work_which_keeps_its_permit_until_it_ends() {
    let fixture = fixture(1, 0);
    let second = Duration::from_secs(1);
    let pipeline = pipeline(&fixture, timeout::Config::default().total(second * 2).attempt(second));
    let (work, begun, go) = hanging();
    let late = std::thread::scope(|scope| {
        let call = scope.spawn(|| pipeline.request().call_in_threads(once(work)));
        begun.recv().unwrap();
        until("it waits for its deadline", || fixture.time.timers() > 0);
        fixture.time.advance(second);
        call.join().unwrap()
    });
    assert_eq!(late.unwrap_err().kind(), RejectionKind::AttemptTimeout);
    let stats = fixture.bulkhead.stats();
    assert_eq!((stats.in_use, stats.pool.unwrap().abandoned), (1, 1));
    let full = pipeline.request().call_in_threads(|| Outcome::Ok(1)).unwrap_err();
    assert_eq!(full.kind(), RejectionKind::BulkheadFull);
    go.send(()).unwrap();
    until("it has ended", || fixture.bulkhead.stats().in_use == 0);
    assert_eq!(fixture.bulkhead.stats().pool.unwrap().abandoned, 0);
    assert_eq!(pipeline.request().call_in_threads(|| Outcome::Ok(2)), Ok(2));
    let ended = pipeline.stats();
    assert_eq!((ended.calls, ended.succeeded, ended.timed_out, ended.rejected), (3, 1, 1, 1));
    assert_eq!(fixture.registry.stats().circuit_breaker["c"].failed, 1, "a rejected call is not a failure");
}

#[test]
fn the_attempt_timeout_starts_with_the_work_and_the_total_with_the_call() {
    let fixture = fixture(1, 1);
    let second = Duration::from_secs(1);
    let pipeline = pipeline(&fixture, timeout::Config::default().total(second * 5).attempt(second));
    let (work, begun, go) = hanging();
    let bulkhead = &fixture.bulkhead;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| bulkhead.call_in_threads(work));
        begun.recv().unwrap();
        let ran = Arc::new(AtomicU32::new(0));
        let counts = Arc::clone(&ran);
        let waits = scope.spawn(|| {
            pipeline.request().call_in_threads(move || {
                counts.fetch_add(1, Ordering::Relaxed);
                Outcome::Ok(2)
            })
        });
        until("it waits", || bulkhead.stats().queued == 1 && fixture.time.timers() > 0);
        fixture.time.advance(second * 3);
        until("it still waits", || bulkhead.stats().queued == 1);
        fixture.time.advance(second * 2);
        let late = waits.join().unwrap().unwrap_err();
        assert_eq!(late.kind(), RejectionKind::QueueTimeout, "the work did not run");
        assert_eq!(
            (ran.load(Ordering::Relaxed), bulkhead.stats().queued),
            (0, 0),
            "withdrawn without running"
        );
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Ok(1));
    });
    assert_eq!(bulkhead.stats().in_use, 0);
}

#[test]
fn dropping_a_future_withdraws_queued_work_and_abandons_running_work() {
    // T146
    let fixture = fixture(1, 1);
    let pipeline = pipeline(&fixture, timeout::Config::default());
    let (work, begun, go) = hanging();
    let mut first = Box::pin(pipeline.request().call_in_threads_async(once(work)));
    assert!(poll(first.as_mut()).is_pending());
    begun.recv().unwrap();
    let mut second =
        Box::pin(pipeline.request().call_in_threads_async(|| -> Outcome { unreachable!("it is withdrawn") }));
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(fixture.bulkhead.stats().in_use, 2);
    drop(second);
    assert_eq!((fixture.bulkhead.stats().in_use, fixture.bulkhead.stats().queued), (1, 0));
    drop(first);
    assert_eq!(fixture.bulkhead.stats().pool.unwrap().abandoned, 1);
    go.send(()).unwrap();
    until("it has ended", || fixture.bulkhead.stats().in_use == 0);
    let ended = pipeline.stats();
    assert_eq!((ended.calls, ended.cancelled), (2, 2));
}

#[tokio::test]
async fn blocking_work_has_the_scope_of_its_call() {
    let fixture = fixture(2, 0);
    fixture.registry.retry("r");
    let pipeline = fixture.registry.pipeline("op").bulkhead("b").retry("r").build();
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let attempts: Result<u32, Rejection> = pipeline
        .request()
        .call_in_threads_async(move || {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            assert_eq!(crate::attempt(), number);
            Ok(number)
        })
        .await;
    assert_eq!(attempts, Ok(1));
    assert_eq!(fixture.bulkhead.stats().in_use, 0);
}

#[test]
fn a_call_from_a_thread_of_the_pool_runs_on_that_thread() {
    let fixture = fixture(1, 1);
    let inner = Arc::clone(&fixture.bulkhead);
    let outer = fixture.bulkhead.call_in_threads(move || inner.call_in_threads(|| Outcome::Ok(7)));
    assert_eq!(outer, Ok(7));
    assert_eq!(fixture.bulkhead.stats().in_use, 0);
}

#[test]
fn threads_are_added_and_removed_while_calls_run() {
    // T51, T52
    let fixture = fixture(1, 5);
    let bulkhead = &fixture.bulkhead;
    let (work, begun, go) = hanging();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| bulkhead.call_in_threads(work));
        begun.recv().unwrap();
        let second = scope.spawn(|| bulkhead.call_in_threads(|| Outcome::Ok(2)));
        until("it waits", || bulkhead.stats().queued == 1);
        bulkhead.reconfigure(Config::default().threads(2).max_queue(5)).unwrap();
        assert_eq!(second.join().unwrap(), Ok(2), "though the first still hangs");
        bulkhead.reconfigure(Config::default().threads(1).max_queue(5)).unwrap();
        until("one thread ends", || bulkhead.stats().pool.unwrap().alive == 1);
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Ok(1));
    });
    assert_eq!(bulkhead.call_in_threads(|| Outcome::Ok(3)), Ok(3));
}

#[test]
fn a_thousand_calls_return_a_thousand_results() {
    // T156
    let fixture = fixture(4, 1000);
    let answers: u32 = std::thread::scope(|scope| {
        let ask = |number: u32| fixture.bulkhead.call_in_threads(move || Outcome::Ok(number)).unwrap();
        let callers: Vec<_> = (0..50)
            .map(|caller| scope.spawn(move || (0..20).map(|call| ask(caller * 20 + call)).sum::<u32>()))
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert_eq!(answers, 999 * 1000 / 2);
    assert_eq!(fixture.bulkhead.stats().in_use, 0);
    assert!(fixture.bulkhead.stats().pool.unwrap().alive <= 4);
}

#[test]
fn contradictory_settings_are_rejected() {
    // T127
    let problems =
        |config: Config| crate::settings::Settings::validate(&config).err().map_or(0, |e| e.problems().len());
    assert_eq!(problems(Config::default().threads(0)), 1);
    assert_eq!(problems(Config::default().threads(2).max_queue(5)), 0, "the timeout bounds the wait");
    assert_eq!(problems(Config::default().threads(2).max_queue(5).max_wait(Duration::from_secs(1))), 1);
    assert_eq!(problems(Config::default().threads(2).reserve_critical(2)), 1);
}
