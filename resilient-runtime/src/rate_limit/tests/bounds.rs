//! Checks what each algorithm admits against a log of every call.

use crate::settings::ConfigError;
use proptest::prelude::*;

use super::*;

const NS: Duration = Duration::from_nanos(1);

const ALL: [Algorithm; 4] =
    [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::SlidingLog, Algorithm::LeakyBucket];

/// One step of a test.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Time that passes before the call, as a share of the window.
    passes: f64,
    weight: u32,
    /// The call does not run, and its tokens are returned after this number of steps.
    given_back_after: Option<usize>,
}

fn step() -> impl Strategy<Value = Step> {
    // Bursts, single nanoseconds, occasional calls, and about a window.
    let passes = prop_oneof![
        6 => Just(0.0),
        4 => 0.0..0.02,
        4 => 0.0..0.3,
        1 => 0.95..1.2,
    ];
    (passes, 1_u32..4, prop::option::weighted(0.2, 0_usize..12))
        .prop_map(|(passes, weight, given_back_after)| Step { passes, weight, given_back_after })
}

#[derive(Debug)]
struct Setup {
    config: Config,
    rule: Rule,
    phase: u64,
    key: RateKey,
}

fn setup() -> impl Strategy<Value = Setup> {
    let rate = (1_u32..40, 1_000_u64..2_000_000_000);
    (0..ALL.len(), rate, 1_u32..30, 0_u64..3_000_000_000, 0_u64..2).prop_map(
        |(which, (count, nanos), burst, phase, key)| {
            let rate = Rate::new(count, Duration::from_nanos(nanos.max(u64::from(count) * 100))).unwrap();
            let mut config = Config::default().rate(rate).algorithm(ALL[which]);
            match ALL[which] {
                Algorithm::TokenBucket => config = config.burst(burst),
                Algorithm::LeakyBucket => config = config.max_wait(MS),
                _ => {}
            }
            let rule = Rule::of(&config);
            Setup { config, rule, phase, key }
        },
    )
}

/// The calls that ran, with their time in nanoseconds: slow and obvious.
#[derive(Debug, Default)]
struct Log(Vec<(u64, u32)>);

impl Log {
    /// Returns the most calls in any interval of this length. It is enough to check the intervals that end with a
    /// call.
    fn most_within(&self, window: u64) -> u32 {
        let until = |end: u64| {
            let inside = self.0.iter().filter(|(at, _)| *at <= end && end - *at < window);
            inside.map(|(_, weight)| *weight).sum()
        };
        self.0.iter().map(|(end, _)| until(*end)).max().unwrap_or(0)
    }

    /// Returns by how many calls any interval exceeds `burst` plus one per `interval`.
    fn excess(&self, burst: u32, interval: u64) -> i64 {
        let mut most = i64::MIN;
        for (first, (begin, _)) in self.0.iter().enumerate() {
            let mut sum = 0;
            for (end, weight) in &self.0[first..] {
                sum += u64::from(*weight);
                let fits = u64::from(burst) + (end - begin) / interval;
                most = most.max(i64::try_from(sum).unwrap() - i64::try_from(fits).unwrap());
            }
        }
        most
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// T85: in any interval, with any weights, and with tokens returned at any time.
    #[test]
    fn no_interval_has_more_calls_than_the_algorithm_states(
        setup in setup(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let Setup { config, rule, phase, key } = setup;
        let (time, limiter) = limiter(config);
        time.advance(Duration::from_nanos(phase));
        let mut log = Log::default();
        // Tokens to return: the step, the request, the mark, and the index of the call.
        let mut held: Vec<(usize, Request, Instant, usize)> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            time.advance(Duration::from_nanos(share(rule.window, step.passes)));
            let due = held.extract_if(.., |(at, ..)| *at <= number).collect::<Vec<_>>();
            for (_, request, mark, index) in due {
                limiter.give_back(request, mark);
                log.0[index].1 = 0;
            }
            let (request, now) = (Request::of(key, step.weight), limiter.core.clock().now());
            match limiter.try_take(request, now) {
                Ok(mark) => {
                    if let Some(steps) = step.given_back_after {
                        held.push((number + steps, request, mark, log.0.len()));
                    }
                    log.0.push((now.as_nanos(), step.weight));
                }
                Err(wait) => prop_assert_eq!(wait.is_none(), step.weight > rule.burst),
            }
        }
        match rule.algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => {
                prop_assert!(log.excess(rule.burst, rule.interval) <= 0, "{log:?} of {rule:?}");
            }
            // The documented bound: never above the limit.
            Algorithm::SlidingWindow | Algorithm::SlidingLog => {
                prop_assert!(log.most_within(rule.window) <= rule.burst, "{log:?} of {rule:?}");
            }
        }
    }

