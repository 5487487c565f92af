use std::cell::Cell;
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::pipeline::Pipeline;
use crate::retry;

fn adaptive() -> Config {
    Config::default().adaptive(true).min(MS(10)).max(Duration::from_secs(5))
}

/// The limit of the next attempt.
fn limit(timeout: &Timeout) -> Duration {
    Duration::from_nanos(timeout.attempt.load(Ordering::Relaxed))
}

/// Returns a log-uniform duration from 1 to `e^scales` microseconds.
fn spread(random: &mut SmallRng, scales: f64) -> u64 {
    let span = Duration::from_micros(1).mul_f64((random.random::<f64>() * scales).exp());
    crate::clock::nanos(span)
}

/// Runs successful attempts one after the other.
fn complete(time: &ManualClock, timeout: &Timeout, spans: impl IntoIterator<Item = Duration>) {
    for span in spans {
        let started = time.clock().now();
        time.advance(span);
        timeout.completed(started, time.clock().now());
    }
}

#[test]
fn the_initial_limit_applies_until_enough_attempts_are_recorded() {
    // T73
    for (attempt, initial) in [(Some(MS(400)), MS(400)), (None, Duration::from_secs(5))] {
        let (time, timeout) = fixture(adaptive().attempt(attempt).min_samples(200));
        assert_eq!(limit(&timeout), initial);
        complete(&time, &timeout, vec![MS(20); 199]);
        assert_eq!((limit(&timeout), timeout.stats().adaptive.unwrap().is_learned), (initial, false));
        time.advance(Duration::from_secs(2));
        complete(&time, &timeout, [MS(20)]);
        let learned = limit(&timeout);
        assert!((MS(29)..=MS(31)).contains(&learned), "expected 20 ms x 1.5, found {learned:?}");
        assert!(timeout.stats().adaptive.unwrap().is_learned);
    }
}

#[test]
fn p99_9_needs_a_thousand_attempts() {
    // T73
    let (time, timeout) = fixture(adaptive().percentile(99.9));
    complete(&time, &timeout, vec![MS(20); 999]);
    assert!(!timeout.stats().adaptive.unwrap().is_learned);
    time.advance(Duration::from_secs(2));
    complete(&time, &timeout, [MS(20)]);
    assert!(timeout.stats().adaptive.unwrap().is_learned);
}

#[test]
fn percentiles_are_within_one_percent_of_the_exact_ones() {
    let shapes: [fn(&mut SmallRng) -> u64; 4] = [
        |random| random.random_range(1..200),
        |random| random.random_range(1_000..1_000_000),
        // A long tail over six decades.
        |random| spread(random, 14.0),
        |random| if random.random_bool(0.9) { 2_000_000 } else { 3_600_000_000_000 },
    ];
    for (number, shape) in shapes.into_iter().enumerate() {
        let mut random = SmallRng::seed_from_u64(7);
        let (time, timeout) = fixture(adaptive());
        let now = time.clock().now();
        let mut spans: Vec<u64> = (0..20_000).map(|_| shape(&mut random)).collect();
        let adaptive = timeout.adaptive.get().unwrap();
        spans.iter().for_each(|span| adaptive.completed(*span, now, &timeout.attempt));
        spans.sort_unstable();
        let stats = timeout.stats().adaptive.unwrap();
        let at = [(500, stats.p50), (950, stats.p95), (990, stats.p99), (999, stats.p999)];
        for (per_mille, seen) in at {
            let exact = spans[spans.len() * per_mille / 1000 - 1] as f64;
            let error = (seen.unwrap().as_nanos() as f64 - exact).abs() / exact;
            assert!(error < 0.01, "shape {number}: {seen:?} for {exact} ns at {per_mille}");
        }
        assert_eq!((stats.samples, stats.censored), (20_000, 0));
    }
}

