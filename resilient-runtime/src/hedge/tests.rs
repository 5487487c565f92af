use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::*;
use crate::Verdict;
use crate::classify::Class;
use crate::registry::Registry;

const MS: Duration = Duration::from_millis(1);

fn hedge(config: Config) -> Arc<Hedge> {
    let hedge = Registry::with_clock(Clock::tokio()).hedge("h");
    hedge.reconfigure(config).unwrap();
    hedge
}

fn after(millis: u32) -> Config {
    Config::default().after(MS * millis)
}

/// Runs a call. `script` holds the duration in ms and the result of each attempt.
async fn run(hedge: &Hedge, script: &[(u32, Result<u32, u32>)]) -> (Result<u32, u32>, Duration, usize) {
    let sent = Cell::new(0);
    let began = Instant::now();
    let outcome = hedge
        .call_async(|| {
            let (takes, outcome) = script[sent.get()];
            sent.set(sent.get() + 1);
            async move {
                sleep(MS * takes).await;
                outcome
            }
        })
        .await;
    (outcome, began.elapsed(), sent.get())
}

#[tokio::test(start_paused = true)]
async fn a_fast_attempt_is_not_hedged() {
    let hedge = hedge(after(50));
    let (outcome, took, sent) = run(&hedge, &[(49, Ok(1))]).await;
    assert_eq!((outcome, sent), (Ok(1), 1));
    assert!(took < MS * 51, "{took:?}");
    assert_eq!(hedge.stats().sent, 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_success_is_returned() {
    let hedge = hedge(after(50));
    let (outcome, took, _) = run(&hedge, &[(900, Ok(1)), (10, Ok(2))]).await;
    assert_eq!(outcome, Ok(2));
    assert!((MS * 60..MS * 65).contains(&took), "{took:?}");
    assert_eq!((hedge.stats().sent, hedge.stats().won), (1, 1));
    let (outcome, ..) = run(&hedge, &[(60, Ok(1)), (100, Ok(2))]).await;
    assert_eq!(outcome, Ok(1), "the first attempt can still win");
    assert_eq!((hedge.stats().sent, hedge.stats().won), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_does_not_end_the_call() {
    // T76
    let (outcome, took, _) = run(&hedge(after(50)), &[(200, Ok(1)), (1, Err(2))]).await;
    assert_eq!(outcome, Ok(1));
    assert!(took >= MS * 200);
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_attempt_sends_the_next_immediately() {
    // T77
    let (outcome, took, sent) = run(&hedge(after(5000)), &[(10, Err(1)), (10, Ok(2))]).await;
    assert_eq!((outcome, sent), (Ok(2), 2));
    assert!(took < MS * 25, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn if_all_attempts_fail_the_last_failure_is_returned() {
    let (outcome, _, sent) = run(&hedge(after(50).max(2)), &[(10, Err(1)), (30, Err(2)), (20, Err(3))]).await;
    assert_eq!((outcome, sent), (Err(3), 3));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_sends_no_further_attempt() {
    let (hedge, sent) = (hedge(after(50)), Cell::new(0));
    let work = || {
        sent.set(sent.get() + 1);
        async { Err::<(), _>("no such account") }
    };
    let judge = |_: &Result<(), &str>| Verdict::Failure(Class::Permanent);
    assert!(hedge.call_judged_async(work, judge).await.is_err());
    assert_eq!(sent.get(), 1);
}

struct Guard(Rc<RefCell<Vec<&'static str>>>, &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[tokio::test(start_paused = true)]
async fn losing_attempts_are_dropped_before_the_result_is_returned() {
    // T78
    let (hedge, dropped, sent) = (hedge(after(50)), Rc::<RefCell<Vec<_>>>::default(), Cell::new(0));
    let outcome: Result<u32, ()> = hedge
        .call_async(|| {
            sent.set(sent.get() + 1);
            let is_first = sent.get() == 1;
            let guard = Guard(Rc::clone(&dropped), if is_first { "first" } else { "second" });
            async move {
                let _guard = guard;
                sleep(if is_first { Duration::MAX } else { MS }).await;
                Ok(7)
            }
        })
        .await;
    assert_eq!(outcome, Ok(7));
    assert_eq!(*dropped.borrow(), ["second", "first"]);
}

#[tokio::test(start_paused = true)]
async fn if_every_attempt_is_slow_the_budget_limits_further_attempts() {
    // T81
    let hedge = hedge(after(1).budget_reserve(0.0));
    for _ in 0..1000 {
        run(&hedge, &[(2, Ok(1)), (2, Ok(1))]).await.0.unwrap();
    }
    let stats = hedge.stats();
    // 10 %, plus the reserve that the budget had when it was created.
    assert!((100..=130).contains(&stats.sent), "{stats:?}");
    assert_eq!(stats.sent + stats.denied_by_budget, 1000);
}

#[tokio::test(start_paused = true)]
async fn the_delay_follows_the_percentile_of_the_attempts() {
    let hedge = hedge(Config::default().percentile(90.0));
    let script = |turn: u32| {
        if turn.is_multiple_of(20) { [(500, Ok(1)), (10, Ok(2))] } else { [(20, Ok(1)), (20, Ok(2))] }
    };
    for turn in 1..=99 {
        run(&hedge, &script(turn)).await.0.unwrap();
        assert_eq!(hedge.stats().sent, 0, "too few attempts are recorded");
    }
    for turn in 0..200 {
        run(&hedge, &script(turn)).await.0.unwrap();
    }
    let stats = hedge.stats();
    let delay = stats.delay.unwrap();
    assert!((MS * 19..=MS * 23).contains(&delay), "{delay:?}");
    assert!((5..=11).contains(&stats.won), "{stats:?}");
    // T117: the learned delay is kept.
    hedge.reconfigure(Config::default().percentile(90.0).max(2)).unwrap();
    assert_eq!(hedge.stats().delay, Some(delay));
}

#[tokio::test(start_paused = true)]
async fn cancelled_attempts_are_recorded_with_the_time_they_ran() {
    // In an outage most calls are cancelled. The delay must not follow only the few that succeed.
    let hedge = hedge(Config::default().percentile(90.0));
    for turn in 0..140 {
        if turn % 7 == 0 {
            run(&hedge, &[(5, Ok(1)), (5, Ok(1))]).await.0.unwrap();
        }
        let call = run(&hedge, &[(60_000, Ok(1)), (60_000, Ok(1))]);
        assert!(tokio::time::timeout(MS * 400, call).await.is_err());
    }
    let stats = hedge.stats();
    let delay = stats.delay.unwrap();
    assert!((MS * 380..=MS * 420).contains(&delay), "{delay:?}");
    assert_eq!(stats.attempts.measured, 140 + 20 + stats.sent, "each attempt once");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_call_at_any_time_drops_all_attempts() {
    // T146
    for millis in [0, 1, 49, 51, 60, 149] {
        let (hedge, running) = (hedge(after(50).max(3)), Rc::new(()));
        let call = hedge.call_async(|| {
            let running = Rc::clone(&running);
            async move {
                sleep(MS * 1000).await;
                drop(running);
                Ok::<(), ()>(())
            }
        });
        assert!(tokio::time::timeout(MS * millis, call).await.is_err());
        assert_eq!(Rc::strong_count(&running), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_attempt_reaches_the_caller_and_drops_all_attempts() {
    // T83
    let (hedge, running, sent) = (hedge(after(5)), Rc::new(()), Cell::new(0));
    let work = || {
        sent.set(sent.get() + 1);
        let (running, is_first) = (Rc::clone(&running), sent.get() == 1);
        async move {
            sleep(MS * 10).await;
            drop(running);
            if is_first { std::panic::resume_unwind(Box::new("on purpose")) } else { Ok::<(), ()>(()) }
        }
    };
    let local = tokio::task::LocalSet::new();
    let call = futures_catch(hedge.call_async(work));
    assert!(local.run_until(call).await.is_err());
    assert_eq!(Rc::strong_count(&running), 1);
}

/// Returns a panic of the future as an error.
async fn futures_catch<F: Future>(future: F) -> std::thread::Result<F::Output> {
    let mut future = Box::pin(future);
    let caught = std::future::poll_fn(|cx| {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    })
    .await;
    drop(future);
    caught
}

#[test]
fn without_a_timer_only_the_first_attempt_runs() {
    // T149
    let hedge = Registry::new().hedge("h");
    hedge.reconfigure(after(1)).unwrap();
    let mut polls = 0;
    let call = hedge.call_async(|| {
        std::future::poll_fn(move |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls < 3 { std::task::Poll::Pending } else { std::task::Poll::Ready(Ok::<u32, ()>(polls)) }
        })
    });
    let mut call = std::pin::pin!(call);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending() && call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(call.poll(&mut cx), std::task::Poll::Ready(Ok(3)));
}

#[test]
fn invalid_settings_are_rejected() {
    let bad = Config::default().percentile(100.0).max(0).min_delay(Duration::ZERO).budget_reserve(f64::NAN);
    let error = Registry::new().hedge("h").reconfigure(bad).unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["percentile", "min_delay", "max", "budget_reserve"]);
}
