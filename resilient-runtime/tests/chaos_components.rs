//! Faults that act on components: permits, threads, stores and health checks.
#![cfg(feature = "chaos")]
// Tests run on the tokio runtime.
#![allow(clippy::disallowed_methods)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use resilient_runtime::bulkhead::Config;
use resilient_runtime::chaos::{
    Amount, Attempt, CustomFault, Effect, Fault, FaultKind, Latency, Limits, Skew,
};
use resilient_runtime::clock::{Clock, ManualClock};
use resilient_runtime::health::{self, Status};
use resilient_runtime::idempotency::{self, Fingerprint, MemoryStore, OnStoreFailure, Unsaved};
use resilient_runtime::{
    Bulkhead, Component, EventKind, Kind, Priority, Registry, Rejection, RejectionKind, unsaved,
};

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    time: ManualClock,
    registry: Registry,
}

impl Fixture {
    fn new() -> Self {
        let time = ManualClock::new();
        let registry = Registry::with_clock(time.clock());
        Self { time, registry }
    }

    fn bulkhead(&self, config: Config) -> Arc<Bulkhead> {
        let bulkhead = self.registry.bulkhead("db");
        bulkhead.reconfigure(config).unwrap();
        bulkhead
    }
}

fn hold(amount: Amount) -> Fault {
    Fault::hold_permits(amount).component(Kind::Bulkhead, "db")
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn queue(permits: u32) -> Config {
    Config::default().max_concurrent(permits).max_queue(8).max_wait(SECOND * 600)
}

#[test]
fn each_end_of_the_fault_frees_the_permits_at_once() {
    let fixture = Fixture::new();
    let bulkhead = fixture.bulkhead(Config::default().max_concurrent(4));
    let chaos = fixture.registry.chaos();
    let is_free = || bulkhead.stats().available == 4 && bulkhead.try_acquire().is_ok();

    let guard = chaos.inject(hold(Amount::ALL)).unwrap();
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().held), (4, 4));
    assert!(bulkhead.try_acquire_as(Priority::Critical).is_err());
    assert_eq!(chaos.faults()[0].active, 4);
    drop(guard);
    assert!(is_free(), "dropped");

    let id = chaos.arm(hold(Amount::ALL), "alice").unwrap();
    assert!(bulkhead.try_acquire().is_err());
    chaos.remove(id);
    assert!(is_free(), "removed");

    chaos.arm(hold(Amount::ALL), "alice").unwrap();
    chaos.stop_all();
    assert!(is_free(), "stopped");

    chaos.arm(hold(Amount::ALL).ttl(SECOND), "alice").unwrap();
    fixture.time.advance(Duration::from_nanos(999_999_999));
    assert!(bulkhead.try_acquire().is_err());
    fixture.time.advance(Duration::from_nanos(1));
    assert!(bulkhead.try_acquire().is_ok(), "expired, and the call is the first to look");
    assert!(is_free());
}

#[test]
fn the_end_of_the_fault_wakes_waiting_calls() {
    let fixture = Fixture::new();
    let bulkhead = fixture.bulkhead(queue(2));
    let guard = fixture.registry.chaos().inject(hold(Amount::ALL)).unwrap();
    let mut waits = pin!(bulkhead.acquire());
    assert!(poll(waits.as_mut()).is_none());
    drop(guard);
    assert_eq!(bulkhead.stats().queued, 0, "the permit was granted at once");
    assert!(poll(waits).unwrap().is_ok());
}

#[test]
fn an_expired_fault_wakes_waiting_calls_by_their_own_timers() {
    let fixture = Fixture::new();
    let bulkhead = fixture.bulkhead(queue(2));
    fixture.registry.chaos().arm(hold(Amount::ALL).ttl(Duration::from_millis(300)), "alice").unwrap();
    let woken = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut waits = pin!(bulkhead.acquire());
    assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    fixture.time.advance(Duration::from_millis(299));
    assert!(!woken.is_set());
    fixture.time.advance(Duration::from_millis(1));
    assert!(woken.is_set(), "no call looked at the fault");
    assert!(poll(waits).unwrap().is_ok());
}

#[derive(Default)]
struct Flag(std::sync::atomic::AtomicBool);

impl Flag {
    fn is_set(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn a_blocked_thread_gets_its_permit_when_the_fault_ends() {
    let registry = Registry::new();
    let bulkhead = registry.bulkhead("db");
    bulkhead.reconfigure(queue(1)).unwrap();
    registry.chaos().arm(hold(Amount::ALL), "alice").unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| bulkhead.acquire_blocking().is_ok());
        while bulkhead.stats().queued == 0 {
            std::thread::yield_now();
        }
        registry.chaos().stop_all();
        assert!(waits.join().unwrap());
    });
}