    /// The fields of a `Decision`, for all algorithms, any weight, with and without a key.
    #[test]
    fn the_fields_of_a_decision_predict_the_next_calls(
        setup in setup(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let Setup { config, rule, phase, key } = setup;
        let (time, limiter) = limiter(config);
        time.advance(Duration::from_nanos(phase));
        let ask = |weight: u32| match key {
            0 => limiter.check_weighted(weight),
            _ => limiter.check_key_weighted("k", weight),
        };
        for step in steps {
            time.advance(Duration::from_nanos(share(rule.window, step.passes)));
            let before = ask(0);
            let answer = ask(step.weight);
            prop_assert_eq!((before.allowed, answer.limit), (true, rule.burst));
            prop_assert_eq!(answer.allowed, step.weight <= before.remaining, "{:?} then {:?}", before, answer);
            let taken = if answer.allowed { step.weight } else { 0 };
            prop_assert_eq!(answer.remaining, before.remaining - taken);
            prop_assert_eq!(answer.retry_after.is_some(), !answer.allowed && step.weight <= rule.burst);
            prop_assert!(answer.remaining == rule.burst || !answer.reset_after.is_zero());
            if let Some(wait) = answer.retry_after {
                prop_assert!(!wait.is_zero());
                time.advance(wait.saturating_sub(NS));
                prop_assert!(!ask(step.weight).allowed, "{:?} was too long", wait);
                time.advance(NS);
                prop_assert!(ask(step.weight).allowed, "{:?} was too short", wait);
            }
        }
        let last = ask(0);
        if !last.reset_after.is_zero() {
            time.advance(last.reset_after.saturating_sub(NS));
            prop_assert!(!ask(0).reset_after.is_zero());
            time.advance(NS);
        }
        prop_assert_eq!((ask(0).remaining, ask(0).reset_after), (rule.burst, Duration::ZERO));
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn share(of: u64, share: f64) -> u64 {
    (of as f64 * share) as u64
}

#[test]
fn under_constant_demand_almost_the_full_rate_is_admitted() {
    for (algorithm, least) in
        [(Algorithm::TokenBucket, 1000), (Algorithm::SlidingWindow, 900), (Algorithm::SlidingLog, 990)]
    {
        let (time, limiter) = limiter(rate("10/s").algorithm(algorithm));
        let mut sum = 0;
        for _ in 0..10_000 {
            sum += admitted(&limiter, 1);
            time.advance(MS * 10);
        }
        assert!((least..=1011).contains(&sum), "{algorithm:?}: {sum}");
    }
}

#[test]
fn tokens_that_are_returned_late_do_not_add_to_the_refill() {
    // T85: `burst` tokens at once plus the tokens of an hour ago would be twice the burst.
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let (time, limiter) = limiter(rate("10/s").algorithm(algorithm));
        let held: Vec<_> = (0..10).map(|_| limiter.try_acquire().unwrap()).collect();
        time.advance(Duration::from_hours(1));
        assert_eq!(admitted(&limiter, 100), 10, "{algorithm:?}");
        held.into_iter().for_each(Token::give_back);
        assert_eq!(admitted(&limiter, 100), 0, "{algorithm:?}");
    }
}

/// Extreme but valid rates and bursts.
fn extreme() -> impl Strategy<Value = Config> {
    let count =
        prop_oneof![Just(1), Just(2), Just(10_000), Just(1_000_000), Just(u32::MAX - 1), Just(u32::MAX)];
    let per = prop_oneof![
        Just(Duration::from_nanos(1)),
        Just(MS),
        Just(Duration::from_secs(1)),
        Just(Duration::from_hours(1)),
        Just(Duration::from_hours(24 * 31)),
    ];
    let burst = prop_oneof![Just(None), Just(Some(1)), Just(Some(1_000_000))];
    (0..ALL.len(), count, per, burst).prop_filter_map("invalid", |(which, count, per, burst)| {
        let mut config = Config::default().rate(Rate::new(count, per)?).algorithm(ALL[which]);
        if ALL[which] == Algorithm::TokenBucket {
            config = config.burst(burst);
        }
        // Small tables: each case creates new ones.
        config = config.max_wait(Duration::from_hours(24)).max_keys(16);
        let mut error = ConfigError::default();
        config.check(&mut error);
        error.finish().is_ok().then_some(config)
    })
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(2), 0..=u32::MAX, Just(u32::MAX - 1), Just(u32::MAX)]
}

fn jump() -> impl Strategy<Value = (bool, Duration)> {
    let span = prop_oneof![
        4 => Just(Duration::ZERO),
        2 => Just(NS),
        2 => Just(Duration::from_secs(1)),
        1 => Just(Duration::from_hours(24 * 365)),
        1 => Just(Duration::from_nanos(u64::MAX)),
        1 => Just(Duration::MAX),
    ];
    (any::<bool>(), span)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_rate_weight_or_time_overflows(
        config in extreme(),
        next in extreme(),
        steps in prop::collection::vec((weight(), jump(), 0_u64..3, any::<bool>()), 1..30),
    ) {
        let (time, limiter) = limiter(config);
        let half = steps.len() / 2;
        for (index, (weight, (back, span), key, given_back)) in steps.into_iter().enumerate() {
            if index == half {
                limiter.reconfigure(next.clone()).unwrap();
            }
            if back { time.rewind(span) } else { time.advance(span) }
            let most = limiter.stats().limit;
            let request = if key == 0 { Request::ONE } else { limiter.request(&key) }.with_weight(weight);
            match limiter.try_token(request) {
                Ok(token) if given_back => token.give_back(),
                Ok(token) => drop(token),
                Err(refused) if weight > most => prop_assert_eq!(refused.kind(), RejectionKind::WeightExceedsLimit),
                Err(refused) => prop_assert_eq!(refused.kind(), RejectionKind::RateLimited),
            }
            let decision = limiter.decide(request);
            prop_assert!(decision.remaining <= decision.limit);
            prop_assert!(!decision.allowed || weight <= most);
        }
    }
}

#[test]
fn the_largest_weight_fills_a_window_without_overflow() {
    for algorithm in [Algorithm::SlidingWindow, Algorithm::TokenBucket] {
        let (_, limiter) = limiter(rate("4294967295/h").algorithm(algorithm).burst(None));
        if algorithm == Algorithm::SlidingWindow {
            assert!(limiter.try_acquire_weighted(u32::MAX).is_ok());
            assert_eq!(
                limiter.try_acquire_weighted(u32::MAX).unwrap_err().kind(),
                RejectionKind::RateLimited
            );
            assert!(limiter.try_acquire().is_err(), "nothing is left");
            assert_eq!(limiter.check_weighted(0).remaining, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_weight_above_the_limit_is_rejected_permanently_and_at_once() {
    // T89
    use crate::classify::{Class, Classify};
    let configs = [
        rate("10/s").burst(3),
        rate("3/h").algorithm(Algorithm::SlidingWindow),
        rate("3/h").algorithm(Algorithm::SlidingLog),
    ];
    for config in configs {
        for wait in [None, Some(Duration::from_hours(1))] {
            let limiter = Registry::with_clock(Clock::tokio()).rate_limiter("rows");
            limiter.reconfigure(config.clone().max_wait(wait)).unwrap();
            let began = tokio::time::Instant::now();
            let refusals = [
                limiter.try_acquire_weighted(4).unwrap_err(),
                limiter.acquire_weighted(4).await.unwrap_err(),
                limiter.token_blocking(Request::ONE.with_weight(4)).unwrap_err(),
                limiter.token(limiter.request("key").with_weight(4)).await.unwrap_err(),
            ];
            assert_eq!(began.elapsed(), Duration::ZERO);
            for refused in refusals {
                assert_eq!(
                    (refused.kind(), refused.retry_after()),
                    (RejectionKind::WeightExceedsLimit, None)
                );
                assert_eq!(refused.classify(), Class::Permanent);
                let text = refused.to_string();
                assert!(
                    text.contains("exceeds rate limit `rows`") && text.contains("weight 4, limit 3"),
                    "{text}"
                );
            }
            assert!(limiter.try_acquire_weighted(3).is_ok(), "a call that fits is admitted");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_that_exceeds_a_lowered_limit_is_rejected() {
    // T89
    let limiter = Registry::with_clock(Clock::tokio()).rate_limiter("rows");
    let config = rate("5/h").max_wait(Duration::from_hours(20));
    limiter.reconfigure(config.clone()).unwrap();
    assert!(limiter.try_acquire_weighted(5).is_ok());
    let mut waiting = pin!(limiter.acquire_weighted(5));
    assert!(poll(waiting.as_mut()).is_pending());
    limiter.reconfigure(config.burst(2)).unwrap();
    let Poll::Ready(Err(refused)) = poll(waiting.as_mut()) else { panic!("the call waits forever") };
    assert_eq!(refused.kind(), RejectionKind::WeightExceedsLimit);
}

#[test]
fn a_disabled_limiter_limits_nothing_and_does_not_warn() {
    let (_, limiter) = limiter(rate("1/h").enabled(false));
    assert_eq!(admitted(&limiter, 100), 100);
    assert!(!limiter.lacks_rate());
    limiter.reconfigure(rate("1/h")).unwrap();
    assert_eq!(admitted(&limiter, 100), 1);
}
