use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::classify::Verdict;
use crate::clock::ManualClock;
use crate::ratio::Ratio;
use crate::registry::Registry;

const MS: fn(u64) -> Duration = Duration::from_millis;

type Outcome = Result<u32, Rejection>;

struct Fixture {
    time: ManualClock,
    registry: Registry,
    shedder: Arc<LoadShedder>,
}

fn fixture(config: Config) -> Fixture {
    let time = ManualClock::new();
    let registry = Registry::with_seed(time.clock(), 7);
    let shedder = registry.load_shedder("x");
    shedder.reconfigure(config).unwrap();
    Fixture { time, registry, shedder }
}

fn fixed(limit: u32) -> Config {
    Config::default().adaptive(false).max_in_flight(limit)
}

/// Only the throttle.
fn throttle() -> Config {
    Config::default().adaptive(false).throttle(true)
}

impl Fixture {
    /// Runs `count` intervals in which each call waits for `delay`.
    fn intervals(&self, count: u32, delay: u64) {
        for _ in 0..count * 10 {
            self.shedder.waited(MS(delay));
            self.time.advance(MS(10));
        }
    }

    /// Returns how many of 800 calls of a class are admitted.
    fn admitted(&self, priority: Priority) -> usize {
        (0..800).filter(|_| self.shedder.try_acquire_as(priority).is_ok()).count()
    }

    fn shed_classes(&self) -> Vec<Priority> {
        Priority::ALL.into_iter().filter(|class| self.admitted(*class) == 0).collect()
    }

    /// Sends a call if the throttle admits it, and returns whether it did.
    fn send(&self, priority: Priority, verdict: Verdict) -> bool {
        let Ok(permit) = self.shedder.try_acquire_as(priority) else { return false };
        permit.settle(verdict);
        true
    }
}

const DOWN: Verdict = Verdict::Failure(Class::TRANSIENT);

// In flight ----------------------------------------------------------------------------------------------

#[test]
fn each_class_fills_its_share_of_the_limit() {
    // T63
    let Fixture { shedder, .. } = fixture(fixed(10));
    let mut held = Vec::new();
    for (class, up_to) in Priority::ALL.into_iter().zip([5, 8, 9, 10]) {
        held.extend(std::iter::from_fn(|| shedder.try_acquire_as(class).ok()));
        assert_eq!(held.len(), up_to, "{class:?}");
    }
    let stats = shedder.stats();
    assert_eq!((stats.in_flight, stats.limit, stats.admitted(), stats.shed()), (10, Some(10), 10, 4));
    assert_eq!((stats.classes.low.limit, stats.classes.low.shed), (Some(5), 1));
    assert_eq!(stats.shed_by, ShedBy { in_flight: 4, delay: 0, throttle: 0 });
    drop(held);
    assert_eq!(shedder.stats().in_flight, 0);
}

#[test]
fn the_smallest_limit_admits_every_class() {
    let Fixture { shedder, .. } = fixture(fixed(1));
    for class in Priority::ALL {
        assert!(shedder.try_acquire_as(class).is_ok(), "{class:?}");
    }
}

#[test]
fn a_permit_is_released_however_the_call_ends() {
    // T147, T55
    let Fixture { shedder, .. } = fixture(fixed(10));
    let outcome: Outcome = shedder.call(|| {
        assert_eq!(shedder.stats().in_flight, 1);
        Ok(1)
    });
    assert_eq!(outcome, Ok(1));
    assert_eq!(shedder.call(|| None::<u32>), None);
    catch_unwind(AssertUnwindSafe(|| shedder.call(|| -> Outcome { panic!("in the call") }))).unwrap_err();
    shedder.try_acquire().unwrap().settle(DOWN);
    drop(shedder.try_acquire().unwrap());
    let stats = shedder.stats();
    assert_eq!((stats.in_flight, stats.admitted()), (0, 5));
}

