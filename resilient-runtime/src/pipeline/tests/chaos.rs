//! How the stages see injected faults.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::chaos::{Fault, FaultGuard, Latency, Limits};
use crate::{EventKind, Kind};

fn inject(fixture: &Fixture, fault: Fault) -> FaultGuard {
    fixture.registry.chaos().inject(fault).unwrap()
}

fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn an_injected_error_is_treated_like_one_of_the_body_by_every_stage() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let fault = inject(&fixture, Fault::error(Class::TRANSIENT).on("*").times(1));
    let outcome = pipeline.request().judge(Verdict::by_class).call(|| Outcome::Ok(7));
    assert_eq!(outcome.unwrap(), 7, "the retry succeeds");
    let breaker = fixture.registry.circuit_breaker("x").stats();
    assert_eq!((breaker.failed, breaker.successful, fault.injected()), (1, 1, 1));
    assert_eq!(fixture.registry.retry("x").stats().retries, 1);
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.succeeded), (1, 1));
    assert_eq!(stats.last_error.unwrap().text, "`op` failed: injected by fault 1 (error, by code)");
    drop(fault);
    let _two = inject(&fixture, Fault::error(Class::TRANSIENT).component(Kind::CircuitBreaker, "x"));
    let error = pipeline.request().judge(Verdict::by_class).call(|| Outcome::Ok(7));
    assert!(error.is_err());
    assert!(matches!(fixture.registry.circuit_breaker("x").state(), State::Open), "two failures in a row");
    assert_eq!(fixture.registry.bulkhead("x").stats().in_use, 0);
}

#[test]
fn each_path_to_the_body_passes_the_injection_point() {
    // T137 is the other side: without the feature there is none.
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    registry.bulkhead("pool").reconfigure(bulkhead::Config::default().threads(1)).unwrap();
    let plain = registry.pipeline("plain").build();
    let threads = registry.pipeline("threads").bulkhead("pool").build();
    let hedged = registry.pipeline("hedged").hedge("h").build();
    let open = Arc::new(registry.pipeline("open").build());
    let _fault = inject(&fixture, Fault::error(Class::Permanent).on("*"));
    let body = || Outcome::Ok(7);
    assert!(plain.call(body).is_err());
    assert!(ready(plain.call_async(async || Outcome::Ok(7))).unwrap().is_err());
    assert!(threads.request().call_in_threads(body).is_err());
    assert!(ready(hedged.call_async(async || Outcome::Ok(7))).unwrap().is_err());
    assert!(ready(plain.request().call_held_async(async { Outcome::Ok(7) })).unwrap().0.is_err());
    assert!(ready(open.open_request().call_open_async(async || Outcome::Ok(7))).unwrap().0.is_err());
    for name in ["plain", "threads", "hedged", "open"] {
        let stats = registry.stats().operations.remove(name).unwrap();
        assert_eq!((stats.failed, stats.succeeded, stats.rejected), (stats.calls, 0, 0), "{name}");
        assert!(stats.injected.values().sum::<u64>() > 0, "{name}");
    }
}

#[tokio::test]
async fn injected_latency_is_part_of_the_attempt_and_ends_at_its_timeout() {
    let fixture = Fixture::new();
    let limits = timeout::Config::default().total(MS(500)).attempt(MS(50));
    fixture.registry.timeout("t").reconfigure(limits).unwrap();
    let pipeline = fixture.registry.pipeline("load").timeout("t").build();
    let _fault = inject(&fixture, Fault::latency(Latency::fixed(MS(30))).on("load").times(1));
    let call = pipeline.call_async(async || Outcome::Ok(7));
    let (value, ()) = tokio::join!(call, async { fixture.time.advance(MS(30)) });
    assert_eq!(value.unwrap(), 7);
    assert!(pipeline.stats().latency.p50 >= MS(30), "{:?}", pipeline.stats().latency);
    let _fault = inject(&fixture, Fault::latency(Latency::fixed(MS(300))).on("load"));
    let call = pipeline.call_async(async || Outcome::Ok(7));
    let (late, ()) = tokio::join!(call, async { fixture.time.advance(MS(50)) });
    let Err(Error::Rejected(late)) = late else { panic!("{late:?}") };
    assert_eq!(late.kind(), RejectionKind::AttemptTimeout);
    assert_eq!(fixture.time.timers(), 0, "nothing is left behind");
}