#[test]
fn permits_in_use_are_held_when_they_are_released_and_none_is_lost() {
    let fixture = Fixture::new();
    let bulkhead = fixture.bulkhead(queue(2));
    let permits = [bulkhead.try_acquire().unwrap(), bulkhead.try_acquire().unwrap()];
    let mut waits = pin!(bulkhead.acquire());
    assert!(poll(waits.as_mut()).is_none());
    let guard = fixture.registry.chaos().inject(hold(Amount::count(1))).unwrap();
    let [first, second] = permits;
    drop(first);
    assert!(poll(waits.as_mut()).is_none(), "the fault is first");
    drop(second);
    let permit = poll(waits.as_mut()).unwrap().unwrap();
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().held), (2, 1));
    drop(guard);
    assert_eq!(bulkhead.stats().in_use, 1);
    drop(permit);
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().available), (0, 2));
}

#[test]
fn two_faults_add_up_and_a_changed_or_reset_bulkhead_stays_held() {
    let fixture = Fixture::new();
    let bulkhead = fixture.bulkhead(Config::default().max_concurrent(10));
    let chaos = fixture.registry.chaos();
    let half = chaos.inject(hold(Amount::share(0.5))).unwrap();
    let three = chaos.inject(hold(Amount::count(3))).unwrap();
    assert_eq!(bulkhead.stats().available, 2);
    bulkhead.reconfigure(Config::default().max_concurrent(20)).unwrap();
    assert_eq!(bulkhead.stats().available, 7, "half of 20, and three");
    bulkhead.reset();
    assert_eq!(bulkhead.stats().available, 7);
    drop(half);
    assert_eq!(bulkhead.stats().available, 17);
    bulkhead.reconfigure(Config::default().max_concurrent(2)).unwrap();
    assert_eq!((bulkhead.stats().available, bulkhead.stats().held), (0, 2));
    drop(three);
    assert_eq!(bulkhead.stats().available, 2);
}

#[test]
fn the_rate_and_the_limits_bound_held_permits() {
    let fixture = Fixture::new();
    let bulkhead = fixture.bulkhead(Config::default().max_concurrent(10));
    let chaos = fixture.registry.chaos();
    let fault = chaos.inject(hold(Amount::ALL).rate(0.1)).unwrap();
    assert_eq!(bulkhead.stats().held, 1);
    fault.set_rate(0.8).unwrap();
    assert_eq!(bulkhead.stats().held, 8);
    chaos.set_limits(Limits::default().max_rate(0.5)).unwrap();
    assert_eq!(bulkhead.stats().held, 5);
    let _other = chaos.inject(hold(Amount::ALL)).unwrap();
    assert_eq!(bulkhead.stats().held, 5, "of all faults together");
    chaos.set_limits(Limits::default()).unwrap();
    drop(fault);
    assert_eq!(bulkhead.stats().held, 10);
    chaos.stop_all();
    let _few = chaos.inject(hold(Amount::ALL).max_active(2)).unwrap();
    assert_eq!(bulkhead.stats().held, 2);
}

#[test]
fn a_call_that_finds_no_permit_is_marked_and_counted() {
    let fixture = Fixture::new();
    let bulkhead = fixture.bulkhead(Config::default().max_concurrent(1));
    let load = fixture.registry.pipeline("load").bulkhead("db").retry("r").build();
    let mut events = fixture.registry.subscribe();
    let fault = fixture.registry.chaos().inject_as(hold(Amount::ALL), "alice").unwrap();
    let refused = load.call(|| Ok::<_, Rejection>(7)).unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::BulkheadFull);
    assert!(refused.is_injected());
    assert_eq!(refused.injected_by().unwrap().kind, "hold_permits");
    assert_eq!(fixture.registry.retry("r").stats().retries, 0, "as for a bulkhead that is really full");
    assert!(fault.injected() >= 1);
    let stats = fixture.registry.stats();
    let injected = &stats.injected_into_components[0];
    assert_eq!(
        (injected.kind, &*injected.component, injected.fault),
        (Kind::Bulkhead, "db", FaultKind::HoldPermits)
    );
    let mut metric = 0;
    for family in stats.metrics() {
        if family.metric().name == "resilient_chaos_component_injected_total" {
            family.each(|labels, _| {
                assert_eq!(labels, [("kind", "bulkhead"), ("name", "db"), ("fault", "hold_permits")]);
                metric += 1;
            });
        }
    }
    assert_eq!(metric, 1);
    let kinds = std::iter::from_fn(|| events.try_recv());
    let is_injected =
        |kind: &EventKind| matches!(kind, EventKind::FaultInjected { fault_kind: "hold_permits", .. });
    assert!(kinds.into_iter().any(|event| event.component == "db" && is_injected(&event.what)));
    drop(fault);
    let _permit = bulkhead.try_acquire().unwrap();
    assert!(!bulkhead.try_acquire().unwrap_err().is_injected(), "it is really full");
}

