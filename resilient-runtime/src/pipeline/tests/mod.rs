//! What the stages do to each other.

mod adaptive;
mod hedge;
mod limits;
mod once;
mod share;
mod shed;
mod spans;
mod switch;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::circuit_breaker::State;
use crate::clock::ManualClock;
use crate::fallback::{AsyncChain, Chain, Level};
use crate::pipeline::Pipeline;
use crate::{
    Class, Classify, Component, FallbackFailed, Priority, Ratio, Registry, Rejection, RejectionKind, Verdict,
    bulkhead, circuit_breaker, retry, timeout,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("down")]
    Down,
    #[error("your mistake")]
    Mistake,
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    AllFailed(#[from] FallbackFailed),
}

impl Classify for Error {
    fn classify(&self) -> Class {
        match self {
            Self::Mistake => Class::Ignored,
            Self::Rejected(rejection) => rejection.classify(),
            Self::Down | Self::AllFailed(_) => Class::TRANSIENT,
        }
    }
}

type Outcome = Result<u32, Error>;

struct Fixture {
    time: ManualClock,
    registry: Registry,
}

impl Fixture {
    fn new() -> Self {
        let time = ManualClock::new();
        Self { registry: Registry::with_seed(time.clock(), 7), time }
    }

    /// All stages, all named `x`: two consecutive failures open the circuit.
    fn all(&self) -> Pipeline {
        let breaker = circuit_breaker::Config::default().failure_threshold(2u32).open_for(MS(1000));
        self.registry.circuit_breaker("x").reconfigure(breaker).unwrap();
        let retry = retry::Config::default().base(MS(10)).jitter(Ratio::ZERO).max(3u32);
        self.registry.retry("x").reconfigure(retry).unwrap();
        self.registry.bulkhead("x").reconfigure(bulkhead::Config::default().max_concurrent(1u32)).unwrap();
        let timeout = timeout::Config::default().total(MS(500)).attempt(MS(100));
        self.registry.timeout("x").reconfigure(timeout).unwrap();
        self.registry
            .pipeline("op")
            .circuit_breaker("x")
            .retry("x")
            .bulkhead("x")
            .timeout("x")
            .fallback("x")
            .build()
    }

    fn nothing_is_held(&self) {
        assert_eq!(self.registry.bulkhead("x").stats().in_use, 0, "a bulkhead permit is held");
        assert_eq!(self.time.timers(), 0, "a timer is left");
    }
}

#[test]
fn success_passes_all_stages_and_is_counted_once() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    assert_eq!(pipeline.call(|| Outcome::Ok(1)).unwrap(), 1);
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.succeeded, stats.in_flight), (1, 1, 0));
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.calls, 1);
    fixture.nothing_is_held();
}

#[test]
fn each_attempt_counts_for_the_breaker() {
    // T35
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("op").retry("r").circuit_breaker("b").build();
    let three = retry::Config::default().max(2u32).base(Duration::ZERO);
    fixture.registry.retry("r").reconfigure(three).unwrap();
    assert!(pipeline.call(|| Outcome::Err(Error::Down)).is_err());
    let window = fixture.registry.circuit_breaker("b").stats().window;
    assert_eq!((window.calls, window.failed), (3, 3));
}

#[test]
fn an_open_circuit_does_not_burn_attempts() {
    // T34
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let calls = Cell::new(0);
    let failing = || {
        calls.set(calls.get() + 1);
        Outcome::Err(Error::Down)
    };
    let error = pipeline.call(failing).unwrap_err();
    assert!(matches!(error, Error::Down), "the last real error, not the refusal that would follow: {error}");
    assert_eq!(calls.get(), 2, "the second failure opened the circuit");
    let refused = pipeline.call(failing).unwrap_err();
    let Error::Rejected(rejection) = refused else { panic!("{refused}") };
    assert_eq!(rejection.kind(), RejectionKind::CircuitOpen);
    assert!(rejection.reason().is_some() && rejection.retry_after().is_some());
    assert_eq!(calls.get(), 2);
    assert_eq!(fixture.registry.retry("x").stats().circuit_open, 1);
}

#[test]
fn a_full_bulkhead_is_no_evidence_against_a_healthy_backend() {
    // T21: capacity 1, and ten callers that find it taken
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let bulkhead = fixture.registry.bulkhead("x");
    let held = bulkhead.try_acquire().unwrap();
    for _ in 0..10 {
        let error = pipeline.call(|| -> Outcome { unreachable!("no permit") }).unwrap_err();
        assert!(
            matches!(error, Error::Rejected(ref r) if r.kind() == RejectionKind::BulkheadFull),
            "{error}"
        );
    }
    drop(held);
    let breaker = fixture.registry.circuit_breaker("x");
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.stats().window.calls, 0);
    fixture.nothing_is_held();
}

