use super::*;
use crate::Judgement;
use crate::classify::{Class, Verdict};
use crate::clock::{Clock, ManualClock};
use crate::context::Scope;
use crate::registry::Registry;

const MS: fn(u64) -> Duration = Duration::from_millis;
const DAY: Duration = Duration::from_hours(24);

fn fixture(config: Config) -> (ManualClock, Arc<Retry>) {
    let time = ManualClock::new();
    let retry = Registry::with_seed(time.clock(), 7).retry("r");
    retry.reconfigure(config).unwrap();
    (time, retry)
}

fn plain() -> Config {
    Config::default().base(MS(100)).jitter(Ratio::ZERO)
}

use crate::ratio::Ratio;

fn failing(calls: &mut u32) -> Result<(), u32> {
    *calls += 1;
    Err(*calls)
}

#[test]
fn max_counts_retries_and_the_last_real_error_is_returned() {
    // T45
    let (_, retry) = fixture(plain().max(3));
    let mut calls = 0;
    assert_eq!(retry.call(|| failing(&mut calls)), Err(4));
    assert_eq!(calls, 4);
    let stats = retry.stats();
    assert_eq!((stats.retries, stats.exhausted, stats.recovered), (3, 1, 0));
}

#[test]
fn a_value_that_counts_as_failed_is_retried_and_the_last_one_returned() {
    // T45
    let (_, retry) = fixture(plain().max(2));
    let mut calls = 0;
    let work = || {
        calls += 1;
        Ok::<_, ()>(calls)
    };
    let judge = |_: &Result<u32, ()>| Verdict::Success.or_failure(true);
    assert_eq!(retry.call_judged(work, judge), Ok(3));
}

#[test]
fn the_pauses_are_those_of_the_backoff() {
    let (time, retry) = fixture(plain().max(3));
    let start = time.clock().now();
    let _ = retry.call(|| Err::<(), _>(()));
    assert_eq!(time.clock().now().since(start), MS(100 + 200 + 400));
}

#[test]
fn a_retry_never_waits_less_than_the_hint() {
    // T31
    let (time, retry) = fixture(plain().max(1));
    let start = time.clock().now();
    let wish = Class::Transient { retry_after: Some(Duration::from_secs(3)) };
    let _ = retry.call_judged(|| Err::<(), _>(()), |_| Verdict::Failure(wish));
    assert_eq!(time.clock().now().since(start), Duration::from_secs(3));
}

#[test]
fn a_hint_that_is_too_long_ends_the_call_at_once() {
    // T31
    let (time, retry) = fixture(plain().max(3).max_elapsed(Duration::from_secs(10)));
    let start = time.clock().now();
    let wish = Class::Overload { retry_after: Some(Duration::from_secs(30)) };
    let _ = retry.call_judged(|| Err::<(), _>(()), |_| Verdict::Failure(wish));
    assert_eq!(time.clock().now(), start);
    assert_eq!(retry.stats().out_of_time, 1);
    let hour = Class::Overload { retry_after: Some(Duration::from_hours(1)) };
    retry.reconfigure(plain()).unwrap();
    let _ = retry.call_judged(|| Err::<(), _>(()), |_| Verdict::Failure(hour));
    assert_eq!(time.clock().now(), start, "an hour is more than `max_retry_after`");
}

#[test]
fn a_hint_that_is_too_long_is_counted_and_published() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    let retry = registry.retry("api");
    let mut events = registry.subscribe();
    let wait = |secs| Class::Overload { retry_after: Some(Duration::from_secs(secs)) };
    let _ = retry.call_judged(|| Err::<(), _>(()), |_| Verdict::Failure(wait(61)));
    let stats = retry.stats();
    assert_eq!((stats.hint_too_long, stats.out_of_time, stats.retries), (1, 0, 0));
    let most = Duration::from_mins(1);
    let published = EventKind::RetryAfterTooLong { retry_after: Duration::from_secs(61), most };
    assert_eq!(events.try_recv().map(|event| event.what), Some(published));
    let _ = retry.call_judged(|| Err::<(), _>(()), |_| Verdict::Failure(wait(60)));
    assert_eq!((retry.stats().hint_too_long, retry.stats().retries), (1, 3), "60 s are not too long");
}