#[test]
fn a_timed_out_attempt_counts_as_longer_than_it_ran() {
    // T72
    let (time, timeout) = fixture(adaptive());
    let (now, adaptive) = (time.clock().now(), timeout.adaptive.get().unwrap());
    (0..900).for_each(|_| adaptive.completed(10_000_000, now, &timeout.attempt));
    (0..60).for_each(|_| adaptive.completed(80_000_000, now, &timeout.attempt));
    (0..40).for_each(|_| adaptive.cut_off(20_000_000, now, &timeout.attempt));
    let stats = timeout.stats().adaptive.unwrap();
    assert_eq!((stats.samples, stats.censored), (1000, 40));
    let near =
        |seen: Option<Duration>, millis: f64| (seen.unwrap().as_secs_f64() * 1e3 / millis - 1.0).abs() < 0.01;
    // If they counted as 20 ms, 80 ms would be reached only at 94 %.
    assert!(near(stats.p50, 10.0) && near(stats.p95, 80.0) && near(stats.p999, 80.0), "{stats:?}");
    (0..400).for_each(|_| adaptive.cut_off(90_000_000, now, &timeout.attempt));
    let stats = timeout.stats().adaptive.unwrap();
    assert!(near(stats.p50, 10.0), "{stats:?}");
    assert_eq!((stats.p95, stats.p99, stats.p999), (None, None, None), "longer than the observed durations");
}

#[test]
fn attempts_outside_the_window_are_discarded() {
    let (time, timeout) = fixture(adaptive());
    complete(&time, &timeout, vec![MS(300); 500]);
    assert!((MS(445)..=MS(455)).contains(&limit(&timeout)), "{:?}", limit(&timeout));
    complete(&time, &timeout, vec![MS(30); 3000]);
    assert!((MS(44)..=MS(46)).contains(&limit(&timeout)), "{:?}", limit(&timeout));
    // Without recent attempts the limit does not change.
    time.advance(Duration::from_hours(1));
    complete(&time, &timeout, [MS(700)]);
    assert!((MS(44)..=MS(46)).contains(&limit(&timeout)), "{:?}", limit(&timeout));
}

#[test]
fn settings_can_change_while_calls_run_without_losing_recorded_attempts() {
    let (time, timeout) = fixture(Config::default().attempt(MS(70)));
    complete(&time, &timeout, vec![MS(10); 500]);
    assert_eq!((limit(&timeout), timeout.stats().adaptive), (MS(70), None));
    timeout.reconfigure(adaptive().attempt(MS(70))).unwrap();
    complete(&time, &timeout, vec![MS(20); 500]);
    assert!((MS(29)..=MS(31)).contains(&limit(&timeout)), "{:?}", limit(&timeout));
    timeout.reconfigure(adaptive().attempt(MS(70)).factor(3.0)).unwrap();
    complete(&time, &timeout, [MS(20)]);
    assert!((MS(59)..=MS(61)).contains(&limit(&timeout)), "{:?}", limit(&timeout));
    timeout.reconfigure(adaptive().min(MS(200))).unwrap();
    assert_eq!(limit(&timeout), MS(200), "immediately");
    timeout.reconfigure(Config::default().attempt(MS(70))).unwrap();
    complete(&time, &timeout, vec![MS(500); 500]);
    assert_eq!(limit(&timeout), MS(70), "fixed again");
    timeout.reconfigure(Config::default()).unwrap();
    assert_eq!(timeout.stats().attempt, None);
    timeout.reconfigure(adaptive()).unwrap();
    assert!(timeout.stats().adaptive.unwrap().is_learned);
    timeout.reset();
    let stats = timeout.stats();
    assert_eq!(
        (stats.attempt, stats.adaptive),
        (Some(Duration::from_secs(5)), Some(AdaptiveTimeoutStats::default()))
    );
}

