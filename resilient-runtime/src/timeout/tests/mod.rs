mod adaptive;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::registry::Registry;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Waker};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn fixture(config: Config) -> (ManualClock, Arc<Timeout>) {
    let time = ManualClock::new();
    let timeout = Registry::with_clock(time.clock()).timeout("t");
    timeout.reconfigure(config).unwrap();
    (time, timeout)
}

type Outcome = Result<u32, Rejection>;

/// Sets its flag when dropped.
struct Guard<'a>(&'a AtomicBool);
impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_work_is_dropped_before_the_error_is_returned() {
    // T64
    let (time, timeout) = fixture(Config::default().total(MS(10)));
    let dropped = AtomicBool::new(false);
    let call = timeout.call_async(async || -> Outcome {
        let _guard = Guard(&dropped);
        std::future::pending().await
    });
    let mut call = std::pin::pin!(call);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    time.advance(MS(9));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert!(!dropped.load(Ordering::SeqCst));
    time.advance(MS(1));
    let Poll::Ready(outcome) = call.as_mut().poll(&mut cx) else { panic!("the total timeout has passed") };
    assert_eq!(outcome.unwrap_err().kind(), RejectionKind::TotalTimeout);
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(timeout.stats().total_timeouts, 1);
}

#[test]
fn work_that_is_ready_together_with_its_timer_wins() {
    // T65
    let (time, timeout) = fixture(Config::default().total(MS(10)));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let mut receiver = Some(receiver);
    let call = timeout.call_async(async || -> Outcome { Ok(receiver.take().unwrap().await.unwrap()) });
    let mut call = std::pin::pin!(call);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    sender.send(7).unwrap();
    time.advance(Duration::from_hours(1));
    assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(7)));
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_inherits_the_earlier_deadline() {
    // T66
    let registry = Registry::with_clock(Clock::tokio());
    let (outer, inner) = (registry.timeout("outer"), registry.timeout("inner"));
    outer.reconfigure(Config::default().total(MS(50))).unwrap();
    inner.reconfigure(Config::default().total(Duration::from_mins(1))).unwrap();
    let start = tokio::time::Instant::now();
    let outcome: Outcome = outer
        .call_async(async || inner.call_async(async || -> Outcome { std::future::pending().await }).await)
        .await;
    assert!(outcome.unwrap_err().is_timeout());
    assert!((MS(50)..MS(55)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn work_that_is_ready_immediately_needs_no_timer_and_no_runtime() {
    // T149
    let timeout = Registry::new().timeout("t");
    timeout.reconfigure(Config::default().total(MS(10))).unwrap();
    let mut call = std::pin::pin!(timeout.call_async(async || -> Outcome { Ok(1) }));
    let poll = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(poll, Poll::Ready(Ok(1)));
}

#[test]
fn without_a_timer_the_call_is_rejected() {
    // T149
    let timeout = Registry::new().timeout("t");
    timeout.reconfigure(Config::default().total(MS(10))).unwrap();
    let mut call = std::pin::pin!(timeout.call_async(async || -> Outcome { std::future::pending().await }));
    let Poll::Ready(Err(rejection)) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("no timer is available")
    };
    assert_eq!(rejection.kind(), RejectionKind::NoTimer);
    assert!(rejection.to_string().contains("enable_time"), "{rejection}");
    let whether = std::error::Error::source(&rejection).unwrap().to_string();
    assert_eq!(whether, "the call may have been executed", "the call had begun");
}

#[test]
fn a_runtime_without_time_is_detected() {
    // T149
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let timeout = Registry::new().timeout("t");
    timeout.reconfigure(Config::default().total(MS(10))).unwrap();
    let outcome: Outcome = runtime.block_on(timeout.call_async(async || std::future::pending().await));
    assert_eq!(outcome.unwrap_err().kind(), RejectionKind::NoTimer);
}

#[tokio::test]
async fn calls_that_end_early_leave_no_timer() {
    // T69
    let (time, timeout) = fixture(Config::default().total(MS(10)));
    for _ in 0..10_000 {
        let outcome: Outcome = timeout
            .call_async(async || {
                tokio::task::yield_now().await;
                Ok(1)
            })
            .await;
        assert!(outcome.is_ok());
    }
    assert_eq!(time.timers(), 0);
}

#[test]
fn contradictory_settings_are_rejected() {
    let (_, timeout) = fixture(Config::default());
    let error = timeout.reconfigure(Config::default().total(MS(10)).attempt(MS(20))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`attempt` = 20ms is invalid: must be at most total = 10ms, because a longer timeout can never expire"
    );
    let error = timeout.reconfigure(Config::default().total(Duration::ZERO)).unwrap_err();
    assert_eq!(error.problems().len(), 1);
    assert!(timeout.reconfigure(Config::default().total(Duration::MAX)).is_err());
}

#[test]
fn a_timeout_without_a_limit_keeps_a_deadline_of_another_clock() {
    let (_, outer) = fixture(Config::default().total(MS(50)));
    let (_, middle) = fixture(Config::default());
    let seen = || Scope::current().deadline_on(outer.core.clock());
    let call = outer.call_async(async || {
        let before = seen();
        middle.call_async(async || Outcome::Ok(u32::from(before == seen()))).await
    });
    let mut call = std::pin::pin!(call);
    assert_eq!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(1)));
}

#[test]
fn a_waker_can_move_the_clock_when_dropped() {
    struct Moves(ManualClock);
    impl std::task::Wake for Moves {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Moves {
        fn drop(&mut self) {
            self.0.advance(MS(1));
        }
    }
    let (time, timeout) = fixture(Config::default().total(MS(10)));
    let before = time.clock().now();
    let mut call = Box::pin(timeout.call_async(async || -> Outcome { std::future::pending().await }));
    let waker = Waker::from(Arc::new(Moves(time.clone())));
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    drop(call);
    assert_eq!(time.clock().now().since(before), MS(1));
}