#[test]
fn a_missing_component_is_refused_with_near_names() {
    let fixture = Fixture::new();
    fixture.bulkhead(Config::default());
    let chaos = fixture.registry.chaos();
    let refused = |fault: Fault| chaos.inject(fault).unwrap_err().to_string();
    let wrong = refused(Fault::hold_permits(Amount::ALL).component(Kind::Bulkhead, "bd"));
    assert!(wrong.contains("there is no bulkhead `bd`"), "{wrong}");
    let near = refused(Fault::hold_permits(Amount::ALL).component(Kind::Bulkhead, "dbx"));
    assert!(near.contains("there is no bulkhead `dbx`; did you mean `db`?"), "{near}");
    let threads = refused(Fault::hold_threads(Amount::ALL).component(Kind::Bulkhead, "db"));
    assert!(threads.contains("the bulkhead `db` has no threads to hold"), "{threads}");
    fixture.bulkhead(Config::default().enabled(false));
    let disabled = refused(hold(Amount::ALL));
    assert!(disabled.contains("`db` is disabled"), "{disabled}");
    assert!(!chaos.is_armed());
}

#[test]
fn a_dropped_registry_is_not_kept_alive_by_an_armed_fault() {
    let fixture = Fixture::new();
    let weak = Arc::downgrade(&fixture.bulkhead(Config::default()));
    fixture.registry.chaos().arm(hold(Amount::ALL), "alice").unwrap();
    drop(fixture);
    assert!(weak.upgrade().is_none());
}

fn threads(fixture: &Fixture, threads: u32, queued: u32) -> Arc<Bulkhead> {
    fixture.bulkhead(Config::default().threads(threads).max_queue(queued))
}

fn hold_threads(amount: Amount) -> Fault {
    Fault::hold_threads(amount).component(Kind::Bulkhead, "db")
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn held_threads_are_occupied_until_the_fault_ends() {
    let fixture = Fixture::new();
    let bulkhead = threads(&fixture, 2, 0);
    let running = || bulkhead.stats().pool.unwrap().running;
    let fault = fixture.registry.chaos().inject(hold_threads(Amount::count(1))).unwrap();
    until(|| running() == 1);
    assert_eq!(bulkhead.call_in_threads(|| Some(7)), Some(7), "one thread is left");
    drop(fault);
    until(|| running() == 0);
    let fault = fixture.registry.chaos().inject(hold_threads(Amount::ALL)).unwrap();
    until(|| running() == 2);
    assert_eq!(bulkhead.call_in_threads(|| Some(7)), None);
    bulkhead.reconfigure(Config::default().threads(3)).unwrap();
    until(|| running() == 3);
    drop(fault);
    until(|| running() == 0);
    assert_eq!(bulkhead.stats().pool.unwrap().abandoned, 0);
    assert_eq!(bulkhead.call_in_threads(|| Some(7)), Some(7));
}

#[test]
fn an_expired_fault_frees_its_threads_although_nobody_looks() {
    let fixture = Fixture::new();
    let bulkhead = threads(&fixture, 1, 4);
    fixture.registry.chaos().arm(hold_threads(Amount::ALL).ttl(SECOND), "alice").unwrap();
    until(|| bulkhead.stats().pool.unwrap().running == 1);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| bulkhead.call_in_threads(|| Some(7)));
        until(|| bulkhead.stats().pool.unwrap().queued == 1);
        fixture.time.advance(SECOND);
        assert_eq!(waits.join().unwrap(), Some(7));
    });
}

#[test]
fn held_threads_end_on_the_systems_clock_if_the_clock_of_the_registry_stands_still() {
    let fixture = Fixture::new();
    let bulkhead = threads(&fixture, 1, 4);
    fixture.registry.chaos().arm(hold_threads(Amount::ALL).ttl(Duration::from_millis(5)), "alice").unwrap();
    assert_eq!(bulkhead.call_in_threads(|| Some(7)), Some(7));
}

fn store_fault(fault: Fault) -> Fault {
    fault.component(Kind::Idempotency, "orders")
}