#[test]
fn a_refused_probe_goes_back() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    assert!(pipeline.call(|| Outcome::Err(Error::Down)).is_err());
    fixture.time.advance(MS(2000));
    let bulkhead = fixture.registry.bulkhead("x");
    let held = bulkhead.try_acquire().unwrap();
    assert!(pipeline.call(|| Outcome::Ok(1)).is_err());
    drop(held);
    fixture.time.advance(MS(2000));
    for _ in 0..3 {
        assert!(pipeline.call(|| Outcome::Ok(1)).is_ok(), "every probe is there");
    }
    assert_eq!(fixture.registry.circuit_breaker("x").state(), State::Closed);
}

#[test]
fn the_slot_is_free_during_the_backoff() {
    // T53
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let bulkhead = fixture.registry.bulkhead("x");
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut call = std::pin::pin!(pipeline.call_async(async || Outcome::Err(Error::Down)));
    assert!(call.as_mut().poll(&mut cx).is_pending(), "in the pause");
    assert_eq!(bulkhead.stats().in_use, 0);
}

#[test]
fn an_ignored_error_is_returned_as_it_is() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let mut calls = 0;
    let work = || {
        calls += 1;
        Outcome::Err(Error::Mistake)
    };
    let error = pipeline.call_judged(Priority::Normal, work, Verdict::by_class).unwrap_err();
    assert!(matches!(error, Error::Mistake));
    assert_eq!(calls, 1);
    assert_eq!(pipeline.stats().ignored, 1);
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.calls, 0);
}

#[test]
fn an_attempt_that_timed_out_is_repeated_only_where_that_is_harmless() {
    // T33
    for (idempotent, attempts) in [(false, 1), (true, 2)] {
        let fixture = Fixture::new();
        fixture.all();
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
fn what_cuts_an_attempt_off_is_the_limit_it_began_with() {
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
fn the_total_time_ends_everything() {
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
fn a_bulkhead_by_hand_queues_no_longer_than_the_call_around_it_may_take() {
    // T66
    let fixture = Fixture::new();
    fixture.all();
    let pipeline = fixture.registry.pipeline("op").timeout("x").build();
    let bulkhead = fixture.registry.bulkhead("inner");
    let queued = bulkhead::Config::default().max_concurrent(1u32).max_queue(1u32).max_wait(MS(9000));
    bulkhead.reconfigure(queued).unwrap();
    let _held = bulkhead.try_acquire().unwrap();
    let outcome = pipeline.call(|| {
        fixture.time.advance(MS(500));
        bulkhead.call(|| Outcome::Ok(1))
    });
    assert!(matches!(outcome, Err(Error::Rejected(ref r)) if r.kind() == RejectionKind::BulkheadFull));
}

#[test]
fn a_call_with_no_time_left_is_refused_before_it_begins() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let clock = fixture.time.clock();
    let passed = clock.now();
    let _scope = crate::scope::Scope::current().with_deadline(passed, &clock).enter();
    let error = pipeline.call(|| -> Outcome { unreachable!("no time") }).unwrap_err();
    assert!(matches!(error, Error::Rejected(ref r) if r.kind() == RejectionKind::QueueTimeout), "{error}");
    assert_eq!(pipeline.stats().timed_out, 1);
    assert_eq!(fixture.registry.timeout("x").stats().queue_timeouts, 1);
    assert_eq!(error.to_string(), "a call of `x` ran out of its time in the queue: nothing was left of it");
}

#[test]
fn a_call_that_waited_too_long_was_not_carried_out_unless_an_attempt_was() {
    // T33
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let bulkhead = fixture.registry.bulkhead("x");
    let queued = bulkhead::Config::default().max_concurrent(1u32).max_queue(4u32).max_wait(MS(5000));
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
        assert_eq!(told == "the call was not carried out", attempts == 0, "{told}");
    }
    drop(held);
    fixture.nothing_is_held();
}

#[test]
fn a_panic_is_a_failure_and_travels_on() {
    // T55, T147
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    for _ in 0..2 {
        let panicked = catch_unwind(AssertUnwindSafe(|| pipeline.call(|| -> Outcome { panic!("body") })));
        assert!(panicked.is_err());
    }
    fixture.nothing_is_held();
    assert_eq!(fixture.registry.circuit_breaker("x").state(), State::Open);
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.panicked, stats.in_flight), (2, 2, 0));
}

