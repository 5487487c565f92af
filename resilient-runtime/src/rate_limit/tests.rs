use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::registry::Registry;

const MS: Duration = Duration::from_millis(1);

fn limiter(config: Config) -> (ManualClock, Arc<RateLimiter>) {
    let time = ManualClock::new();
    let limiter = Registry::with_clock(time.clock()).rate_limiter("r");
    limiter.reconfigure(config).unwrap();
    (time, limiter)
}

fn rate(text: &str) -> Config {
    Config::default().rate(text.parse::<Rate>().unwrap())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn admitted(limiter: &RateLimiter, calls: u32) -> u32 {
    (0..calls).map(|_| u32::from(limiter.try_acquire().is_ok())).sum()
}

#[test]
fn the_first_calls_and_those_after_a_long_idle_time_are_as_many_as_configured() {
    // T87
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let (time, limiter) = limiter(rate("10/s").algorithm(algorithm));
        assert_eq!(admitted(&limiter, 100), 10, "{algorithm:?}");
        time.advance(Duration::from_hours(10_000));
        assert_eq!(admitted(&limiter, 100), 10, "{algorithm:?}");
    }
}

#[test]
fn five_answers_to_a_check() {
    let (time, limiter) = limiter(rate("10/s").burst(2u32));
    let first = limiter.check();
    let expected =
        Decision { allowed: true, limit: 2, remaining: 1, retry_after: None, reset_after: MS * 100 };
    assert_eq!(first, expected);
    limiter.check();
    let refused = limiter.check();
    assert_eq!((refused.allowed, refused.remaining), (false, 0));
    assert_eq!((refused.retry_after, refused.reset_after), (Some(MS * 100), MS * 200));
    time.advance(MS * 100);
    assert!(limiter.check().allowed);
    assert!(limiter.check_weighted(0).allowed, "only looks");
}

#[test]
fn a_call_that_weighs_more_than_the_limit_is_refused_at_once() {
    // T89
    let (_, limiter) = limiter(rate("10/s").burst(5u32).max_wait(MS * 60_000));
    let refused = limiter.check_weighted(6);
    assert_eq!((refused.allowed, refused.retry_after), (false, None));
    let mut turn = pin!(limiter.turn(Request::ONE.with_weight(6), Instant::NEVER));
    assert!(matches!(poll(turn.as_mut()), Poll::Ready(Err(rejection)) if rejection.retry_after().is_none()));
    assert!(limiter.check_weighted(5).allowed);
}

#[test]
fn chained_limits_give_the_first_token_back_when_the_second_refuses() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    let (wide, narrow) = (registry.rate_limiter("wide"), registry.rate_limiter("narrow"));
    wide.reconfigure(rate("10/s")).unwrap();
    narrow.reconfigure(rate("1/s")).unwrap();
    assert_eq!(RateLimiter::try_acquire_all(&[&wide, &narrow]).unwrap().len(), 2);
    let refused = RateLimiter::try_acquire_all(&[&wide, &narrow]).unwrap_err();
    assert_eq!((refused.component(), refused.kind()), ("narrow", RejectionKind::RateLimited));
    assert_eq!(wide.stats().remaining, 9);
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let (time, limiter) = limiter(rate("3/s").algorithm(algorithm));
        time.advance(MS * 10_050);
        let tokens: Vec<_> = (0..3).map(|_| limiter.try_acquire().unwrap()).collect();
        assert!(limiter.try_acquire().is_err());
        time.advance(MS * 150);
        tokens.into_iter().for_each(Token::give_back);
        assert_eq!(admitted(&limiter, 9), 3, "{algorithm:?}");
        let keyed = limiter.try_acquire_key("k").unwrap();
        keyed.give_back();
        assert_eq!(limiter.check_key_weighted("k", 0).remaining, 3, "{algorithm:?}");
    }
}