#[test]
fn a_blocking_call_is_delayed_at_most_until_its_deadline() {
    let fixture = Fixture::new();
    fixture.registry.timeout("t").reconfigure(timeout::Config::default().total(MS(500))).unwrap();
    let pipeline = fixture.registry.pipeline("load").timeout("t").build();
    let fault = inject(&fixture, Fault::latency(Latency::fixed(MS(100))).on("load"));
    let began = fixture.time.clock().now();
    assert_eq!(pipeline.call(|| Outcome::Ok(7)).unwrap(), 7);
    assert_eq!(fixture.time.clock().now().since(began), MS(100));
    drop(fault);
    let _fault = inject(&fixture, Fault::hang().on("load"));
    let began = fixture.time.clock().now();
    let Err(Error::Rejected(late)) = pipeline.call(|| Outcome::Ok(7)) else { panic!("it hangs") };
    assert_eq!(
        (late.kind(), fixture.time.clock().now().since(began)),
        (RejectionKind::TotalTimeout, MS(500))
    );
    assert_eq!(pipeline.stats().timed_out, 1);
}

#[tokio::test]
async fn the_end_of_a_fault_wakes_the_calls_that_hang() {
    // T138: removed, expired, stopped, or its guard was dropped.
    let fixture = Fixture::new();
    let chaos = fixture.registry.chaos();
    let pipeline = fixture.registry.pipeline("load").build();
    let hang = || Fault::hang().on("load").ttl(Duration::from_mins(1));
    let body = async || Some(7);
    let id = chaos.arm(hang(), "alice").unwrap();
    let removed = async { assert!(chaos.remove(id)) };
    assert_eq!(tokio::join!(pipeline.call_async(body), removed).0, Some(7));
    chaos.arm(hang(), "alice").unwrap();
    let expired = async { fixture.time.advance(Duration::from_mins(1)) };
    assert_eq!(tokio::join!(pipeline.call_async(body), expired).0, Some(7));
    assert!(!chaos.is_armed());
    chaos.arm(hang(), "alice").unwrap();
    chaos.arm(hang(), "bob").unwrap();
    let stopped = async { _ = chaos.stop_all() };
    let (a, b, ()) = tokio::join!(pipeline.call_async(body), pipeline.call_async(body), stopped);
    assert_eq!((a, b), (Some(7), Some(7)));
    let guard = inject(&fixture, hang());
    assert_eq!(tokio::join!(pipeline.call_async(body), async { drop(guard) }).0, Some(7));
    assert_eq!(fixture.time.timers(), 0);
}

#[tokio::test]
async fn a_call_dropped_while_it_hangs_is_cancelled_and_leaves_its_place() {
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("load").bulkhead("x").build();
    let fault = inject(&fixture, Fault::hang().on("load").max_active(1));
    assert_eq!(ready(pipeline.call_async(async || Some(7))), None);
    assert_eq!((pipeline.stats().cancelled, pipeline.stats().panicked), (1, 0));
    assert_eq!(fixture.registry.bulkhead("x").stats().in_use, 0);
    assert_eq!((fault.snapshot().active, fault.injected()), (0, 1));
    assert_eq!(fixture.time.timers(), 0);
}