#[test]
fn a_judge_that_panics_loses_nothing() {
    // T147
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let judge = |_: &Outcome| -> Verdict { panic!("judge") };
    let panicked =
        catch_unwind(AssertUnwindSafe(|| pipeline.call_judged(Priority::Normal, || Outcome::Ok(1), judge)));
    assert!(panicked.is_err());
    fixture.nothing_is_held();
    assert_eq!(pipeline.stats().panicked, 1);
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.calls, 0);
}

#[test]
fn a_fallback_answers_and_the_call_has_one_outcome() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let chain = || Chain::of(Level::Replica, |_| Err(Error::Down)).or(Level::Default, |_| Outcome::Ok(9));
    assert_eq!(pipeline.call_or(|| Outcome::Err(Error::Down), chain).unwrap(), 9);
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.fell_back, stats.failed), (1, 1, 0));
    let levels = fixture.registry.fallback("x").stats().levels;
    assert_eq!((levels[&Level::Replica].asked, levels[&Level::Default].served), (1, 1));
}

#[test]
fn a_fallback_that_panics_leaves_no_call_without_an_outcome() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let chain = || Chain::of(Level::Default, |_| -> Outcome { panic!("fallback") });
    let panicked = catch_unwind(AssertUnwindSafe(|| pipeline.call_or(|| Outcome::Err(Error::Down), chain)));
    assert!(panicked.is_err());
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.panicked, stats.in_flight), (1, 1, 0));
    fixture.nothing_is_held();
}

#[test]
fn a_suspended_call_dropped_by_the_panic_of_something_else_is_cancelled() {
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
    assert!(matches!(call.finish(permanent), crate::pipeline::Next::Fail));
    drop(call.enter_level(Level::Replica).unwrap());
    call.level_failed(Level::Replica);
    let _asking = call.enter_default();
    drop(call);
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.cancelled, stats.failed), (1, 1, 0));
}

#[tokio::test]
async fn a_call_that_leaves_its_places_behind_is_made_once_and_needs_its_key() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let held = async |outcome: Outcome| {
        pipeline.call_held_async(Priority::Normal, async { outcome }, Verdict::of).await
    };
    let (outcome, places) = held(Err(Error::Down)).await;
    assert!(outcome.is_err());
    assert_eq!((pipeline.stats().failed, fixture.registry.bulkhead("x").stats().in_use), (1, 1), "no retry");
    drop(places);
    fixture.nothing_is_held();
    let keyed = fixture.registry.pipeline("keyed").idempotency("x").build();
    let (outcome, _) = keyed.call_held_async(Priority::Normal, async { Outcome::Ok(1) }, Verdict::of).await;
    let Err(Error::Rejected(rejection)) = outcome else { panic!("it has no key") };
    assert_eq!(rejection.kind(), RejectionKind::InvalidKey);
}

#[test]
fn the_id_of_the_request_is_in_events_and_in_the_words_of_a_refusal() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    fixture.registry.circuit_breaker("x").force_open();
    let mut events = fixture.registry.subscribe();
    let id = crate::correlation::CorrelationId::parse("order-7").unwrap();
    let entered = id.clone().enter();
    let Err(Error::Rejected(rejection)) = pipeline.call(|| Outcome::Ok(1)) else { panic!("it is open") };
    assert!(rejection.to_string().ends_with("[correlation id order-7]"), "{rejection}");
    drop(entered);
    assert!(!rejection.to_string().contains("order-7"), "the words are those of who speaks");
    assert_eq!(events.try_recv().unwrap().correlation_id, Some(id));
    fixture.registry.circuit_breaker("x").reset();
    assert!(std::iter::from_fn(|| events.try_recv()).all(|event| event.correlation_id.is_none()));
}

#[test]
fn a_call_whose_fallback_fails_ends_as_it_failed_and_has_taken_the_time_of_both() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let late = |_: &_| {
        fixture.time.advance(MS(1000));
        Outcome::Err(Error::Down)
    };
    let chain = || Chain::of(Level::Replica, late).or(Level::Default, late);
    let held = fixture.registry.bulkhead("x");
    let held = held.try_acquire().unwrap();
    assert!(pipeline.call_or(|| Outcome::Ok(1), chain).is_err());
    drop(held);
    let stats = pipeline.stats();
    assert_eq!((stats.rejected, stats.failed, stats.cancelled), (1, 0, 0));
    assert!(stats.error_latency.p50 >= MS(2000), "{:?}", stats.error_latency);
    assert_eq!(stats.latency.measured, 0, "a failure says nothing about how long it takes to succeed");
}