#[test]
fn a_live_change_keeps_what_was_counted() {
    // T117
    let (time, limiter) = limiter(rate("10/s"));
    assert_eq!(admitted(&limiter, 8), 8);
    limiter.reconfigure(rate("20/s").burst(10u32)).unwrap();
    assert_eq!(admitted(&limiter, 10), 2, "2 of 10 were left");
    time.advance(MS * 50);
    assert_eq!(admitted(&limiter, 10), 1, "at the new rate");
    limiter.reconfigure(Config::default()).unwrap();
    assert_eq!(admitted(&limiter, 1000), 1000, "without a rate nothing is limited");
    limiter.reconfigure(rate("1/s")).unwrap();
    assert_eq!(admitted(&limiter, 10), 1);
}

#[test]
fn a_clock_that_steps_back_neither_freezes_nor_gives_a_burst_away() {
    // T88
    fn check(meter: &mut impl meter::Meter, rule: Rule) {
        const HOUR: u64 = 3_600_000_000_000;
        let mut take = |now: u64| (0..100).filter(|_| meter.take(rule, now, 1).is_ok()).count();
        assert_eq!(take(10 * HOUR), 10, "{rule:?}");
        assert_eq!(take(9 * HOUR), 0, "no burst, {rule:?}");
        let freed = take(9 * HOUR + 2_000_000_000) + take(10 * HOUR + 2_000_000_000);
        assert!((10..=20).contains(&freed), "not frozen: {freed}, {rule:?}");
    }
    let rule = |algorithm| Rule::of(&rate("10/s").algorithm(algorithm));
    check(&mut meter::Cell::default(), rule(Algorithm::TokenBucket));
    check(&mut meter::Window::default(), rule(Algorithm::SlidingWindow));
    check(&mut meter::Log::default(), rule(Algorithm::SlidingLog));
}

/// Every call that was admitted, and when: slow and obvious.
#[derive(Default)]
struct Model(VecDeque<(u64, u32)>);

impl Model {
    fn within(&self, from: u64, to: u64) -> u32 {
        self.0.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, weight)| weight).sum()
    }
}