#[test]
fn no_sleep_begins_that_would_exceed_the_deadline() {
    // T32
    let (time, retry) = fixture(plain().base(MS(500)));
    let clock = time.clock();
    let start = clock.now();
    let _deadline = Scope::current().with_deadline(start.after(MS(200)), &clock).enter();
    let mut calls = 0;
    assert_eq!(retry.call(|| failing(&mut calls)), Err(1));
    assert_eq!(clock.now(), start);
    assert_eq!(retry.stats().out_of_time, 1);
}

#[test]
fn an_attempt_that_may_have_had_an_effect_is_not_retried_by_default() {
    // T33
    let (_, retry) = fixture(plain());
    let mut calls = 0;
    let uncertain = |_: &Result<(), u32>| Verdict::Failure(Class::Uncertain { retry_after: None });
    assert_eq!(retry.call_judged(|| failing(&mut calls), uncertain), Err(1));
    calls = 0;
    let allowed = |_: &Result<(), u32>| Judgement::from(Class::UNCERTAIN).retry_when(true);
    assert_eq!(retry.call_judged(|| failing(&mut calls), allowed), Err(4));
}

#[test]
fn inner_retries_are_suppressed_while_an_outer_one_retries() {
    // T46: 4 * 4 * 4 = 64 calls without the rule
    let registry = Registry::with_seed(ManualClock::new().clock(), 7);
    let [outer, middle, inner] = ["outer", "middle", "inner"].map(|name| {
        let retry = registry.retry(name);
        retry.reconfigure(plain().max(3).budget_reserve(1000.0)).unwrap();
        retry
    });
    let mut calls = 0;
    let mut seen = Vec::new();
    let outcome = outer.call(|| {
        middle.call(|| {
            inner.call(|| {
                seen.push(crate::attempt());
                failing(&mut calls)
            })
        })
    });
    assert_eq!(outcome, Err(10), "4 of the innermost, then 3 of each outer layer");
    assert_eq!(&seen[..5], [1, 2, 3, 4, 1]);
    assert!(inner.stats().nested > 0);
    assert_eq!(crate::attempt(), 1, "the scope ends with the call");
}

#[test]
fn a_restarted_session_retries_new_failures() {
    let registry = Registry::with_seed(ManualClock::new().clock(), 7);
    let [session, request] = ["session", "request"].map(|name| {
        let retry = registry.retry(name);
        retry.reconfigure(plain().max(3).budget_reserve(1000.0)).unwrap();
        retry
    });
    let mut sessions = 0;
    let outcome = session.call(|| {
        sessions += 1;
        if sessions == 1 {
            return Err("lost");
        }
        for _ in 0..1000 {
            let mut calls = 0;
            request.call(|| {
                calls += 1;
                if calls == 3 { Ok(()) } else { Err("again") }
            })?;
        }
        Ok(())
    });
    assert_eq!((outcome, sessions), (Ok(()), 2));
    assert_eq!((request.stats().retries, request.stats().nested), (2000, 0));
}