/// Polls, moving the clock to each next timer, until the future is ready.
fn run<T>(time: &ManualClock, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..10_000 {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        time.advance(MS(1));
    }
    panic!("still pending after ten seconds")
}

/// Pending `times` times, then ready.
async fn pending(times: u32) {
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[test]
fn dropped_after_any_number_of_polls_a_call_holds_nothing() {
    // T146, T68: for the whole, with an attempt that fails, a pause, and an attempt that succeeds
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

/// The stages of the bits of `which`, all named `x`.
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
fn dropped_after_any_number_of_polls_no_stage_and_no_combination_holds_anything() {
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
                    .call_or_async(work, || AsyncChain::of(Level::Default, |_| std::future::ready(Ok(0)))),
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
fn dropped_in_half_open_a_probe_goes_back() {
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
fn dropped_in_the_queue_a_call_leaves_it() {
    // T146
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let bulkhead = fixture.registry.bulkhead("x");
    let queued = bulkhead::Config::default().max_concurrent(1u32).max_queue(4u32).max_wait(MS(50));
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

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_waits_before_it_asks_again() {
    let registry = Registry::with_seed(crate::clock::Clock::tokio(), 7);
    registry.bulkhead("x").reconfigure(bulkhead::Config::default().max_concurrent(1u32)).unwrap();
    let twice = retry::Config::default().base(MS(10)).jitter(Ratio::ZERO).max(2u32);
    registry.retry("x").reconfigure(twice).unwrap();
    let pipeline = registry.pipeline("op").retry("x").bulkhead("x").build();
    let bulkhead = registry.bulkhead("x");
    let _held = bulkhead.try_acquire().unwrap();
    let start = tokio::time::Instant::now();
    assert!(pipeline.call_async(async || Outcome::Ok(1)).await.is_err());
    assert!((MS(30)..MS(35)).contains(&start.elapsed()), "10 ms and 20 ms: {:?}", start.elapsed());
}

#[test]
fn calls_are_the_sum_of_their_endings_whatever_happens() {
    // T130
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    for number in 0..500u32 {
        fixture.time.advance(MS(u64::from(number % 7) * 100));
        let _ = catch_unwind(AssertUnwindSafe(|| {
            pipeline.call_judged(
                Priority::Normal,
                || match number % 5 {
                    0 => panic!("body"),
                    1 => Err(Error::Down),
                    2 => Err(Error::Mistake),
                    _ => Ok(number),
                },
                Verdict::by_class,
            )
        }));
        if number % 9 == 0 {
            let mut call =
                Box::pin(pipeline.call_async(async || -> Outcome { std::future::pending().await }));
            let _ = call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        }
    }
    let s = pipeline.stats();
    let endings = s.succeeded
        + s.failed
        + s.ignored
        + s.rejected
        + s.timed_out
        + s.fell_back
        + s.cancelled
        + s.panicked;
    assert_eq!((s.calls, s.in_flight), (endings, 0), "{s:?}");
    assert!(s.rejected > 0 && s.panicked > 0 && s.cancelled > 0 && s.ignored > 0 && s.succeeded > 0, "{s:?}");
    fixture.nothing_is_held();
}

#[test]
fn the_order_is_fixed_and_can_be_read() {
    let fixture = Fixture::new();
    let explanation = fixture.all().explain();
    let kinds: Vec<_> = explanation.stages.iter().map(|stage| stage.kind.as_str()).collect();
    assert_eq!(kinds, ["fallback", "timeout", "retry", "circuit_breaker", "bulkhead"]);
    let text = explanation.to_string();
    assert!(text.contains("max_concurrent = 1  (run-time)"), "{text}");
    assert!(text.contains("factor = 2  (default)"), "{text}");
    assert!(fixture.registry.explain("op").is_some());
}

#[test]
fn a_pipeline_is_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    fn sendable<T: Send>(_: &T) {}
    let pipeline = Arc::new(Fixture::new().all());
    shared(&pipeline);
    sendable(&pipeline.call_async(async || Ok::<u32, Rejection>(1)));
}

#[tokio::test]
async fn a_call_that_borrows_can_be_spawned() {
    // T152
    let fixture = Fixture::new();
    let (pipeline, retry) = (Arc::new(fixture.all()), fixture.registry.retry("x"));
    let order = String::from("order");
    let spawned = tokio::spawn(async move {
        let charge = async || {
            tokio::task::yield_now().await;
            u32::try_from(order.len()).map_err(|_| Error::Down)
        };
        let chain = || AsyncChain::of(Level::Default, |_| std::future::ready(Outcome::Ok(0)));
        let charged = pipeline.call_async(charge).await? + pipeline.call_or_async(charge, chain).await?;
        Ok::<_, Error>(charged + retry.call_judged_async(charge, Verdict::by_class).await?)
    });
    assert_eq!(spawned.await.unwrap().unwrap(), 15);
}

/// Calls whose time is not taken, but for one in eight, from here on.
fn past_the_first_samples(pipeline: &Pipeline) {
    (0..1024).for_each(|_| drop(pipeline.call(|| Outcome::Ok(0))));
}

#[test]
fn a_circuit_closes_when_its_probe_ends_whatever_time_is_taken() {
    let fixture = Fixture::new();
    let breaker = fixture.registry.circuit_breaker("b");
    let rules = circuit_breaker::Config::default().window(10u32).failure_rate(Ratio::new(0.9).unwrap());
    breaker.reconfigure(rules.half_open_calls(2u32).open_for(MS(100))).unwrap();
    let retries = retry::Config::default().base(MS(10)).jitter(Ratio::ZERO).max(9u32);
    fixture.registry.retry("r").reconfigure(retries).unwrap();
    let pipeline = fixture.registry.pipeline("op").circuit_breaker("b").retry("r").build();
    past_the_first_samples(&pipeline);
    for _ in 0..8 {
        breaker.reset();
        let failures = (0..10)
            .find(|_| breaker.call(|| Outcome::Err(Error::Down)).is_err() && breaker.state() == State::Open);
        assert!(failures.is_some());
        fixture.time.advance(MS(100));
        let attempts = Cell::new(0);
        let work = || {
            attempts.set(attempts.get() + 1);
            if attempts.get() == 1 {
                return Outcome::Err(Error::Down);
            }
            fixture.time.advance(MS(5000));
            Outcome::Ok(1)
        };
        pipeline.call(work).unwrap();
        let stats = breaker.stats();
        assert_eq!((stats.state, stats.unchanged_for), (State::Closed, Duration::ZERO));
    }
}

#[test]
fn a_panic_in_the_fallback_of_a_call_that_was_cut_off_is_one() {
    // T130
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let panicking = || {
        AsyncChain::of(Level::Default, |_: &_| async {
            if true { panic!("fallback") } else { Outcome::Ok(0) }
        })
    };
    let call = pipeline.call_or_async(async || std::future::pending().await, panicking);
    catch_unwind(AssertUnwindSafe(|| run(&fixture.time, call))).unwrap_err();
    let stats = pipeline.stats();
    assert_eq!((stats.panicked, stats.cancelled), (1, 0), "{stats:?}");
}

#[test]
fn a_call_that_came_too_late_to_begin_is_no_latency() {
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
fn what_a_full_bulkhead_refuses_at_once_is_no_latency() {
    let registry = Registry::new();
    let bulkhead = registry.bulkhead("b");
    bulkhead.reconfigure(bulkhead::Config::default().max_concurrent(1u32)).unwrap();
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

#[test]
fn who_panics_while_a_fallback_is_asked_is_told_apart() {
    // T68, T130
    async fn asked(pipeline: &Pipeline, level: impl Future<Output = ()>) {
        let mut call = crate::pipeline::Call::begin(pipeline);
        assert_eq!(call.finish(Verdict::Failure(Class::Permanent)), crate::pipeline::Next::Fail);
        let asking = call.enter_default();
        call.ask_default(asking, level).await;
    }
    let fixture = Fixture::new();
    let pipeline = fixture.all();
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

#[tokio::test(start_paused = true)]
async fn when_the_total_is_over_nothing_goes_on_behind_it() {
    // T66
    let registry = Registry::with_seed(crate::clock::Clock::tokio(), 7);
    registry.timeout("x").reconfigure(timeout::Config::default().total(MS(100))).unwrap();
    let retry = retry::Config::default().base(MS(5)).jitter(Ratio::ZERO).max(100u32).budget_reserve(1e6);
    registry.retry("x").reconfigure(retry).unwrap();
    registry.hedge("x").reconfigure(crate::hedge::Config::default().after(MS(10))).unwrap();
    let queued = bulkhead::Config::default().max_concurrent(1u32).max_queue(9u32).max_wait(MS(5000));
    registry.bulkhead("x").reconfigure(queued).unwrap();
    let stages = registry.pipeline("op").retry("x").hedge("x").bulkhead("x").timeout("x").idempotent();
    let pipeline = stages.build();
    let attempts = Cell::new(0);
    let mut events = registry.subscribe();
    let start = tokio::time::Instant::now();
    // After two that fail one hangs, and another waits for its slot.
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