#[test]
fn no_more_attempts_are_affected_at_once_than_allowed() {
    // T140
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("load").build();
    let fault = inject(&fixture, Fault::hang().on("load").max_active(2));
    let mut calls: Vec<_> = (0..4).map(|_| Box::pin(pipeline.call_async(async || Some(7)))).collect();
    let mut cx = Context::from_waker(Waker::noop());
    let pending = calls.iter_mut().filter_map(|call| call.as_mut().poll(&mut cx).is_pending().then_some(()));
    assert_eq!(pending.count(), 2);
    assert_eq!(fault.snapshot().active, 2);
    drop(calls);
    assert_eq!(fault.snapshot().active, 0);
    let chaos = fixture.registry.chaos();
    chaos.set_limits(Limits::default().max_faults(2)).unwrap();
    let _second = inject(&fixture, Fault::hang().on("load"));
    assert!(chaos.inject(Fault::hang().on("load")).is_err(), "T140: never more faults either");
}

#[test]
fn all_faults_together_affect_at_most_their_share() {
    let fixture = Fixture::new();
    let chaos = fixture.registry.chaos();
    chaos.set_limits(Limits::default().max_rate(0.25)).unwrap();
    let pipeline = fixture.registry.pipeline("load").build();
    let _one = inject(&fixture, Fault::error(Class::TRANSIENT).on("load").rate(0.5));
    let _two = inject(&fixture, Fault::error(Class::TRANSIENT).on("load").rate(0.5));
    for calls in 1..=1000 {
        let _ = pipeline.call(|| Some(7));
        assert!(chaos.injected() * 4 <= calls, "{} of {calls}", chaos.injected());
    }
    assert!(chaos.injected() > 200, "{}", chaos.injected());
}

#[test]
fn the_same_seed_hits_the_same_calls() {
    // T141
    let hits = |seed| {
        let fixture = Fixture::new();
        let pipeline = fixture.registry.pipeline("load").build();
        let _fault = inject(&fixture, Fault::error(Class::TRANSIENT).on("load").rate(0.1).seed(seed));
        let hits: Vec<_> = (0..1000).filter(|_| pipeline.call(|| Some(7)).is_none()).collect();
        hits
    };
    assert_eq!(hits(42), hits(42));
    assert_ne!(hits(42), hits(43));
    assert!((70..130).contains(&hits(42).len()), "{}", hits(42).len());
}

#[test]
fn an_injected_panic_is_one_of_the_body() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let _fault = inject(&fixture, Fault::panic().on("*").times(2));
    let call = || drop(pipeline.call(|| Outcome::Ok(7)));
    let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "injected by fault 1 (panic, by code)");
    let call = || drop(ready(pipeline.call_async(async || Outcome::Ok(7))));
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(pipeline.stats().panicked, 2);
    assert_eq!(fixture.registry.circuit_breaker("x").stats().failed, 2);
    assert_eq!(fixture.registry.bulkhead("x").stats().in_use, 0);
}

#[test]
fn a_refusal_is_none_of_the_dependency() {
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("load").circuit_breaker("db").bulkhead("db").retry("db").build();
    for (kind, text) in [
        (RejectionKind::CircuitOpen, "circuit breaker `db` is open: injected by fault 1 (refuse, by code)"),
        (RejectionKind::BulkheadFull, "bulkhead `db` is full: injected by fault 2 (refuse, by code)"),
        (RejectionKind::RateLimited, "rate limit `load` exceeded: injected by fault 3 (refuse, by code)"),
    ] {
        let _fault = inject(&fixture, Fault::refuse(kind).on("load"));
        let Err(Error::Rejected(refused)) = pipeline.call(|| Outcome::Ok(7)) else { panic!("{kind:?}") };
        assert_eq!((refused.kind(), refused.to_string()), (kind, text.to_owned()));
        assert!(refused.is_injected());
    }
    let breaker = fixture.registry.circuit_breaker("db").stats();
    assert_eq!((breaker.failed, breaker.successful), (0, 0));
    assert_eq!((pipeline.stats().rejected, fixture.registry.retry("db").stats().retries), (3, 0));
    assert_eq!(fixture.registry.bulkhead("db").stats().in_use, 0);
}