#[test]
fn a_failed_store_is_treated_like_one_that_cannot_be_reached() {
    let fixture = Fixture::new();
    let once = fixture.registry.idempotency("orders");
    let store = Arc::new(MemoryStore::new(fixture.time.clock(), 10));
    once.set_store(store.clone());
    let call = |key: &str| once.call(key, Fingerprint::NONE, || Ok::<_, Rejection>(995));
    let fault = fixture.registry.chaos().inject(store_fault(Fault::fail_store())).unwrap();
    let mut events = fixture.registry.subscribe();
    assert_eq!(call("7").unwrap_err().kind(), RejectionKind::StoreUnavailable);
    assert_eq!((once.stats().store_failures, store.len()), (1, 0));
    let failed = std::iter::from_fn(|| events.try_recv()).find_map(|event| match event.what {
        EventKind::StoreFailed { problem } => Some(problem),
        _ => None,
    });
    assert_eq!(failed.unwrap(), "injected by fault 1 (fail_store, by code)");

    once.reconfigure(idempotency::Config::default().on_store_failure(OnStoreFailure::Open)).unwrap();
    assert_eq!(call("7"), Ok(995), "as the settings say");
    let other = Arc::new(MemoryStore::new(fixture.time.clock(), 10));
    once.set_store(other.clone());
    assert_eq!((call("7"), other.len()), (Ok(995), 0), "a store that is set while the fault is in force");
    drop(fault);
    assert_eq!((call("7"), other.len()), (Ok(995), 1));
    let injected = &fixture.registry.stats().injected_into_components;
    assert_eq!((injected[0].fault, injected[0].kind), (FaultKind::FailStore, Kind::Idempotency));
}

#[test]
fn a_store_that_fails_while_a_call_runs_keeps_the_result_from_being_stored() {
    let fixture = Fixture::new();
    let once = fixture.registry.idempotency("orders");
    let chaos = fixture.registry.chaos();
    let arm = || chaos.arm(store_fault(Fault::fail_store()).ttl(SECOND), "alice").unwrap();
    let outcome = once.call("7", Fingerprint::NONE, || {
        arm();
        Ok::<_, Rejection>(995)
    });
    assert_eq!((outcome, unsaved()), (Ok(995), Some(Unsaved::StoreFailed)));
    fixture.time.advance(SECOND);
    let again = once.call("8", Fingerprint::NONE, || Ok::<_, Rejection>(1));
    assert_eq!((again, unsaved()), (Ok(1), None), "the fault has expired");
}

#[test]
fn operations_of_a_store_are_counted_like_attempts() {
    let fixture = Fixture::new();
    let once = fixture.registry.idempotency("orders");
    let call = |key: u32| once.call(&key.to_string(), Fingerprint::NONE, || Some(995)).is_some();
    // A claim that fails is freed, which is an operation too.
    let fault = store_fault(Fault::fail_store()).times(3);
    let fault = fixture.registry.chaos().inject(fault).unwrap();
    assert_eq!([call(1), call(2), call(3)], [false, false, true]);
    drop(fault);
    fixture.registry.chaos().set_limits(Limits::default().max_rate(0.1)).unwrap();
    let all = fixture.registry.chaos().inject(store_fault(Fault::fail_store())).unwrap();
    (10..60).for_each(|key| {
        call(key);
    });
    assert_eq!((all.injected(), all.snapshot().matched), (10, 100), "a tenth of the operations");
}

#[test]
fn a_slow_store_delays_a_blocking_call_and_times_out() {
    let fixture = Fixture::new();
    let once = fixture.registry.idempotency("orders");
    once.reconfigure(idempotency::Config::default().store_timeout(SECOND)).unwrap();
    let call = |key: &str| once.call(key, Fingerprint::NONE, || Ok::<_, Rejection>(995));
    let clock = fixture.time.clock();
    let slow = |latency| store_fault(Fault::slow_store(Latency::fixed(latency)));
    let fault = fixture.registry.chaos().inject(slow(SECOND / 2)).unwrap();
    let before = clock.now();
    assert_eq!((call("7"), clock.now().since(before)), (Ok(995), SECOND), "to claim and to complete");
    drop(fault);
    let _hangs = fixture.registry.chaos().inject(slow(SECOND * 60)).unwrap();
    assert_eq!(call("8").unwrap_err().kind(), RejectionKind::StoreUnavailable);
}

