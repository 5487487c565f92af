//! How the stages affect each other.

mod adaptive;
mod bounds;
mod cancel;
mod causes;
#[cfg(feature = "chaos")]
mod chaos;
mod fallbacks;
mod hedge;
mod honour;
mod limits;
mod once;
mod open;
mod patience;
mod share;
mod shed;
mod spans;
mod steps;
mod switch;
mod time;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::circuit_breaker::State;
use crate::clock::ManualClock;
use crate::fallback::{AsyncChain, Chain};
use crate::level::Level;
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
        let breaker = circuit_breaker::Config::default().failure_threshold(2).open_for(MS(1000));
        self.registry.circuit_breaker("x").reconfigure(breaker).unwrap();
        let retry = retry::Config::default().base(MS(10)).jitter(Ratio::ZERO).max(3);
        self.registry.retry("x").reconfigure(retry).unwrap();
        self.registry.bulkhead("x").reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
        self.registry.timeout("x").reconfigure(timeout::Config::default().total(MS(500))).unwrap();
        self.registry.pipeline("op").circuit_breaker("x").retry("x").bulkhead("x").timeout("x").build()
    }

    /// Sets an attempt timeout of 100 ms for the timeout `x`.
    fn limit_attempts(&self) {
        let timeout = timeout::Config::default().total(MS(500)).attempt(MS(100));
        self.registry.timeout("x").reconfigure(timeout).unwrap();
    }

    /// The same stages with a fallback.
    fn all_or(&self) -> Pipeline {
        self.all();
        let stages = self.registry.pipeline("op").circuit_breaker("x").retry("x").bulkhead("x");
        stages.timeout("x").fallback("x").build()
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
fn the_circuit_breaker_counts_each_attempt() {
    // T35
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("op").retry("r").circuit_breaker("b").build();
    let three = retry::Config::default().max(2).base(Duration::ZERO);
    fixture.registry.retry("r").reconfigure(three).unwrap();
    assert!(pipeline.call(|| Outcome::Err(Error::Down)).is_err());
    let window = fixture.registry.circuit_breaker("b").stats().window;
    assert_eq!((window.calls, window.failed), (3, 3));
}

#[test]
fn an_open_circuit_uses_no_attempts() {
    // T34
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let calls = Cell::new(0);
    let failing = || {
        calls.set(calls.get() + 1);
        Outcome::Err(Error::Down)
    };
    let error = pipeline.call(failing).unwrap_err();
    assert!(
        matches!(error, Error::Down),
        "the last real error, not the rejection that would follow: {error}"
    );
    assert_eq!(calls.get(), 2, "the second failure opened the circuit");
    let refused = pipeline.call(failing).unwrap_err();
    let Error::Rejected(rejection) = refused else { panic!("{refused}") };
    assert_eq!(rejection.kind(), RejectionKind::CircuitOpen);
    assert!(rejection.reason().is_some() && rejection.retry_after().is_some());
    assert_eq!(calls.get(), 2);
    assert_eq!(fixture.registry.retry("x").stats().circuit_open, 1);
}

#[test]
fn the_circuit_breaker_does_not_count_a_full_bulkhead() {
    // T21: capacity 1, and ten calls that find no permit
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
fn a_rejected_probe_is_returned() {
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
        assert!(pipeline.call(|| Outcome::Ok(1)).is_ok(), "every probe is available");
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
fn an_ignored_error_is_returned_unchanged() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let mut calls = 0;
    let work = || {
        calls += 1;
        Outcome::Err(Error::Mistake)
    };
    let error = pipeline.request().judge(Verdict::by_class).call(work).unwrap_err();
    assert!(matches!(error, Error::Mistake));
    assert_eq!(calls, 1);
    assert_eq!(pipeline.stats().ignored, 1);
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.calls, 0);
}

#[test]
fn a_panic_is_a_failure_and_propagates() {
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
fn a_judge_that_panics_leaks_nothing() {
    // T147
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let judge = |_: &Outcome| -> Verdict { panic!("judge") };
    let panicked = catch_unwind(AssertUnwindSafe(|| pipeline.request().judge(judge).call(|| Outcome::Ok(1))));
    assert!(panicked.is_err());
    fixture.nothing_is_held();
    assert_eq!(pipeline.stats().panicked, 1);
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.calls, 0);
}

#[tokio::test]
async fn a_call_with_held_permits_runs_once_and_needs_its_key() {
    let fixture = Fixture::new();
    fixture.all();
    let pipeline = fixture.registry.pipeline("op").bulkhead("x").timeout("x").build();
    let held = async |outcome: Outcome| {
        pipeline.request().judge(Verdict::of).call_held_async(async { outcome }).await
    };
    let (outcome, places) = held(Err(Error::Down)).await;
    assert!(outcome.is_err());
    assert_eq!((pipeline.stats().failed, fixture.registry.bulkhead("x").stats().in_use), (1, 1));
    drop(places);
    fixture.nothing_is_held();
    let keyed = fixture.registry.pipeline("keyed").idempotency("x").build();
    let (outcome, _) = keyed.request().judge(Verdict::of).call_held_async(async { Outcome::Ok(1) }).await;
    let Err(Error::Rejected(rejection)) = outcome else { panic!("it has no key") };
    assert_eq!(rejection.kind(), RejectionKind::InvalidKey);
}

#[test]
fn the_correlation_id_is_in_events_and_rejections() {
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    fixture.registry.circuit_breaker("x").force_open();
    let mut events = fixture.registry.subscribe();
    let id = crate::correlation::CorrelationId::parse("order-7").unwrap();
    let entered = id.clone().enter();
    let Err(Error::Rejected(rejection)) = pipeline.call(|| Outcome::Ok(1)) else { panic!("it is open") };
    assert!(rejection.to_string().ends_with("[correlation id order-7]"), "{rejection}");
    drop(entered);
    assert!(!rejection.to_string().contains("order-7"), "the text contains the current id only");
    assert_eq!(events.try_recv().unwrap().correlation_id, Some(id));
    fixture.registry.circuit_breaker("x").reset();
    assert!(std::iter::from_fn(|| events.try_recv()).all(|event| event.correlation_id.is_none()));
}

/// Polls and advances the clock to the next timer, until the future is ready.
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

#[tokio::test(start_paused = true)]
async fn a_rejected_attempt_waits_before_it_requests_admission_again() {
    let registry = Registry::with_seed(crate::clock::Clock::tokio(), 7);
    registry.bulkhead("x").reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let twice = retry::Config::default().base(MS(10)).jitter(Ratio::ZERO).max(2);
    registry.retry("x").reconfigure(twice).unwrap();
    let pipeline = registry.pipeline("op").retry("x").bulkhead("x").build();
    let bulkhead = registry.bulkhead("x");
    let _held = bulkhead.try_acquire().unwrap();
    let start = tokio::time::Instant::now();
    // Without a hint the call does not wait, unless the predicate requests a retry.
    assert!(pipeline.call_async(async || Outcome::Ok(1)).await.is_err());
    assert_eq!(start.elapsed(), Duration::ZERO);
    let insists = |outcome: &Outcome| crate::Judgement::of(outcome).retry_when(true);
    assert!(pipeline.request().judge(insists).call_async(async || Outcome::Ok(1)).await.is_err());
    assert!((MS(30)..MS(35)).contains(&start.elapsed()), "10 ms and 20 ms: {:?}", start.elapsed());
}

#[test]
fn the_outcomes_add_up_to_the_number_of_calls() {
    // T130
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    for number in 0..500u32 {
        fixture.time.advance(MS(u64::from(number % 7) * 100));
        let _ = catch_unwind(AssertUnwindSafe(|| {
            pipeline.request().judge(Verdict::by_class).call(|| match number % 5 {
                0 => panic!("body"),
                1 => Err(Error::Down),
                2 => Err(Error::Mistake),
                _ => Ok(number),
            })
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
fn explain_lists_the_stages_in_their_fixed_order() {
    let fixture = Fixture::new();
    let explanation = fixture.all_or().explain();
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
        let charged = pipeline.call_async(charge).await?
            + pipeline.request().fallback(chain).call_async(charge).await?;
        Ok::<_, Error>(charged + retry.call_judged_async(charge, Verdict::by_class).await?)
    });
    assert_eq!(spawned.await.unwrap().unwrap(), 15);
}

/// Makes calls until only one in eight is timed.
fn past_the_first_samples(pipeline: &Pipeline) {
    (0..1024).for_each(|_| drop(pipeline.call(|| Outcome::Ok(0))));
}

#[test]
fn a_circuit_closes_when_its_probe_ends_even_if_calls_are_not_timed() {
    let fixture = Fixture::new();
    let breaker = fixture.registry.circuit_breaker("b");
    let rules = circuit_breaker::Config::default().window(10).failure_rate(Ratio::new(0.9).unwrap());
    breaker.reconfigure(rules.half_open_calls(2).open_for(MS(100))).unwrap();
    let retries = retry::Config::default().base(MS(10)).jitter(Ratio::ZERO).max(9);
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
fn explain_lists_each_rejection_that_a_stage_can_return() {
    use RejectionKind::*;
    let registry = Registry::new();
    let explained = |build: fn(crate::registry::PipelineBuilder) -> crate::registry::PipelineBuilder| {
        let explained = build(registry.pipeline("op")).build().explain();
        let is_refusal = |name: &&str| RejectionKind::ALL.iter().any(|kind| kind.as_str() == *name);
        explained.outcomes.iter().map(|outcome| outcome.outcome).filter(is_refusal).collect::<Vec<_>>()
    };
    let names = |kinds: &[RejectionKind]| {
        let given = |kind: &&RejectionKind| kinds.contains(kind) || **kind == Unsupported;
        RejectionKind::ALL.iter().filter(given).map(|kind| kind.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(explained(|it| it.retry("x")), names(&[]));
    assert_eq!(explained(|it| it.circuit_breaker("x")), names(&[CircuitOpen]));
    assert_eq!(
        explained(|it| it.rate_limit("x")),
        names(&[RateLimited, WeightExceedsLimit, QueueTimeout, NoTimer, StoreUnavailable])
    );
    assert_eq!(explained(|it| it.bulkhead("x")), names(&[BulkheadFull, QueueTimeout, NoTimer]));
    assert_eq!(
        explained(|it| it.timeout("x")),
        names(&[TotalTimeout, AttemptTimeout, ConnectTimeout, ReadTimeout, QueueTimeout, NoTimer])
    );
    assert_eq!(explained(|it| it.load_shed("x")), names(&[Shed]));
    assert_eq!(explained(|it| it.coalesce("x")), names(&[InvalidKey, QueueTimeout, NoTimer]));
    assert_eq!(explained(|it| it.fallback("x")), names(&[FallbackFailed]));
    let keyed =
        [InProgress, KeyReused, OutcomeUnknown, InvalidKey, StoredValueMismatch, StoreUnavailable, NoStore];
    assert_eq!(explained(|it| it.idempotency("x")), names(&keyed));
    let all = |it: crate::registry::PipelineBuilder| {
        let it = it.retry("x").circuit_breaker("x").rate_limit("x").bulkhead("x").timeout("x").load_shed("x");
        it.coalesce("x").fallback("x").idempotency("x")
    };
    // A fault is not a stage of the pipeline.
    let of_stages: Vec<_> = RejectionKind::ALL.iter().copied().filter(|kind| *kind != Injected).collect();
    assert_eq!(explained(all), names(&of_stages));
}