/// Pending for this number of polls.
async fn pending(mut times: u32) {
    std::future::poll_fn(move |_| {
        times = times.saturating_sub(1);
        if times == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_call_dropped_after_any_number_of_polls_is_not_in_flight() {
    // T146
    let Fixture { shedder, .. } = fixture(fixed(10).throttle(true));
    for polls in 0..8 {
        let mut call = Box::pin(shedder.call_async(async || {
            pending(5).await;
            Outcome::Ok(1)
        }));
        let mut cx = Context::from_waker(Waker::noop());
        let ready = (0..polls).any(|_| Pin::new(&mut call).poll(&mut cx).is_ready());
        assert_eq!(shedder.stats().in_flight, u32::from(polls > 0 && !ready));
        drop(call);
        let stats = shedder.stats();
        assert_eq!(stats.in_flight, 0, "after {polls} polls");
        assert_eq!(
            stats.classes.normal.requests, stats.classes.normal.accepts,
            "a cancelled call is not counted"
        );
    }
}

#[test]
fn a_changed_limit_counts_but_does_not_interrupt_calls_in_flight() {
    // T51, T117
    let Fixture { shedder, .. } = fixture(fixed(100));
    let mut held: Vec<_> = (0..5).map(|_| shedder.try_acquire_as(Priority::Critical).unwrap()).collect();
    shedder.reconfigure(fixed(2)).unwrap();
    assert!(shedder.try_acquire_as(Priority::Critical).is_err());
    held.truncate(1);
    assert!(shedder.try_acquire_as(Priority::Critical).is_ok());
    shedder.reconfigure(Config::default().adaptive(false)).unwrap();
    held.extend((0..1000).map(|_| shedder.try_acquire().unwrap()));
    assert_eq!((shedder.stats().in_flight, shedder.stats().limit), (1001, None));
    shedder.reconfigure(Config::default().initial_in_flight(300)).unwrap();
    assert_eq!(shedder.stats().limit, Some(100), "the initial limit applies only after `reset`");
    shedder.reset();
    assert_eq!((shedder.stats().in_flight, shedder.stats().limit), (1001, Some(300)));
    drop(held);
    assert_eq!(shedder.stats().in_flight, 0);
}

#[test]
fn the_limit_falls_if_the_callee_is_overloaded() {
    let fixture = fixture(Config::default().max_in_flight(200));
    assert_eq!(fixture.shedder.stats().limit, Some(100));
    for _ in 0..100 {
        let permits: Vec<_> = (0..40).map(|_| fixture.shedder.try_acquire().unwrap()).collect();
        fixture.time.advance(MS(50));
        permits.into_iter().for_each(|permit| {
            permit.settle(Verdict::Failure(Class::Overload { retry_after: None }));
        });
        if fixture.shedder.stats().limit.unwrap() < 50 {
            return;
        }
    }
    panic!("{:?}", fixture.shedder.stats());
}

#[test]
fn the_gauge_is_exact_for_many_threads() {
    // T156
    let Fixture { shedder, .. } = fixture(fixed(4));
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let shedder = &shedder;
            scope.spawn(move || {
                for call in 0..2000 {
                    let class = Priority::ALL[(thread + call) % 4];
                    let _permit = shedder.try_acquire_as(class);
                    assert!(shedder.gauge.in_flight() <= 4);
                    // Makes permits of several threads overlap, even on one core.
                    if call % 8 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    let stats = shedder.stats();
    assert_eq!((stats.in_flight, stats.admitted() + stats.shed()), (0, 32_000));
    let classes = stats.classes;
    let shed = [classes.low.shed, classes.normal.shed, classes.high.shed, classes.critical.shed];
    assert!(classes.low.shed > 0, "low calls can fill two of four: {shed:?}");
}

// Standing delay -----------------------------------------------------------------------------------------

#[test]
fn a_standing_delay_sheds_the_lowest_class_and_then_the_next() {
    let fixture = fixture(Config::default().adaptive(false));
    let mut events = fixture.registry.subscribe();
    let (low, normal, high) = (Some(Priority::Low), Some(Priority::Normal), Some(Priority::High));
    let mut told = Vec::new();
    let mut shed = Vec::new();
    for _ in 0..13 {
        fixture.intervals(1, 30);
        assert!(fixture.shedder.try_acquire_as(Priority::Critical).is_ok(), "critical calls are never shed");
        while let Some(event) = events.try_recv() {
            if let EventKind::Shedding { from, to } = event.what {
                told.push((from, to));
                shed.push(fixture.shed_classes());
            }
        }
    }
    let classes = &Priority::ALL[..3];
    assert_eq!(shed, [&classes[..1], &classes[..2], classes]);
    let stats = fixture.shedder.stats();
    assert_eq!((stats.shedding, stats.delay), (high, Some(MS(30))));
    assert_eq!(told, [(None, low), (low, normal), (normal, high)]);
}

#[test]
fn shed_classes_are_admitted_again_step_by_step() {
    let fixture = fixture(Config::default().adaptive(false));
    fixture.intervals(2, 30);
    assert_eq!(fixture.shedder.stats().shedding, Some(Priority::Normal));
    let mut share = Vec::new();
    for _ in 0..18 {
        fixture.intervals(1, 1);
        share.push(fixture.admitted(Priority::Normal));
    }
    assert!(share.is_sorted_by(|a, b| a < b || *b == 800), "{share:?}");
    assert!((50..150).contains(&share[0]) && share[6] < 800 && share[7] == 800, "{share:?}");
    assert_eq!(fixture.admitted(Priority::Low), 800);
    assert_eq!(fixture.shedder.stats().shedding, None);
}

#[test]
fn a_queue_that_empties_sheds_nothing() {
    let fixture = fixture(Config::default().adaptive(false));
    for _ in 0..50 {
        fixture.intervals(1, 500);
        // Once per interval a call has a short wait.
        fixture.shedder.waited(MS(20));
    }
    assert_eq!((fixture.shedder.stats().shedding, fixture.shedder.stats().shed()), (None, 0));
}

#[test]
fn no_further_class_is_shed_while_the_delay_falls() {
    let fixture = fixture(Config::default().adaptive(false));
    let mut delay = 4000;
    fixture.intervals(1, delay);
    for step in 0..10 {
        let shedding = fixture.shedder.stats().shedding;
        assert!(
            shedding == Some(Priority::Low) || step == 0 && shedding.is_none(),
            "{shedding:?} in step {step}"
        );
        delay = delay * 4 / 5;
        fixture.intervals(1, delay);
    }
    assert_eq!(fixture.shed_classes(), [Priority::Low]);
}

#[test]
fn without_measurements_shedding_ends() {
    // T12
    let fixture = fixture(Config::default().adaptive(false));
    fixture.intervals(4, 30);
    assert_eq!(fixture.shedder.stats().shedding, Some(Priority::High));
    fixture.time.advance(MS(1600));
    assert_eq!(fixture.shedder.stats().shedding, Some(Priority::Low));
    fixture.time.advance(Duration::from_hours(40));
    assert_eq!((fixture.shedder.stats().shedding, fixture.shedder.stats().delay), (None, None));
    fixture.time.advance(Duration::MAX);
    assert!(fixture.shedder.try_acquire().is_ok(), "at the end of time");
}

#[test]
fn a_clock_that_steps_back_does_not_keep_classes_shed() {
    // T10
    let fixture = fixture(Config::default().adaptive(false));
    fixture.intervals(4, 30);
    fixture.time.rewind(Duration::from_mins(50));
    fixture.intervals(30, 1);
    assert_eq!(fixture.shedder.stats().shedding, None);
}

#[test]
fn a_standing_latency_counts_only_with_target_latency() {
    let run = |config: Config, took: u64, verdict: Verdict| {
        let fixture = fixture(config);
        for _ in 0..50 {
            let permits: Vec<_> =
                (0..3).filter_map(|_| fixture.shedder.try_acquire_as(Priority::High).ok()).collect();
            fixture.time.advance(MS(took));
            permits.into_iter().for_each(|permit| permit.settle(verdict));
        }
        fixture.shedder.stats().shedding
    };
    let latency = || Config::default().adaptive(false).target_latency(MS(50));
    assert_eq!(run(Config::default().adaptive(false), 60, Verdict::Success), None);
    assert!(run(latency(), 60, Verdict::Success).is_some());
    assert_eq!(run(latency(), 40, Verdict::Success), None);
    assert_eq!(run(latency(), 60, DOWN), None, "the duration of failures is ignored");
}

// Throttle -----------------------------------------------------------------------------------------------

#[test]
fn about_twice_as_many_calls_are_sent_as_accepted() {
    let fixture = fixture(throttle());
    let mut sent = [0; 2];
    // The callee accepts one in four of a thousand calls per second.
    for call in 0..240_000_u32 {
        fixture.time.advance(Duration::from_millis(1));
        let half = usize::from(call >= 120_000);
        let verdict = if call % 4 == 0 { Verdict::Success } else { DOWN };
        sent[half] += u32::from(fixture.send(Priority::Normal, verdict));
    }
    // A quarter of the sent calls is accepted, so the share of sent calls falls to the floor.
    let stats = fixture.shedder.stats().classes.normal;
    assert_eq!(Some(stats.throttled), Ratio::percent(90.0), "{stats:?}");
    assert!((11_000..13_500).contains(&sent[1]), "expected a tenth: {sent:?}");
    assert_eq!(
        stats.requests,
        120_000 - 6000 + stats.requests % 6000,
        "expected the calls of two minutes: {stats:?}"
    );
}

#[test]
fn no_call_is_throttled_if_half_are_accepted() {
    let fixture = fixture(throttle());
    for call in 0..100_000 {
        fixture.time.advance(MS(1));
        assert!(
            fixture.send(Priority::Normal, if call % 2 == 0 { Verdict::Success } else { DOWN }) || call < 100
        );
    }
    assert_eq!(fixture.shedder.stats().shed(), 0);
    // If two in five are accepted, some calls are rejected.
    for call in 0..200_000 {
        fixture.time.advance(MS(1));
        fixture.send(Priority::Normal, if call % 5 < 2 { Verdict::Success } else { DOWN });
    }
    assert!(fixture.shedder.stats().shed() > 1000, "{:?}", fixture.shedder.stats());
}

#[test]
fn the_floor_is_sent_in_an_outage_and_the_recovery_is_detected() {
    // T93
    let fixture = fixture(throttle());
    let run = |seconds: u32, verdict: Verdict| {
        let sent = |_: &u32| {
            fixture.time.advance(MS(1));
            fixture.send(Priority::Normal, verdict)
        };
        (0..seconds * 1000).filter(sent).count()
    };
    let sent = run(600, DOWN);
    assert!((58_000..75_000).contains(&sent), "expected a tenth and the first calls: {sent} of 600 000");
    let recovering = run(240, Verdict::Success);
    assert!(recovering > 60_000, "{recovering} of 240 000");
    assert_eq!(fixture.shedder.stats().classes.normal.throttled, Ratio::ZERO);
    assert_eq!(run(60, Verdict::Success), 60_000);
}

#[test]
fn a_few_failures_and_calls_in_flight_do_not_throttle() {
    let fixture = fixture(throttle());
    let in_flight: Vec<_> = (0..500).map(|_| fixture.shedder.try_acquire().unwrap()).collect();
    fixture.time.advance(MS(1000));
    (0..19).for_each(|_| assert!(fixture.send(Priority::Normal, DOWN)));
    fixture.time.advance(MS(1000));
    assert!(fixture.send(Priority::Normal, DOWN), "19 requests are below min_calls");
    assert_eq!(fixture.shedder.stats().classes.normal.requests, 20);
    drop(in_flight);
    assert_eq!(fixture.shedder.stats().classes.normal.requests, 20, "a dropped call is not a request");
}

#[test]
fn each_class_is_throttled_separately_and_error_responses_count_as_accepted() {
    let fixture = fixture(throttle());
    for verdict in [Verdict::Failure(Class::Permanent), Verdict::Failure(Class::Ignored)] {
        (0..100).for_each(|_| assert!(fixture.send(Priority::High, verdict)));
    }
    (0..100).for_each(|_| assert!(fixture.send(Priority::Low, DOWN)));
    fixture.time.advance(MS(1000));
    assert_eq!(fixture.admitted(Priority::High), 800);
    assert!((40..140).contains(&fixture.admitted(Priority::Low)));
    let nothing = Verdict::Failure(Class::NotExecuted { retry_after: None });
    (0..100).for_each(|_| assert!(fixture.send(Priority::Critical, nothing)));
    assert_eq!(fixture.shedder.stats().classes.critical.requests, 0);
}

#[test]
fn a_changed_factor_and_window_apply_at_once_and_keep_the_counts() {
    // T117
    let fixture = fixture(throttle());
    for call in 0..1000 {
        fixture.send(Priority::Normal, if call % 2 == 0 { Verdict::Success } else { DOWN });
    }
    fixture.time.advance(MS(4000));
    fixture
        .shedder
        .reconfigure(throttle().throttle_factor(1.0).throttle_window(Duration::from_mins(1)))
        .unwrap();
    let stats = fixture.shedder.stats().classes.normal;
    assert_eq!(stats.requests, 1000);
    assert!((stats.throttled.get() - 0.5).abs() < 0.01);
    assert!((300..500).contains(&fixture.admitted(Priority::Normal)));
    fixture.shedder.reconfigure(Config::default().adaptive(false)).unwrap();
    assert_eq!(fixture.admitted(Priority::Normal), 800, "disabled");
}

// All rules ----------------------------------------------------------------------------------------------

#[test]
fn rejections_have_a_jittered_retry_after() {
    let Fixture { shedder, registry, .. } = fixture(fixed(1).retry_after(MS(1000)));
    let mut events = registry.subscribe();
    let _held = shedder.try_acquire().unwrap();
    let mut spans = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let refused = shedder.try_acquire().unwrap_err();
        assert_eq!((refused.kind(), refused.component()), (RejectionKind::Shed, "x"));
        spans.insert(refused.retry_after().unwrap());
    }
    assert!(spans.len() > 900, "T28: {} of 1000 differ", spans.len());
    assert!(spans.first() >= Some(&MS(500)) && spans.last() <= Some(&MS(1500)), "{spans:?}");
    assert!(matches!(
        events.try_recv().unwrap().what,
        EventKind::Rejected { rejection: RejectionKind::Shed, .. }
    ));
}

#[test]
fn shed_calls_are_not_retried_and_not_counted_by_a_breaker() {
    // T34, T21
    let Fixture { shedder, registry, .. } = fixture(fixed(1));
    let _held = shedder.try_acquire().unwrap();
    let (retry, breaker) = (registry.retry("x"), registry.circuit_breaker("x"));
    for _ in 0..100 {
        let outcome = breaker.call_judged(
            || retry.call_judged(|| shedder.call(|| Outcome::Ok(1)), Verdict::by_class),
            Verdict::by_class,
        );
        assert_eq!(outcome.unwrap_err().kind(), RejectionKind::Shed);
    }
    assert_eq!((retry.stats().retries, shedder.stats().shed()), (0, 100));
    assert_eq!(breaker.stats().window.calls, 0);
}

#[test]
fn a_reset_clears_everything_but_the_calls_in_flight() {
    let fixture = fixture(throttle().max_in_flight(1000));
    fixture.intervals(4, 30);
    (0..100).for_each(|_| {
        fixture.send(Priority::Critical, DOWN);
    });
    fixture.time.advance(MS(100));
    assert_eq!(fixture.admitted(Priority::Low), 0);
    let before = fixture.shedder.stats();
    assert!(before.shedding.is_some() && before.classes.critical.throttled > Ratio::ZERO, "{before:?}");
    let _held = fixture.shedder.try_acquire_as(Priority::Critical);
    fixture.shedder.reset();
    let stats = fixture.shedder.stats();
    assert_eq!((stats.admitted(), stats.shed(), stats.shedding, stats.delay), (0, 0, None, None));
    assert_eq!((stats.classes.critical.requests, stats.classes.critical.throttled), (0, Ratio::ZERO));
    assert_eq!(fixture.admitted(Priority::Low), 800);
}

#[test]
fn invalid_settings_are_rejected_as_a_whole() {
    // T127
    let Fixture { shedder, .. } = fixture(fixed(10));
    let ratio = |percent| Ratio::percent(percent).unwrap();
    let bad = Config::default()
        .max_in_flight(0)
        .share_low(ratio(90.0))
        .share_high(ratio(10.0))
        .target_delay(Duration::ZERO)
        .target_latency(Duration::from_hours(2))
        .interval(Duration::ZERO)
        .throttle_factor(f64::NAN)
        .throttle_window(Duration::from_hours(24))
        .throttle_floor(Ratio::ZERO)
        .throttle_min_calls(0)
        .initial_in_flight(0)
        .retry_after(Duration::ZERO);
    let refused = shedder.reconfigure(bad).unwrap_err();
    let fields: Vec<_> = refused.problems().iter().map(|problem| problem.field).collect();
    let expected = [
        "max_in_flight",
        "min_in_flight",
        "initial_in_flight",
        "share_low",
        "share_normal",
        "target_delay",
        "target_latency",
        "interval",
        "retry_after",
        "throttle_factor",
        "throttle_window",
        "throttle_floor",
        "throttle_min_calls",
    ];
    assert_eq!(fields, expected);
    assert_eq!(shedder.stats().limit, Some(10));
    let above = shedder.reconfigure(Config::default().max_in_flight(5)).unwrap_err();
    assert_eq!(above.to_string(), "`min_in_flight` = 10 is invalid: must be from 1 to max_in_flight = 5");
}

#[test]
fn statistics_are_serialized_in_seconds() {
    let fixture = fixture(Config::default().adaptive(false));
    fixture.intervals(1, 30);
    let json = serde_json::to_value(fixture.shedder.stats()).unwrap();
    assert_eq!(
        (&json["delay"], &json["shedding"], &json["limit"]),
        (&0.03.into(), &"low".into(), &serde_json::Value::Null)
    );
    assert_eq!(json["classes"]["low"]["throttled"], 0.0);
    let table = fixture.registry.stats().to_string();
    assert!(
        table.contains("load_shed x: 0 in flight, 0 admitted, 0 shed; sheds up to low calls; delay 30.0ms"),
        "{table}"
    );
}