#[test]
fn a_slow_store_answers_at_once_when_the_fault_ends() {
    let fixture = Fixture::new();
    let once = fixture.registry.idempotency("orders");
    once.reconfigure(idempotency::Config::default().store_timeout(SECOND * 60)).unwrap();
    let slow = store_fault(Fault::slow_store(Latency::fixed(SECOND * 30)));
    let fault = fixture.registry.chaos().inject(slow).unwrap();
    let mut call = pin!(once.call_async("7", Fingerprint::NONE, async || Ok::<_, Rejection>(995)));
    assert!(poll(call.as_mut()).is_none());
    assert_eq!(fault.snapshot().active, 1);
    drop(fault);
    assert_eq!(poll(call), Some(Ok(995)));
}

#[tokio::test]
async fn a_flapping_check_has_its_true_status_as_soon_as_the_fault_ends() {
    let fixture = Fixture::new();
    let check = fixture.registry.health("db");
    check.reconfigure(health::Config::default().failures(1)).unwrap();
    check.probe(|| async { Ok::<_, String>(()) });
    assert_eq!(check.check().await.status, Status::Pass);
    let flaps = Fault::flap_health(SECOND * 20).component(Kind::Health, "db").ttl(SECOND * 45);
    let mut events = fixture.registry.subscribe();
    fixture.registry.chaos().arm(flaps, "alice").unwrap();
    let mut seen = Vec::new();
    for _ in 0..8 {
        fixture.time.advance(SECOND * 5);
        seen.push(check.check().await.status == Status::Pass);
    }
    assert_eq!(seen, [false, true, true, false, false, true, true, false]);
    let output = check.stats().output.unwrap();
    assert_eq!(output, "injected by fault 1 (flap_health, by alice)");
    fixture.time.advance(SECOND * 5);
    assert_eq!(check.stats().status, Status::Pass, "without a new probe");
    let changes = std::iter::from_fn(|| events.try_recv()).filter_map(|event| match event.what {
        EventKind::HealthChanged { status } => Some(status),
        _ => None,
    });
    assert_eq!(changes.collect::<Vec<_>>(), ["fail", "pass", "fail", "pass", "fail", "pass"]);

    let flaps = Fault::flap_health(SECOND * 20).component(Kind::Health, "db");
    let fault = fixture.registry.chaos().inject(flaps).unwrap();
    fixture.time.advance(SECOND);
    assert_eq!(check.check().await.status, Status::Fail);
    drop(fault);
    assert_eq!(check.stats().status, Status::Pass);
}

#[tokio::test]
async fn a_check_that_really_fails_stays_failed_after_the_fault() {
    let fixture = Fixture::new();
    let check = fixture.registry.health("db");
    check.probe(|| async { Err("refused") });
    let flaps = Fault::flap_health(SECOND * 2).component(Kind::Health, "db");
    let fault = fixture.registry.chaos().inject(flaps).unwrap();
    for _ in 0..6 {
        fixture.time.advance(SECOND);
        assert_eq!(check.check().await.status, Status::Fail);
    }
    drop(fault);
    assert_eq!((check.stats().status, check.stats().output.as_deref()), (Status::Fail, Some("refused")));
}

impl Fixture {
    fn skewable() -> Self {
        let time = ManualClock::new();
        let registry = Registry::with_clock(time.clock().skewable());
        Self { time, registry }
    }

    fn passed(&self, span: Duration) -> Duration {
        let before = self.registry.clock().now();
        self.time.advance(span);
        self.registry.clock().now().since(before)
    }
}

#[test]
fn a_skewed_clock_runs_faster_or_slower_until_the_fault_ends() {
    let fixture = Fixture::skewable();
    let chaos = fixture.registry.chaos();
    let skew = |speed| Fault::skew_clock(Skew::speed(speed)).ttl(SECOND * 100);
    assert_eq!(fixture.passed(SECOND), SECOND);
    let twice = chaos.inject(skew(2.0)).unwrap();
    assert_eq!(fixture.passed(SECOND), SECOND * 2);
    let slower = chaos.inject(skew(0.25)).unwrap();
    assert_eq!(fixture.passed(SECOND * 2), SECOND, "both at the same time");
    drop(twice);
    assert_eq!(fixture.passed(SECOND * 4), SECOND);
    drop(slower);
    assert_eq!(fixture.passed(SECOND), SECOND);
    assert!(!chaos.is_armed());
}