#[test]
fn a_fault_affects_only_the_calls_that_it_names() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    let (charge, refund) =
        (registry.pipeline("shop::charge").build(), registry.pipeline("shop::refund").build());
    let fails = |pipeline: &Pipeline| pipeline.call(|| Some(7)).is_none();
    let fault = |fault: Fault| inject(&fixture, fault);
    let named = fault(Fault::error(Class::TRANSIENT).on("*::charge"));
    assert_eq!((fails(&charge), fails(&refund)), (true, false));
    drop(named);
    let low = fault(Fault::error(Class::TRANSIENT).on("shop::*").priority(Priority::Low));
    assert!(!fails(&charge));
    assert_eq!(charge.request().priority(Priority::Low).call(|| Some(7)), None);
    drop(low);
    let marked = fault(Fault::error(Class::TRANSIENT).on("shop::*").correlation_prefix("gameday-"));
    let with_id = |id: &str| crate::correlation::CorrelationId::parse(id).unwrap().scope(|| fails(&charge));
    assert_eq!((with_id("gameday-7"), with_id("order-7"), fails(&charge)), (true, false, false));
    drop(marked);
    assert!(!fails(&charge) && !fails(&refund));
}

#[test]
fn while_protection_is_off_no_fault_is_injected() {
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("load").build();
    let _fault = inject(&fixture, Fault::error(Class::TRANSIENT).on("load"));
    fixture.registry.set_enabled(false);
    assert_eq!(pipeline.call(|| Some(7)), Some(7));
    fixture.registry.set_enabled(true);
    assert_eq!(pipeline.call(|| Some(7)), None);
}

#[test]
fn what_was_injected_is_marked_in_events_statistics_and_metrics() {
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("load").build();
    let mut events = fixture.registry.subscribe();
    let chaos = fixture.registry.chaos();
    let id = chaos.arm(Fault::error(Class::TRANSIENT).on("load"), "alice").unwrap();
    assert_eq!(pipeline.call(|| Some(7)), None);
    chaos.remove(id);
    let seen: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
    let named: Vec<_> = seen.iter().map(|event| (event.kind, event.component)).collect();
    assert_eq!(named, [(Kind::Chaos, "chaos"), (Kind::Chaos, "load"), (Kind::Chaos, "chaos")]);
    let injected = EventKind::FaultInjected { fault: 1, fault_kind: "error", by: "alice".into() };
    assert_eq!(seen[1].what, injected);
    assert_eq!(seen[2].what, EventKind::FaultEnded { fault: 1, why: "removed", injected: 1 });
    let stats = fixture.registry.stats();
    let mut series = Vec::new();
    for family in stats.metrics() {
        if family.metric().name == "resilient_chaos_injected_total" {
            family.each(|labels, value| series.push(format!("{labels:?} {value:?}")));
        }
    }
    assert_eq!(series, [r#"[("operation", "load"), ("fault", "error")] Count(1)"#]);
}

#[test]
fn an_injected_result_is_not_stored_under_the_idempotency_key() {
    // T114
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("charge").idempotency("charge").build();
    let charge = || pipeline.request().key(&"order 7").call(|| Some(7));
    for class in [Class::Permanent, Class::TRANSIENT, Class::UNCERTAIN] {
        let fault = inject(&fixture, Fault::error(class).on("charge"));
        assert_eq!(charge(), None);
        drop(fault);
    }
    assert_eq!(charge(), Some(7), "the key is free");
    let _fault = inject(&fixture, Fault::error(Class::Permanent).on("charge"));
    assert_eq!(charge(), Some(7), "a stored result is replayed");
}

#[test]
fn a_clock_that_stands_still_or_jumps_does_not_extend_a_fault() {
    let fixture = Fixture::new();
    let chaos = fixture.registry.chaos();
    chaos.arm(Fault::hang().on("load").ttl(MS(1)), "alice").unwrap();
    fixture.time.rewind(Duration::from_mins(30));
    // The system's clock moves on.
    while chaos.is_armed() {
        std::thread::yield_now();
    }
    chaos.arm(Fault::hang().on("load"), "alice").unwrap();
    fixture.time.advance(Duration::from_hours(24 * 365));
    assert!(!chaos.is_armed());
}
