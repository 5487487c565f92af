//! Calls that end with the response body.

use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::hedge;
use crate::pipeline::OpenCall;

fn registry() -> Registry {
    let registry = Registry::with_seed(Clock::tokio(), 7);
    let breaker = circuit_breaker::Config::default().failure_threshold(2).open_for(MS(1000));
    registry.circuit_breaker("x").reconfigure(breaker).unwrap();
    let retry = retry::Config::default().base(MS(10)).jitter(Ratio::ZERO);
    registry.retry("x").reconfigure(retry).unwrap();
    registry.timeout("x").reconfigure(timeout::Config::default().total(MS(500)).read(MS(50))).unwrap();
    registry
}

fn pipeline(registry: &Registry) -> Arc<Pipeline> {
    let stages = registry.pipeline("op").retry("x").circuit_breaker("x").bulkhead("x").timeout("x");
    Arc::new(stages.load_shed("x").build())
}

async fn head(pipeline: &Arc<Pipeline>, outcome: impl Fn() -> Outcome) -> (Outcome, OpenCall) {
    pipeline.open_request().judge(Verdict::by_class).call_open_async(async || outcome()).await
}

/// Polls a part that arrives after this number of milliseconds, or never.
async fn part(call: &mut OpenCall, after: Option<u64>) -> Option<Result<u32, Rejection>> {
    let mut work = Box::pin(async move {
        match after {
            Some(millis) => tokio::time::sleep(MS(millis)).await,
            None => std::future::pending().await,
        }
        Some(7)
    });
    poll_fn(|cx| call.poll_part(cx, |cx| work.as_mut().poll(cx))).await
}

fn held(registry: &Registry) -> (u32, u64) {
    let in_flight = u64::from(registry.load_shedder("x").stats().in_flight);
    (registry.bulkhead("x").stats().in_use, in_flight)
}