#[test]
fn the_time_to_live_of_a_skew_is_measured_without_it_although_nobody_looks() {
    let fixture = Fixture::skewable();
    let chaos = fixture.registry.chaos();
    chaos.arm(Fault::skew_clock(Skew::speed(0.0)).ttl(SECOND * 10), "alice").unwrap();
    assert_eq!(fixture.passed(SECOND * 9), Duration::ZERO, "it stands still");
    assert_eq!(fixture.passed(SECOND * 5), SECOND * 4, "and runs since the end of the fault");
    chaos.arm(Fault::hang().on("load").ttl(SECOND * 10), "alice").unwrap();
    let before = fixture.registry.clock().now();
    chaos.arm(Fault::skew_clock(Skew::jump(SECOND * 3600)), "alice").unwrap();
    assert_eq!(fixture.registry.clock().now().since(before), SECOND * 3600);
    assert_eq!(chaos.faults().len(), 2, "the jump does not end the other fault");
    chaos.stop_all();
    assert_eq!(fixture.registry.clock().now().since(before), SECOND * 3600, "it never moves back");
}

#[test]
fn timers_follow_a_skewed_clock() {
    let fixture = Fixture::skewable();
    let chaos = fixture.registry.chaos();
    let clock = fixture.registry.clock();
    let delay = || Box::pin(clock.delay(SECOND * 10).unwrap());
    let mut jumps = delay();
    assert!(poll(jumps.as_mut()).is_none());
    drop(chaos.inject(Fault::skew_clock(Skew::jump(SECOND * 10))).unwrap());
    assert!(poll(jumps.as_mut()).is_some());

    let woken = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut stops = delay();
    assert!(stops.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    chaos.arm(Fault::skew_clock(Skew::speed(0.0)).ttl(SECOND * 60), "alice").unwrap();
    assert!(stops.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    fixture.time.advance(SECOND * 59);
    assert!(stops.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "the clock stands still");
    fixture.time.advance(SECOND);
    assert!(woken.is_set());
    assert!(stops.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    fixture.time.advance(SECOND * 10);
    assert!(stops.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());

    let mut fast = delay();
    let _fault = chaos.inject(Fault::skew_clock(Skew::speed(10.0))).unwrap();
    assert!(poll(fast.as_mut()).is_none());
    fixture.time.advance(SECOND);
    assert!(poll(fast.as_mut()).is_some());
}

#[test]
fn a_clock_that_is_skewed_again_and_again_never_moves_back() {
    let registry = Registry::with_clock(Clock::system().skewable());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = registry.clock().now();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let now = registry.clock().now();
                    assert!(now >= last, "{now:?} is before {last:?}");
                    last = now;
                }
            });
        }
        let skews =
            [Skew::speed(0.1), Skew::speed(5.0), Skew::jump(Duration::from_millis(1)), Skew::speed(0.0)];
        for skew in skews.into_iter().cycle().take(2000) {
            drop(registry.chaos().inject(Fault::skew_clock(skew)).unwrap());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_thread_that_waits_on_a_stopped_clock_continues_when_the_fault_ends() {
    let registry = Registry::with_clock(Clock::system().skewable());
    let bulkhead = registry.bulkhead("db");
    bulkhead
        .reconfigure(Config::default().max_concurrent(1).max_queue(1).max_wait(Duration::from_millis(20)))
        .unwrap();
    let permit = bulkhead.try_acquire().unwrap();
    let stopped = Fault::skew_clock(Skew::speed(0.0)).ttl(Duration::from_millis(50));
    registry.chaos().arm(stopped, "alice").unwrap();
    let before = std::time::Instant::now();
    assert!(bulkhead.acquire_blocking().is_err());
    assert!(
        before.elapsed() >= Duration::from_millis(70),
        "50 ms while it stood still, and 20 ms of waiting"
    );
    drop(permit);
}

#[test]
fn a_clock_that_cannot_be_skewed_and_a_bounded_share_refuse_a_skew() {
    let fixture = Fixture::new();
    let jump = || Fault::skew_clock(Skew::jump(SECOND));
    let refused = fixture.registry.chaos().inject(jump()).unwrap_err().to_string();
    assert!(refused.contains("`Clock::system().skewable()`"), "{refused}");
    let fixture = Fixture::skewable();
    fixture.registry.chaos().set_limits(Limits::default().max_rate(0.2)).unwrap();
    let refused = fixture.registry.chaos().inject(jump()).unwrap_err().to_string();
    assert!(refused.contains("`max_rate` = 0.2"), "{refused}");
}

/// Evaluates the alerts once a second while calls fail because of faults.
fn alerts_of_injected_errors(exclude: bool, fault: Fault) -> [Option<f64>; 2] {
    use resilient_runtime::alert::{self, Signal};

    let fixture = Fixture::new();
    fixture.bulkhead(Config::default());
    fixture.registry.health("db");
    fixture.registry.idempotency("orders");
    let load = fixture.registry.pipeline("load").bulkhead("db").timeout("t").build();
    let alert = |name: &str, signal: Signal| {
        let config =
            alert::Config::default().signal(signal).critical(0.5).hold(Duration::ZERO).min_samples(5);
        let alert = fixture.registry.alert(name);
        alert.reconfigure(config.exclude_injected(exclude)).unwrap();
        alert
    };
    let alerts = [alert("errors", Signal::ErrorRate), alert("latency", Signal::LatencyP99)];
    fixture.registry.evaluate_alerts();
    let _fault = fixture.registry.chaos().inject(fault.every(2)).unwrap();
    for call in 0..40 {
        let _ = load.call(|| if call % 10 == 0 { Err(std::io::Error::other("real")) } else { Ok(7) });
        fixture.time.advance(SECOND / 8);
    }
    fixture.registry.evaluate_alerts();
    alerts.map(|alert| alert.stats().value)
}

#[test]
fn injected_errors_count_in_alerts_unless_they_are_excluded() {
    // T143
    let errors = || Fault::error(resilient_runtime::Class::Permanent).on("load");
    let [counted, _] = alerts_of_injected_errors(false, errors());
    // The 2nd, 4th and so on are injected; the 1st, 11th, 21st and 31st really fail.
    assert_eq!(counted, Some(24.0 / 40.0));
    let [excluded, _] = alerts_of_injected_errors(true, errors());
    assert_eq!(excluded, Some(4.0 / 20.0));
}

#[test]
fn injected_latency_counts_in_alerts_unless_it_is_excluded() {
    // T143
    let slow = || Fault::latency(Latency::fixed(SECOND * 2)).on("load");
    let [_, counted] = alerts_of_injected_errors(false, slow());
    assert!(counted.unwrap() > 1.9, "{counted:?}");
    let [_, excluded] = alerts_of_injected_errors(true, slow());
    assert!(excluded.unwrap() < 0.1, "{excluded:?}");
}

#[test]
fn calls_that_find_no_permit_because_of_a_fault_are_excluded_too() {
    use resilient_runtime::alert;

    // T143
    let fixture = Fixture::new();
    fixture.bulkhead(Config::default().max_concurrent(1));
    let load = fixture.registry.pipeline("load").bulkhead("db").build();
    let alert = fixture.registry.alert("errors");
    let config =
        alert::Config::default().critical(0.5).hold(Duration::ZERO).min_samples(1).exclude_injected(true);
    alert.reconfigure(config).unwrap();
    fixture.registry.evaluate_alerts();
    assert!(load.call(|| Ok::<_, Rejection>(7)).is_ok());
    let _fault = fixture.registry.chaos().inject(hold(Amount::ALL)).unwrap();
    for _ in 0..9 {
        assert!(load.call(|| Ok::<_, Rejection>(7)).is_err());
    }
    fixture.time.advance(SECOND);
    fixture.registry.evaluate_alerts();
    assert_eq!(alert.stats().value, Some(0.0), "of one call");
    assert_eq!(load.stats().rejected, 9, "the statistics have all calls");
}

/// Has another effect on each attempt.
struct Each(std::sync::atomic::AtomicUsize, Vec<Effect>);

impl CustomFault for Each {
    fn name(&self) -> &'static str {
        "each"
    }

    fn inject(&self, attempt: &Attempt<'_>) -> Effect {
        assert_eq!((attempt.operation, attempt.priority), ("load", Priority::Normal));
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        *self.1.get(number).expect("the program is wrong")
    }
}