#[test]
fn the_limit_always_stays_between_min_and_max() {
    // T72
    let mut random = SmallRng::seed_from_u64(11);
    let (time, timeout) = fixture(adaptive().min_samples(10));
    let (mut least, mut most) = (10, 5000);
    for _ in 0..20_000 {
        let span = spread(&mut random, 25.0);
        let now = time.clock().now();
        let adaptive = timeout.adaptive.get().unwrap();
        match random.random_range(0..4) {
            0 | 1 => adaptive.completed(span, now, &timeout.attempt),
            _ => adaptive.cut_off(span, now, &timeout.attempt),
        }
        time.advance(Duration::from_millis(random.random_range(0..100)));
        if random.random_bool(0.01) {
            (least, most) = (random.random_range(1..3000), random.random_range(3000..20_000));
            let (percentile, factor) = (random.random_range(1.0..99.9), random.random_range(1.0..100.0));
            let bounds = adaptive_config(MS(least), MS(most)).percentile(percentile).factor(factor);
            timeout.reconfigure(bounds).unwrap();
        }
        let seen = limit(&timeout);
        assert!((MS(least)..=MS(most)).contains(&seen), "{seen:?} outside of {least} to {most} ms");
    }
}

fn adaptive_config(min: Duration, max: Duration) -> Config {
    Config::default().adaptive(true).min_samples(10).min(min).max(max)
}

#[test]
fn all_contradictory_settings_are_reported_together() {
    // T127
    let (_, timeout) = fixture(Config::default());
    let refused = |config: Config| timeout.reconfigure(config).unwrap_err().to_string();
    for percentile in [0.0, 100.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(refused(adaptive().percentile(percentile)).contains("1 to 99.9 percent"));
    }
    for factor in [0.0, 0.99, -2.0, f64::NAN, f64::INFINITY, 101.0] {
        assert!(refused(adaptive().factor(factor)).contains("`factor` = "));
    }
    let second = Duration::from_secs(1);
    let crossed = refused(adaptive().min(2 * second).max(second));
    assert_eq!(crossed, "`min` = 2s is invalid: must be at most max = 1s");
    assert!(refused(adaptive().window(9 * second)).contains("at least twice max = 5s"));
    assert!(
        refused(adaptive().total(MS(5)).attempt(MS(5)))
            .contains("`min` = 10ms is invalid: must be at most total = 5ms")
    );
    assert!(refused(adaptive().attempt(6 * second)).contains("from min = 10ms to max = 5s"));
    assert!(refused(adaptive().min(Duration::ZERO)).contains("more than 0"));
    assert!(refused(adaptive().max(Duration::MAX)).contains("at most 24 h"));
    assert!(refused(adaptive().min_samples(0)).contains("10 to 1000000"));
    let all = adaptive().percentile(0.0).factor(0.0).min(2 * second).max(second).min_samples(1);
    assert_eq!(timeout.reconfigure(all).unwrap_err().problems().len(), 4);
    assert_eq!(timeout.config().as_ref(), &Config::default(), "none of them was applied");
    // If it is not adaptive, these settings are not checked against each other.
    timeout.reconfigure(Config::default().total(MS(5))).unwrap();
}

// Simulations in virtual time --------------------------------------------------------------------------------

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("down")]
    Down,
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// The behavior of the service.
#[derive(Clone, Copy)]
enum Service {
    /// Responds after this many milliseconds, plus or minus 20 %.
    Answers(u64),
    /// Responds after this many milliseconds, but one in ten responses takes ten times as long.
    IsUneven(u64),
    Fails,
    Hangs,
}

struct Simulation {
    registry: Registry,
    pipeline: Rc<Pipeline>,
    service: Rc<Cell<Service>>,
    succeeded: Rc<Cell<u32>>,
}

impl Simulation {
    fn new() -> Self {
        let registry = Registry::with_seed(Clock::tokio(), 7);
        let config =
            Config::default().adaptive(true).min(MS(50)).max(Duration::from_secs(30)).attempt(MS(2000));
        registry.timeout("t").reconfigure(config).unwrap();
        let pipeline = Rc::new(registry.pipeline("p").timeout("t").build());
        let service = Rc::new(Cell::new(Service::Answers(100)));
        Self { registry, pipeline, service, succeeded: Rc::default() }
    }

    fn limit(&self) -> Duration {
        limit(&self.registry.timeout("t"))
    }