#[test]
fn a_retry_that_gave_up_is_suppressed_until_it_succeeds() {
    // The session ends because the request had no retries left.
    let registry = Registry::with_seed(ManualClock::new().clock(), 7);
    let [session, request, other] = ["session", "request", "other"].map(|name| {
        let retry = registry.retry(name);
        retry.reconfigure(plain().max(3).budget_reserve(1000.0)).unwrap();
        retry
    });
    let (mut sessions, mut requests) = (0, 0);
    let outcome: Result<(), &str> = session.call(|| {
        sessions += 1;
        let mut calls = 0;
        other.call(|| {
            calls += 1;
            if calls == 2 { Ok(()) } else { Err("a new failure, which is retried") }
        })?;
        if sessions == 3 {
            request.call(|| Ok::<_, &str>(()))?;
            let mut calls = 0;
            request.call(|| {
                calls += 1;
                if calls == 4 { Ok(()) } else { Err("later") }
            })?;
        }
        request.call(|| {
            requests += 1;
            Err("down")
        })
    });
    assert!(outcome.is_err());
    // 4 attempts, 1 while suppressed, 4 after a success in between, 1.
    assert_eq!((sessions, requests), (4, 4 + 1 + 4 + 1));
    assert_eq!(other.stats().retries, 4);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_session_of_many_polls_retries_new_failures() {
    let registry = Registry::with_seed(Clock::tokio(), 7);
    let retry = |name: &str| {
        let retry = registry.retry(name);
        retry.reconfigure(plain().max(3).base(Duration::from_millis(1)).budget_reserve(1000.0)).unwrap();
        retry
    };
    let (session, request, sessions) = (retry("session"), retry("request"), std::cell::Cell::new(0));
    let stages = registry.pipeline("session").retry(&session).timeout("t").build();
    let fetch = registry.pipeline("request").retry(&request).timeout("t").build();
    let outcome = stages.call_async(async || {
        sessions.set(sessions.get() + 1);
        let mut good = sessions.get() != 1;
        for number in 0..20 {
            // The first request of a session succeeds at once, the others at the third attempt.
            let calls = std::cell::Cell::new(if number == 0 { 2 } else { 0 });
            let done = fetch.call_async(async || {
                tokio::time::sleep(Duration::from_millis(1)).await;
                calls.set(calls.get() + 1);
                (good && calls.get() == 3).then_some(())
            });
            done.await?;
            good = true;
        }
        Some(())
    });
    assert_eq!((outcome.await, sessions.get()), (Some(()), 2));
    assert_eq!(request.stats().nested, 0);
}

#[test]
fn a_panic_restores_the_scope() {
    let (_, retry) = fixture(plain());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        retry.call(|| -> Result<(), ()> {
            if crate::attempt() == 2 { panic!("second") } else { Err(()) }
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(crate::attempt(), 1);
}

#[test]
fn the_budget_bounds_the_load_in_an_outage() {
    // T37: 1000 calls a second for 60 s, all failing, 20 %
    let (time, retry) = fixture(plain().base(Duration::ZERO).budget_ratio(Ratio::percent(20.0).unwrap()));
    let mut calls = 0;
    for _ in 0..60_000 {
        let _ = retry.call(|| failing(&mut calls));
        time.advance(MS(1));
    }
    let reserve = 60 * 3 + 30 + 1;
    assert!(calls <= 72_000 + reserve, "{calls} calls of 60 000");
    assert!(calls > 71_000, "and the budget is used: {calls}");
    assert!(retry.stats().denied_by_budget > 0, "T43: counted separately");
}

#[test]
fn concurrent_retries_never_exceed_the_budget() {
    // T38
    let (_, retry) = fixture(plain().base(Duration::ZERO).max(1).budget_reserve(0.0));
    let calls = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let _ = retry.call(|| {
                        calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        Err::<(), _>(())
                    });
                }
            });
        }
    });
    // 8000 deposits of a tenth, and the 30 initial tokens; the clock does not advance.
    let retries = calls.into_inner() - 8000;
    assert!((700..=830).contains(&retries), "{retries} retries");
}

#[test]
fn a_drained_budget_fills_again() {
    // T39
    let (time, retry) = fixture(plain().base(Duration::ZERO).max(1).budget_free(0));
    for _ in 0..100 {
        let _ = retry.call(|| Err::<(), _>(()));
    }
    let denied = retry.stats().denied_by_budget;
    assert!(denied > 0);
    for _ in 0..50 {
        assert!(retry.call(|| Ok::<_, ()>(())).is_ok());
    }
    time.advance(Duration::from_secs(1));
    let _ = retry.call(|| Err::<(), _>(()));
    assert_eq!(retry.stats().denied_by_budget, denied, "50 calls and a second have paid for it");
}

#[test]
fn a_quiet_service_can_retry_from_the_start() {
    // T42
    let (time, retry) = fixture(plain().max(1));
    for minute in 0..100 {
        let mut calls = 0;
        let _ = retry.call(|| failing(&mut calls));
        assert_eq!(calls, 2, "minute {minute}");
        time.advance(Duration::from_mins(1));
    }
}

#[test]
fn a_named_budget_is_shared() {
    // T40
    let registry = Registry::with_seed(ManualClock::new().clock(), 7);
    let shared = registry.retry_budget("gateway");
    shared.reconfigure(budget::Config::default().reserve(0.0)).unwrap();
    shared.reset();
    let retry = registry.retry("a");
    let moved = retry.reconfigure(plain().budget(Arc::<str>::from("gateway"))).unwrap_err();
    assert_eq!(moved.problems()[0].field, "budget");
    let core = Core::for_test("b", registry.clock().clone(), plain());
    let other = Retry::with_budget(core, Some(Arc::clone(&shared)));
    let _ = other.call(|| Err::<(), _>(()));
    assert_eq!(shared.stats().denied, 1);
    assert_eq!(shared.stats().calls, 1);
}