#[test]
fn a_custom_fault_decides_about_each_attempt() {
    use resilient_runtime::Class;

    let fixture = Fixture::new();
    let load = fixture.registry.pipeline("load").build();
    let effects = vec![
        Effect::None,
        Effect::Error(Class::Permanent),
        Effect::Latency(SECOND),
        Effect::Refuse(RejectionKind::RateLimited),
        Effect::Error(Class::Ignored),
    ];
    let fault = Fault::custom(Each(0.into(), effects)).on("load");
    let fault = fixture.registry.chaos().inject_as(fault, "alice").unwrap();
    let call = || load.call(|| Ok::<_, Rejection>(7));
    assert_eq!((call(), fault.injected()), (Ok(7), 0));
    let error = call().unwrap_err();
    assert_eq!(error.to_string(), "`load` failed: injected by fault 1 (custom, by alice)");
    let before = fixture.time.clock().now();
    assert_eq!((call(), fixture.time.clock().now().since(before)), (Ok(7), SECOND));
    assert_eq!(call().unwrap_err().kind(), RejectionKind::RateLimited);
    assert_eq!(call(), Ok(7), "a class that cannot be injected");
    assert_eq!(call(), Ok(7), "a panic of the fault affects no call");
    assert_eq!((fault.injected(), load.stats().injected[&FaultKind::Custom]), (3, 3));
    assert_eq!(fault.snapshot().action, "custom `each`");
    let nameless = Fault::custom(Nameless).on("load");
    assert!(
        fixture
            .registry
            .chaos()
            .inject(nameless)
            .unwrap_err()
            .to_string()
            .contains("the name of a custom fault")
    );
}