fn bound(algorithm: Algorithm) -> u32 {
    match algorithm {
        // The burst, and what comes in a window.
        Algorithm::TokenBucket => 20,
        _ => 10,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_interval_of_a_window_has_more_than_the_bound(
        steps in prop::collection::vec((0_u64..400, 1_u32..4), 1..200),
        which in 0_usize..3,
        key in 0_u8..2,
    ) {
        // T85
        let algorithm = [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::SlidingLog][which];
        let (time, limiter) = limiter(rate("10/s").algorithm(algorithm));
        let (mut model, mut now) = (Model::default(), 0);
        for (millis, weight) in steps {
            time.advance(MS * u32::try_from(millis).unwrap());
            now += millis;
            let decision = match key {
                0 => limiter.check_weighted(weight),
                _ => limiter.check_key_weighted("k", weight),
            };
            let in_window = model.within((now + 1).saturating_sub(1000), now + 1);
            if decision.allowed {
                model.0.push_back((now, weight));
                prop_assert!(in_window + weight <= bound(algorithm));
            } else {
                // Refused only for a reason, and the wait that was told is enough and not absurd.
                let wait = decision.retry_after.unwrap();
                prop_assert!(wait > Duration::ZERO && wait <= MS * 1100, "{wait:?}");
                if algorithm == Algorithm::SlidingLog {
                    prop_assert!(in_window + weight > 10);
                }
                let before = model.within(now.saturating_sub(1100), now + 1);
                prop_assert!(before + weight > 10, "{before} in the last 1.1 s");
            }
            prop_assert!(decision.remaining <= decision.limit);
        }
    }

    #[test]
    fn who_waits_as_long_as_told_is_admitted(calls in 1_u32..40, weight in 1_u32..5, which in 0_usize..3) {
        let algorithm = [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::SlidingLog][which];
        let (time, limiter) = limiter(rate("10/s").algorithm(algorithm));
        for _ in 0..calls {
            let decision = limiter.check_weighted(weight);
            if let Some(wait) = decision.retry_after {
                time.advance(wait);
                prop_assert!(limiter.check_weighted(weight).allowed, "{algorithm:?} after {wait:?}");
            }
            time.advance(MS * 13);
        }
    }
}

#[test]
fn under_constant_demand_hardly_less_than_the_rate_is_admitted() {
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
fn a_million_keys_take_bounded_memory_and_the_active_are_not_forgotten() {
    // T90
    let (time, limiter) = limiter(rate("2/min").max_keys(100_000u32));
    let hot: Vec<u32> = (0..100).collect();
    for key in &hot {
        assert!(limiter.check_key_weighted(key, 2).allowed);
    }
    let mut refused_new = 0;
    for key in 1000..1_001_000_u32 {
        refused_new += u32::from(!limiter.check_key(&key).allowed);
        if key % 100_000 == 0 {
            time.advance(MS);
            let again = hot.iter().filter(|key| limiter.check_key(*key).allowed).count();
            assert_eq!(again, 0, "a hot key got its limit back");
        }
    }
    let stats = limiter.stats();
    assert!(stats.keys <= 201_000, "{stats:?}");
    assert!(stats.overflows > 0);
    assert!(refused_new < 1_000_000, "not all of the new are refused");
    // What is idle makes place.
    time.advance(Duration::from_mins(2));
    assert!((2_000_000..2_010_000_u32).all(|key| limiter.check_key(&key).allowed));
}

#[test]
fn keys_within_the_bound_hardly_ever_share() {
    let (_, limiter) = limiter(rate("1/h").max_keys(100_000u32));
    let refused = (0..100_000_u32).filter(|key| !limiter.check_key(key).allowed).count();
    assert!(refused < 100, "{refused}");
    let long = "x".repeat(1 << 20);
    assert!(limiter.check_key(&long).allowed && !limiter.check_key(&long).allowed);
    assert!(limiter.check_key("").allowed, "an empty key is one like others");
}

#[test]
fn a_key_takes_33_bytes() {
    let of = |ways: usize| {
        2 * ways * (size_of::<keyed::Key>() + size_of::<meter::Cell>()) + 2 * size_of::<meter::Cell>()
    };
    // 16 keys: 32 places, and two meters to share.
    assert!(of(16) / 16 <= 48, "{}", of(16));
}

#[test]
fn who_waits_gets_the_turn_in_the_order_of_arrival() {
    let (time, limiter) = limiter(rate("10/s").algorithm(Algorithm::LeakyBucket).max_wait(MS * 1000));
    let mut turns: Vec<_> = (0..5).map(|_| Box::pin(limiter.acquire())).collect();
    let mut ready = Vec::new();
    for _ in 0..5 {
        // The last is asked first.
        for (number, turn) in turns.iter_mut().enumerate().rev() {
            if !ready.contains(&number) && poll(turn.as_mut()).is_ready() {
                ready.push(number);
            }
        }
        time.advance(MS * 100);
    }
    assert_eq!(ready, [4, 3, 2, 1, 0], "they arrived in the order in which they were first asked");
    assert_eq!((limiter.stats().queued, limiter.stats().waited), (0, 4));
}

#[test]
fn a_turn_that_is_given_up_goes_to_the_next() {
    let (time, limiter) = limiter(rate("10/s").algorithm(Algorithm::LeakyBucket).max_wait(MS * 1000));
    assert!(limiter.try_acquire().is_ok());
    let (mut first, mut second) = (Box::pin(limiter.acquire()), Box::pin(limiter.acquire()));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    drop(first);
    time.advance(MS * 100);
    assert!(poll(second.as_mut()).is_ready());
    assert!(limiter.try_acquire().is_err(), "and only one of them came");
}

#[test]
fn nobody_overtakes_who_waits_for_the_same_key() {
    let (time, limiter) = limiter(rate("10/s").burst(1u32).max_wait(MS * 1000));
    assert!(limiter.try_acquire().is_ok());
    let mut waiting = Box::pin(limiter.acquire());
    assert!(poll(waiting.as_mut()).is_pending());
    assert!(limiter.check_key("other").allowed);
    time.advance(MS * 100);
    let refused = limiter.try_acquire().unwrap_err();
    assert!(refused.retry_after().unwrap() >= MS * 100, "{refused}");
    assert!(poll(waiting.as_mut()).is_ready());
}

#[test]
fn who_could_not_have_a_turn_in_time_does_not_wait() {
    let config = rate("10/s").algorithm(Algorithm::LeakyBucket).max_wait(MS * 250).max_queue(3u32);
    let (_, limiter) = limiter(config.clone());
    let mut turns: Vec<_> = (0..6).map(|_| Box::pin(limiter.acquire())).collect();
    let polls: Vec<_> = turns.iter_mut().map(|turn| poll(turn.as_mut())).collect();
    let ready = polls.iter().filter(|poll| poll.is_ready()).count();
    assert_eq!(ready, 4, "one at once, two wait, three are refused");
    let Poll::Ready(Err(refused)) = &polls[5] else { panic!("the last waits") };
    assert!(refused.retry_after().unwrap() > MS * 250);
    drop(polls);
    drop(turns);
    limiter.reconfigure(config.max_wait(MS * 60_000)).unwrap();
    let mut turns: Vec<_> = (0..9).map(|_| Box::pin(limiter.acquire())).collect();
    let waiting = turns.iter_mut().filter_map(|turn| poll(turn.as_mut()).is_pending().then_some(())).count();
    assert_eq!(waiting, 3, "the line is bounded");
}

#[test]
fn dropped_at_any_poll_the_line_is_as_before() {
    // T146
    for polls in 0..4 {
        let (time, limiter) = limiter(rate("10/s").burst(1u32).max_wait(MS * 1000));
        assert!(limiter.try_acquire().is_ok());
        let mut waiting = Box::pin(limiter.acquire());
        for _ in 0..polls {
            assert!(poll(waiting.as_mut()).is_pending());
        }
        drop(waiting);
        assert_eq!((limiter.stats().queued, time.timers()), (0, 0));
        time.advance(MS * 100);
        assert!(limiter.try_acquire().is_ok());
    }
}

#[test]
fn a_blocked_thread_has_its_turn_too() {
    let limiter = Registry::with_clock(Clock::system()).rate_limiter("r");
    limiter.reconfigure(rate("200/s").algorithm(Algorithm::LeakyBucket).max_wait(MS * 60_000)).unwrap();
    let began = Clock::system();
    let start = began.now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!((0..5).all(|_| limiter.acquire_blocking().is_ok())));
        }
    });
    assert!(began.now().since(start) >= MS * 95, "19 intervals of 5 ms");
    assert_eq!(limiter.stats().queued, 0);
}

#[test]
fn threads_take_no_more_than_there_is() {
    // T156
    let (_, limiter) = limiter(rate("1000/h"));
    let sum: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| admitted(&limiter, 1000))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sum, 1000);
    assert_eq!(limiter.stats().rejected, 7000);
}

#[test]
fn bad_settings_are_refused() {
    let limiter = Registry::new().rate_limiter("r");
    let bad = rate("20000/s").algorithm(Algorithm::SlidingLog).burst(0u32).max_wait(Duration::ZERO);
    let error = limiter.reconfigure(bad.max_queue(0u32).max_keys(0u32)).unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["burst", "burst", "max_wait", "max_queue", "max_keys", "rate"]);
    let error = limiter.reconfigure(rate("1/s").algorithm(Algorithm::LeakyBucket)).unwrap_err();
    assert!(error.to_string().contains("wait for their turn"), "{error}");
}