    /// Makes ten calls per second for this many seconds. Returns the number of successes.
    async fn run(&self, service: Service, seconds: u64) -> u32 {
        self.service.set(service);
        self.succeeded.set(0);
        let mut random = SmallRng::seed_from_u64(seconds);
        for number in 0..seconds * 10 {
            let (pipeline, service) = (Rc::clone(&self.pipeline), self.service.get());
            let (succeeded, spread) = (Rc::clone(&self.succeeded), random.random_range(0.8..1.2));
            tokio::task::spawn_local(async move {
                let answer = async || match service {
                    Service::Answers(millis) => {
                        tokio::time::sleep(MS(millis).mul_f64(spread)).await;
                        Ok(())
                    }
                    Service::IsUneven(millis) => {
                        let times = if number % 10 == 0 { 10 } else { 1 };
                        tokio::time::sleep(MS(millis * times)).await;
                        Ok(())
                    }
                    Service::Fails => Err(Error::Down),
                    Service::Hangs => std::future::pending().await,
                };
                if pipeline.call_async(answer).await.is_ok() {
                    succeeded.set(succeeded.get() + 1);
                }
            });
            tokio::time::sleep(MS(100)).await;
        }
        self.succeeded.get()
    }
}

async fn simulated<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    tokio::task::LocalSet::new().run_until(test()).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_outage_does_not_lower_the_limit_and_raises_it_slowly() {
    // T72
    simulated(async || {
        let simulation = Simulation::new();
        assert!(simulation.run(Service::Answers(100), 120).await >= 1195);
        let before = simulation.limit();
        assert!((MS(165)..=MS(185)).contains(&before), "P95 of 80 to 120 ms, times 1.5: {before:?}");
        for (service, minutes) in [(Service::Answers(20_000), 5), (Service::Hangs, 5)] {
            for minute in 1..=minutes {
                simulation.run(service, 60).await;
                let (seen, most) = (simulation.limit(), before.mul_f64(1.5_f64.powi(minute + 1)));
                assert!(seen >= before, "{seen:?} in minute {minute}");
                // Tolerance: 1 % for the buckets and 1 ms for the timers of tokio, each time.
                assert!(seen <= most.mul_f64(1.05), "{seen:?} in minute {minute}, at most {most:?}");
            }
            // Within one window after the outage all calls succeed, and the limit is as before.
            assert!(simulation.run(Service::Answers(100), 90).await >= 850);
            let after = simulation.limit();
            assert!((MS(165)..=MS(185)).contains(&after), "{after:?}");
        }
        let stats = simulation.registry.timeout("t").stats();
        assert_eq!(stats.total_timeouts, 0);
        assert!(stats.attempt_timeouts >= 5900, "{stats:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_with_fast_failures_does_not_change_the_limit() {
    // T72
    simulated(async || {
        let simulation = Simulation::new();
        simulation.run(Service::Answers(100), 120).await;
        let before = simulation.limit();
        simulation.run(Service::Fails, 300).await;
        assert_eq!(simulation.limit(), before);
        assert!(simulation.run(Service::Answers(100), 10).await >= 95);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_limit_adapts_to_a_permanently_slower_service() {
    simulated(async || {
        let simulation = Simulation::new();
        simulation.run(Service::Answers(100), 120).await;
        simulation.run(Service::Answers(700), 360).await;
        let succeeded = simulation.run(Service::Answers(700), 60).await;
        assert!(succeeded >= 590, "{succeeded} of 600");
        let after = simulation.limit();
        assert!((MS(1150)..=MS(1300)).contains(&after), "P95 of 560 to 840 ms, times 1.5: {after:?}");
        simulation.run(Service::Answers(100), 90).await;
        assert!((MS(165)..=MS(185)).contains(&simulation.limit()), "and back");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn fast_attempts_do_not_hide_slow_ones() {
    // T72
    simulated(async || {
        let simulation = Simulation::new();
        simulation.run(Service::Answers(100), 120).await;
        assert!(simulation.run(Service::IsUneven(100), 60).await <= 540, "a tenth times out");
        simulation.run(Service::IsUneven(100), 360).await;
        let succeeded = simulation.run(Service::IsUneven(100), 60).await;
        assert!(succeeded >= 590, "{succeeded} of 600");
        let after = simulation.limit();
        assert!((MS(1480)..=MS(1530)).contains(&after), "P95 of 1 s, times 1.5: {after:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_not_a_timeout_but_is_recorded_as_longer() {
    // T68
    let registry = Registry::with_clock(Clock::tokio());
    registry.timeout("t").reconfigure(adaptive()).unwrap();
    let pipeline = registry.pipeline("p").timeout("t").build();
    let by_hand = registry.timeout("t");
    for _ in 0..3 {
        let work = async || -> Outcome { std::future::pending().await };
        assert!(tokio::time::timeout(MS(20), pipeline.call_async(work)).await.is_err());
        assert!(tokio::time::timeout(MS(20), by_hand.call_async(work)).await.is_err());
    }
    let (calls, stats) = (pipeline.stats(), by_hand.stats());
    assert_eq!((calls.cancelled, calls.timed_out, calls.failed), (3, 0, 0));
    assert_eq!((stats.total_timeouts, stats.attempt_timeouts), (0, 0));
    let known = stats.adaptive.unwrap();
    assert_eq!((known.samples, known.censored), (6, 6));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_recorded_once_for_any_combination_of_stages() {
    let registry = Registry::with_seed(Clock::tokio(), 7);
    registry.timeout("t").reconfigure(adaptive().attempt(MS(100))).unwrap();
    let fast = retry::Config::default().base(Duration::ZERO).budget_reserve(1e6);
    registry.retry("r").reconfigure(fast).unwrap();
    let stages =
        || registry.pipeline("p").retry("r").circuit_breaker("c").bulkhead("b").timeout("t").idempotent();
    let seen = || {
        let known = registry.timeout("t").stats().adaptive.unwrap();
        (known.samples, known.censored)
    };
    let attempts = Cell::new(0);
    let work = async || -> Result<(), Error> {
        attempts.set(attempts.get() + 1);
        match attempts.get() {
            // Times out, fails, succeeds.
            1 => std::future::pending().await,
            2 => Err(Error::Down),
            _ => Ok(()),
        }
    };
    assert!(stages().build().call_async(work).await.is_ok());
    assert_eq!(seen(), (2, 1));
    attempts.set(10);
    let hedged = stages().hedge("h").build();
    assert!(hedged.call_async(work).await.is_ok());
    assert_eq!(seen(), (3, 1), "the attempt, not the call");
    registry.hedge("h").reconfigure(crate::hedge::Config::default().after(MS(10))).unwrap();
    attempts.set(0);
    let slow_first = async || -> Result<(), Error> {
        attempts.set(attempts.get() + 1);
        if attempts.get() == 1 { std::future::pending().await } else { Ok(()) }
    };
    assert!(hedged.call_async(slow_first).await.is_ok());
    assert_eq!(seen(), (5, 2), "the losing attempt is recorded as longer");
}

#[test]
fn an_attempt_dropped_after_any_number_of_polls_is_recorded_at_most_once() {
    // T146
    for polls in 0..8 {
        let time = ManualClock::new();
        let registry = Registry::with_clock(time.clock());
        registry.timeout("t").reconfigure(adaptive()).unwrap();
        let pipeline = registry.pipeline("p").retry("r").bulkhead("b").timeout("t").build();
        let attempts = Cell::new(0);
        let mut call = Box::pin(pipeline.call_async(async || -> Outcome {
            attempts.set(attempts.get() + 1);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            Ok(1)
        }));
        let mut cx = Context::from_waker(Waker::noop());
        let ended = (0..polls).any(|_| {
            time.advance(MS(4));
            call.as_mut().poll(&mut cx).is_ready()
        });
        drop(call);
        let known = registry.timeout("t").stats().adaptive.unwrap();
        assert_eq!((known.samples, known.censored), (attempts.get(), u64::from(polls > 0 && !ended)));
        assert_eq!((time.timers(), registry.bulkhead("b").stats().in_use), (0, 0));
    }
}