struct Nameless;

impl CustomFault for Nameless {
    fn name(&self) -> &'static str {
        ""
    }

    fn inject(&self, _: &Attempt<'_>) -> Effect {
        Effect::Hang
    }
}

#[test]
fn other_faults_end_on_a_stopped_clock() {
    let fixture = Fixture::skewable();
    let bulkhead = fixture.bulkhead(queue(1));
    let load = fixture.registry.pipeline("load").build();
    let chaos = fixture.registry.chaos();
    let _stopped = chaos.inject(Fault::skew_clock(Skew::speed(0.0)).ttl(SECOND * 60)).unwrap();
    let hang = chaos.inject(Fault::hang().on("load").ttl(SECOND)).unwrap();
    let held = chaos.inject(hold(Amount::ALL).ttl(SECOND)).unwrap();
    let mut hangs = pin!(load.call_async(async || Some(7)));
    let mut waits = pin!(bulkhead.acquire());
    assert!(poll(hangs.as_mut()).is_none() && poll(waits.as_mut()).is_none());
    drop((hang, held));
    assert_eq!(poll(hangs), Some(Some(7)));
    assert!(poll(waits).unwrap().is_ok());
    chaos.arm(hold(Amount::ALL).ttl(SECOND), "alice").unwrap();
    fixture.time.advance(SECOND);
    assert!(bulkhead.try_acquire().is_ok(), "expired without the skew");
}

#[tokio::test]
async fn injected_errors_of_hedged_calls_are_excluded_from_alerts() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let load = registry.pipeline("load").hedge("load").build();
    let alert = registry.alert("load");
    let config = resilient_runtime::alert::Config::default()
        .operation("load")
        .critical(0.5)
        .hold(Duration::ZERO)
        .min_samples(1);
    alert.reconfigure(config.exclude_injected(true)).unwrap();
    let _fault =
        registry.chaos().inject(Fault::error(resilient_runtime::Class::Permanent).on("load")).unwrap();
    registry.evaluate_alerts();
    for _ in 0..3 {
        for _ in 0..10 {
            assert!(load.call_async(async || Ok::<_, Rejection>(7)).await.is_err());
        }
        fixture.time.advance(SECOND * 5);
        registry.evaluate_alerts();
    }
    assert_eq!(alert.stats().severity, None, "{:?}", alert.stats());
}

#[test]
fn the_end_of_a_skew_wakes_a_thread_that_sleeps() {
    let registry = Registry::with_clock(Clock::system().skewable());
    let stopped = Fault::skew_clock(Skew::speed(0.0)).ttl(SECOND * 20);
    let fault = registry.chaos().inject(stopped).unwrap();
    let (clock, start) = (registry.clock().clone(), std::time::Instant::now());
    let (begins, began) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        begins.send(()).unwrap();
        clock.sleep(Duration::from_millis(1));
    });
    began.recv().unwrap();
    while start.elapsed() < Duration::from_millis(100) {
        std::thread::yield_now();
    }
    drop(fault);
    sleeper.join().unwrap();
    assert!(start.elapsed() < SECOND * 10, "it slept until the end of the lease: {:?}", start.elapsed());
}

/// Remembers that it was woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_shortened_lease_wakes_held_calls_at_its_end() {
    let fixture = Fixture::new();
    let load = fixture.registry.pipeline("load").build();
    let hang = Fault::hang().on("load").ttl(SECOND * 3600);
    let fault = fixture.registry.chaos().inject(hang).unwrap();
    let mut call = pin!(load.call_async(async || Some(7)));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut poll = || call.as_mut().poll(&mut Context::from_waker(&waker));
    let is_woken = || woken.0.swap(false, std::sync::atomic::Ordering::Relaxed);
    assert!(poll().is_pending());
    fault.renew(SECOND).unwrap();
    if is_woken() {
        assert!(poll().is_pending(), "it waits for the new end");
    }
    fixture.time.advance(SECOND);
    assert!(is_woken());
    assert_eq!(poll(), Poll::Ready(Some(7)));
}