#[test]
fn invalid_settings_are_rejected_as_a_whole() {
    let (_, retry) = fixture(plain());
    let error = retry
        .reconfigure(Config::default().max(5000).factor(f64::NAN).base(2 * DAY).max_elapsed(Duration::ZERO))
        .unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["max", "base", "factor", "max_elapsed"]);
    assert_eq!(*retry.config(), plain());
}

#[test]
fn a_clock_that_jumps_neither_freezes_nor_floods_the_budget() {
    let (time, retry) = fixture(plain().max(1));
    time.rewind(Duration::from_mins(50));
    assert!(retry.call(|| Err::<(), _>(())).is_err());
    time.advance(10 * DAY);
    assert!(retry.budget().tokens() <= 130.0);
}

#[tokio::test(start_paused = true)]
async fn asynchronous_pauses_follow_virtual_time() {
    // T148
    let retry = Registry::with_clock(crate::clock::Clock::tokio()).retry("r");
    retry.reconfigure(plain().max(2)).unwrap();
    let start = tokio::time::Instant::now();
    let outcome: Result<u32, u32> =
        retry.call_async(async || if crate::attempt() == 3 { Ok(crate::attempt()) } else { Err(0) }).await;
    assert_eq!(outcome, Ok(3));
    assert!((MS(300)..MS(310)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn without_a_timer_the_last_error_is_returned_at_once() {
    // T149
    let retry = Registry::new().retry("r");
    let mut calls = 0;
    let outcome = ready(retry.call_async(|| std::future::ready(failing(&mut calls))));
    assert_eq!(outcome, Err(1));
    let stats = retry.stats();
    assert_eq!(
        (stats.no_timer, stats.retries, stats.budget.withdrawn),
        (1, 0, 0),
        "no retry was made or paid for"
    );
}

/// Polls once: a future that needs no timer is ready.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits for something"),
    }
}

#[test]
fn direct_budget_settings_survive_a_change_of_the_retry() {
    // T117
    let (_, retry) = fixture(plain());
    retry.budget().reconfigure(budget::Config::default().burst(5)).unwrap();
    retry.reconfigure(plain().max(2).budget_reserve(1.0)).unwrap();
    assert_eq!(*retry.budget().config(), budget::Config::default().burst(5).reserve(1.0));
}

#[test]
fn a_changed_budget_is_reported_together_with_all_other_errors() {
    let (_, retry) = fixture(plain());
    let error = retry.reconfigure(plain().budget(Arc::<str>::from("other")).max(5000)).unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["max", "budget"]);
}

#[test]
fn a_budget_that_is_part_of_a_retry_or_a_hedge_publishes_no_events() {
    let registry = Registry::new();
    let (retry, hedge) = (registry.retry("r"), registry.hedge("h"));
    let mut events = registry.subscribe();
    retry.reconfigure(Config::default().max(1)).unwrap();
    hedge.reconfigure(crate::hedge::Config::default().max(2)).unwrap();
    retry.reset();
    hedge.reset();
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv()).map(|event| event.kind).collect();
    assert_eq!(told, [Kind::Retry, Kind::Hedge, Kind::Retry, Kind::Hedge]);
}

#[test]
fn a_call_that_the_budget_ended_is_distinguishable() {
    // T43
    let (_, retry) = fixture(plain().budget_free(0).budget_reserve(0).budget_ratio(Ratio::ZERO));
    retry.budget().reset();
    let registry = Registry::with_clock(retry.core.clock().clone());
    let pipeline = registry.pipeline("download").retry(&retry).build();
    assert_eq!(pipeline.call(|| None::<u32>), None);
    assert_eq!(stopped(), Some(Stopped { retry: "r", why: Stop::Budget }));
    assert_eq!((pipeline.stats().failed, pipeline.stats().budget_denied), (1, 1));
    assert_eq!(registry.stats().total.budget_denied, 1);
    let explained = pipeline.explain().to_string();
    assert!(
        explained.contains("1 failed calls were not retried because retry budget `r` was exhausted"),
        "{explained}"
    );
    retry.reconfigure(plain().budget("off")).unwrap();
    assert_eq!(pipeline.call(|| None::<u32>), None);
    assert_eq!(stopped().unwrap().why, Stop::Exhausted);
    assert!(pipeline.explain().to_string().contains("the retry budget is off"));
}

#[test]
fn a_disabled_retry_makes_no_retries() {
    let (_, retry) = fixture(plain().enabled(false));
    let mut calls = 0;
    assert_eq!(retry.call(|| failing(&mut calls)), Err(1));
}