/// Returns the counts of succeeded, failed, ignored, timed out and cancelled calls, and the window of the circuit breaker.
fn counts(registry: &Registry, pipeline: &Pipeline) -> ([u64; 5], [u64; 2]) {
    let stats = pipeline.stats();
    let endings = [stats.succeeded, stats.failed, stats.ignored, stats.timed_out, stats.cancelled];
    assert_eq!(stats.calls, stats.in_flight + endings.iter().sum::<u64>(), "one outcome for each (T130)");
    let window = registry.circuit_breaker("x").stats().window;
    (endings, [window.calls, window.failed])
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_once_with_its_body() {
    let registry = registry();
    let pipeline = pipeline(&registry);
    let (outcome, mut call) = head(&pipeline, || Ok(1)).await;
    assert_eq!((outcome.unwrap(), held(&registry), pipeline.stats().in_flight), (1, (1, 1), 1));
    assert_eq!(part(&mut call, Some(40)).await, Some(Ok(7)));
    call.end(Verdict::Success);
    call.end(Verdict::Failure(Class::UNCERTAIN));
    drop(call);
    assert_eq!(held(&registry), (0, 0));
    assert_eq!(counts(&registry, &pipeline), ([1, 0, 0, 0, 0], [1, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_a_failure_that_is_not_retried() {
    let registry = registry();
    let pipeline = pipeline(&registry);
    for _ in 0..2 {
        let (_, mut call) = head(&pipeline, || Ok(1)).await;
        part(&mut call, Some(40)).await.unwrap().unwrap();
        call.end(Verdict::Failure(Class::TRANSIENT));
    }
    assert_eq!(counts(&registry, &pipeline), ([0, 2, 0, 0, 0], [2, 2]));
    assert_eq!((registry.retry("x").stats().retries, held(&registry)), (0, (0, 0)));
    let refused = head(&pipeline, || Ok(1)).await.0.unwrap_err();
    assert!(matches!(refused, Error::Rejected(ref r) if r.kind() == RejectionKind::CircuitOpen), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_is_limited_by_the_read_timeout_and_the_total_timeout() {
    let registry = registry();
    let pipeline = pipeline(&registry);
    let (_, mut call) = head(&pipeline, || Ok(1)).await;
    // The limit applies to each part.
    for _ in 0..4 {
        assert_eq!(part(&mut call, Some(40)).await, Some(Ok(7)));
    }
    let stalled = part(&mut call, None).await.unwrap().unwrap_err();
    assert_eq!(stalled.kind(), RejectionKind::ReadTimeout);
    assert_eq!(counts(&registry, &pipeline), ([0, 0, 0, 1, 0], [1, 1]));
    assert_eq!(held(&registry), (0, 0));
    // Parts that arrive one by one do not extend the deadline.
    let (_, mut call) = head(&pipeline, || Ok(1)).await;
    let started = registry.clock().now();
    let late = loop {
        if let Err(late) = part(&mut call, Some(30)).await.unwrap() {
            break late;
        }
    };
    assert_eq!(late.kind(), RejectionKind::TotalTimeout);
    assert!(registry.clock().now().since(started) < MS(510));
    assert_eq!(counts(&registry, &pipeline), ([0, 0, 0, 2, 0], [2, 2]));
    let stats = registry.timeout("x").stats();
    assert_eq!((stats.read_timeouts, stats.total_timeouts), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_a_failure_of_the_dependency() {
    let registry = registry();
    let pipeline = pipeline(&registry);
    let (_, mut call) = head(&pipeline, || Ok(1)).await;
    let ready = |call: &mut OpenCall| {
        call.poll_part(&mut std::task::Context::from_waker(std::task::Waker::noop()), |_| {
            Poll::Ready(Some(1))
        })
    };
    assert_eq!(ready(&mut call), Poll::Ready(Some(Ok(1))));
    // Longer than the read limit, but no part was polled during this time.
    tokio::time::sleep(MS(200)).await;
    assert_eq!(ready(&mut call), Poll::Ready(Some(Ok(1))));
    tokio::time::sleep(MS(400)).await;
    let Poll::Ready(Some(Err(late))) = ready(&mut call) else { panic!("the deadline is over") };
    assert_eq!(late.kind(), RejectionKind::TotalTimeout);
    assert_eq!(counts(&registry, &pipeline), ([0, 0, 0, 1, 0], [0, 0]));
    // The time of the reader is not part of the recorded duration.
    let (_, mut call) = head(&pipeline, || Ok(1)).await;
    ready(&mut call).is_ready().then_some(()).unwrap();
    tokio::time::sleep(MS(300)).await;
    call.end(Verdict::Success);
    assert!(pipeline.stats().latency.p999 < MS(100), "{:?}", pipeline.stats().latency);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_body_is_cancelled_and_an_unread_one_counts_as_its_outcome() {
    // T68
    let registry = registry();
    let pipeline = pipeline(&registry);
    let (_, mut call) = head(&pipeline, || Ok(1)).await;
    assert!(part(&mut call, Some(1)).await.is_some());
    drop(call);
    assert_eq!(counts(&registry, &pipeline), ([0, 0, 0, 0, 1], [0, 0]));
    let (_, call) = head(&pipeline, || Ok(1)).await;
    drop(call);
    let (_, call) = head(&pipeline, || Err(Error::Mistake)).await;
    drop(call);
    assert_eq!(counts(&registry, &pipeline), ([1, 0, 1, 0, 1], [1, 0]));
    assert_eq!(held(&registry), (0, 0));
    // A panic of the reader is not a panic of the call.
    let (_, mut call) = head(&pipeline, || Ok(1)).await;
    assert!(part(&mut call, Some(1)).await.is_some());
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _call = call;
        panic!("of the reader")
    }));
    assert!(panicked.is_err());
    assert_eq!(counts(&registry, &pipeline).0, [1, 0, 1, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_outcome_ends_the_call_and_its_body_is_still_limited_in_time() {
    let registry = registry();
    registry.retry("x").reconfigure(retry::Config::default().max(0)).unwrap();
    let pipeline = pipeline(&registry);
    let (outcome, mut call) = head(&pipeline, || Err(Error::Down)).await;
    assert!(outcome.is_err());
    assert_eq!((counts(&registry, &pipeline), held(&registry)), (([0, 1, 0, 0, 0], [1, 1]), (0, 0)));
    let stalled = part(&mut call, None).await.unwrap().unwrap_err();
    assert_eq!(stalled.kind(), RejectionKind::ReadTimeout);
    assert_eq!(counts(&registry, &pipeline), ([0, 1, 0, 0, 0], [1, 1]), "the failure is counted once");
}

#[tokio::test(start_paused = true)]
async fn an_outer_deadline_limits_the_body_too() {
    // T70
    let registry = registry();
    let pipeline = Arc::new(registry.pipeline("op").circuit_breaker("x").build());
    let soon = Deadline::after_on(registry.clock(), MS(100));
    let (_, mut call) = soon.scope_async(head(&pipeline, || Ok(1))).await;
    // The outer call has ended, but the body continues.
    assert_eq!(part(&mut call, Some(60)).await, Some(Ok(7)));
    let late = part(&mut call, None).await.unwrap().unwrap_err();
    assert_eq!(late.kind(), RejectionKind::TotalTimeout);
    assert_eq!(pipeline.stats().timed_out, 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_the_circuit_lasts_until_the_end_of_its_body() {
    let registry = registry();
    let pipeline = pipeline(&registry);
    let breaker = registry.circuit_breaker("x");
    for _ in 0..2 {
        let (_, mut call) = head(&pipeline, || Ok(1)).await;
        call.end(Verdict::Failure(Class::UNCERTAIN));
    }
    assert_eq!(breaker.state(), State::Open);
    tokio::time::sleep(MS(2000)).await;
    let (_, mut broken) = head(&pipeline, || Ok(1)).await;
    assert_eq!(breaker.state(), State::HalfOpen, "the response head is not a result yet");
    assert!(part(&mut broken, Some(1)).await.is_some());
    drop(broken);
    assert_eq!(breaker.state(), State::HalfOpen, "the probe was returned (T4)");
    for _ in 0..3 {
        let (_, mut call) = head(&pipeline, || Ok(1)).await;
        call.end(Verdict::Success);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_winning_attempt_passes_its_permit_and_ticket_to_the_call() {
    let registry = registry();
    registry.hedge("x").reconfigure(hedge::Config::default().after(MS(20))).unwrap();
    let stages = registry.pipeline("op").hedge("x").circuit_breaker("x").bulkhead("x").timeout("x");
    let pipeline = Arc::new(stages.idempotent().build());
    for is_good in [true, false] {
        let sent = Cell::new(0);
        let work = async || {
            sent.set(sent.get() + 1);
            // The second attempt is faster.
            tokio::time::sleep(MS(if sent.get() == 1 { 400 } else { 10 })).await;
            Outcome::Ok(2)
        };
        let (outcome, mut call) =
            pipeline.open_request().judge(Verdict::by_class).call_open_async(work).await;
        assert_eq!((outcome.unwrap(), sent.get()), (2, 2));
        assert_eq!(registry.bulkhead("x").stats().in_use, 1, "the losing attempt has released its permit");
        assert!(part(&mut call, Some(1)).await.is_some());
        call.end(if is_good { Verdict::Success } else { Verdict::Failure(Class::UNCERTAIN) });
        assert_eq!(registry.bulkhead("x").stats().in_use, 0);
    }
    assert_eq!(counts(&registry, &pipeline), ([1, 1, 0, 0, 0], [2, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_call_with_an_open_body_keeps_the_pipeline_with_which_it_began() {
    // T124
    let registry = registry();
    let pipeline = pipeline(&registry);
    for is_on in [true, false] {
        registry.set_enabled(is_on);
        let (_, mut call) = head(&pipeline, || Ok(1)).await;
        registry.set_enabled(!is_on);
        assert!(part(&mut call, Some(1)).await.is_some());
        call.end(Verdict::Success);
    }
    assert_eq!((counts(&registry, &pipeline).0, held(&registry)), ([2, 0, 0, 0, 0], (0, 0)));
}
