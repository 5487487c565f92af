//! The delay before the next attempt, computed from the number of the retry and a random fraction.

use std::time::Duration;

use serde::Serialize;

use super::Config;
use crate::ratio::Ratio;
use crate::settings::words;

/// How the delay grows from retry to retry.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Component, Ratio, Registry, clock::ManualClock, retry::{Backoff, Config}};
///
/// let time = ManualClock::new();
/// let retry = Registry::with_clock(time.clock()).retry("stock");
/// let linear = Config::default().backoff(Backoff::Linear).base(Duration::from_secs(1)).jitter(Ratio::ZERO);
/// retry.reconfigure(linear).unwrap();
/// let before = time.clock().now();
/// retry.call(|| None::<u32>);
/// assert_eq!(time.clock().now().since(before), Duration::from_secs(1 + 2 + 3));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Backoff {
    /// `base`, `base * factor`, `base * factor^2`, ..
    #[default]
    Exponential,
    /// `base` each time.
    Constant,
    /// `base`, `2 * base`, `3 * base`, ..
    Linear,
    /// `base` times 1, 1, 2, 3, 5, 8, ..
    Fibonacci,
    /// A random delay between `base` and three times the previous delay; it ignores `jitter`. This is "decorrelated
    /// jitter" (M. Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015).
    Decorrelated,
}

words! {
    Backoff {
        "exponential" = Exponential,
        "constant" = Constant,
        "linear" = Linear,
        "fibonacci" = Fibonacci,
        "decorrelated" = Decorrelated,
    }
}

/// Returns the delay before retry `number` (from 1). `previous` is the delay before that; `random` is in `[0, 1)`.
///
/// The cap is applied before the jitter, so that the delays of clients at the cap stay spread. The interval of the
/// jitter ends at the cap, so that no delay exceeds it.
pub(super) fn delay(config: &Config, number: u32, previous: Duration, random: f64) -> Duration {
    let base = config.base.as_secs_f64();
    let cap = config.longest_delay().as_secs_f64();
    let exponent = number.saturating_sub(1).min(i32::MAX as u32).cast_signed();
    let grown = match config.backoff {
        // Limited to a finite value, because a zero base times infinity would be NaN.
        Backoff::Exponential => base * config.factor.powi(exponent).min(f64::MAX),
        Backoff::Constant => base,
        Backoff::Linear => base * f64::from(number),
        Backoff::Fibonacci => base * fibonacci(number).min(f64::MAX),
        Backoff::Decorrelated => {
            let ceiling = (previous.as_secs_f64().max(base) * 3.0).min(cap);
            return seconds(base.min(cap) + (ceiling - base.min(cap)) * random, cap);
        }
    };
    seconds(jittered(grown.min(cap), cap, config.jitter, random), cap)
}

/// Draws uniformly between `delay * (1 - jitter)` and `delay * (1 + jitter)`, limited to the cap.
fn jittered(delay: f64, cap: f64, jitter: Ratio, random: f64) -> f64 {
    let low = delay * (1.0 - jitter.get());
    let high = (delay * (1.0 + jitter.get())).min(cap);
    low + (high - low) * random
}

fn seconds(span: f64, cap: f64) -> Duration {
    Duration::try_from_secs_f64(span.clamp(0.0, cap)).unwrap_or_default()
}

/// 1, 1, 2, 3, 5, ..; infinite for large numbers, which the cap then limits.
fn fibonacci(number: u32) -> f64 {
    let (mut current, mut next) = (1.0, 1.0);
    for _ in 1..number.min(2000) {
        (current, next) = (next, current + next);
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn plain(backoff: Backoff) -> Config {
        Config::default().backoff(backoff).base(MS(100)).max_delay(MS(1000)).jitter(Ratio::ZERO)
    }

    fn first(config: &Config, count: u32) -> Vec<u64> {
        (1..=count).map(|n| delay(config, n, Duration::ZERO, 0.3).as_millis().try_into().unwrap()).collect()
    }

    const ALL: [Backoff; 5] =
        [Backoff::Exponential, Backoff::Constant, Backoff::Linear, Backoff::Fibonacci, Backoff::Decorrelated];

    #[test]
    fn each_kind_grows_up_to_the_cap() {
        assert_eq!(first(&plain(Backoff::Exponential), 5), [100, 200, 400, 800, 1000]);
        assert_eq!(first(&plain(Backoff::Exponential).factor(3.0), 4), [100, 300, 900, 1000]);
        assert_eq!(first(&plain(Backoff::Constant), 3), [100, 100, 100]);
        assert_eq!(first(&plain(Backoff::Linear), 3), [100, 200, 300]);
        assert_eq!(first(&plain(Backoff::Fibonacci), 7), [100, 100, 200, 300, 500, 800, 1000]);
    }

    #[test]
    fn a_zero_base_gives_no_delay() {
        // T29
        for backoff in ALL {
            let config = plain(backoff).base(Duration::ZERO).factor(100.0);
            for number in [1, 155, 1000, u32::MAX] {
                assert_eq!(
                    delay(&config, number, Duration::ZERO, 0.5),
                    Duration::ZERO,
                    "{backoff:?} {number}"
                );
            }
        }
    }

    #[test]
    fn a_thousand_clients_at_the_cap_stay_spread() {
        // T28
        let config = Config::default().jitter(Ratio::HALF);
        let random = crate::random::Random::new(Some(1));
        let mut delays: Vec<_> =
            (0..1000).map(|_| delay(&config, 50, Duration::ZERO, random.share())).collect();
        delays.sort();
        delays.dedup();
        assert!(delays.len() > 900, "{} distinct delays", delays.len());
        assert!(delays[0] < MS(2700) && delays[delays.len() - 1] > MS(4800), "spread over half the cap");
    }

    #[test]
    fn jitter_spreads_to_both_sides_below_the_cap() {
        let config = Config::default().base(MS(100)).jitter(Ratio::HALF);
        assert_eq!(delay(&config, 1, Duration::ZERO, 0.0), MS(50));
        assert!(delay(&config, 1, Duration::ZERO, 0.999_999) > MS(149));
    }

    #[test]
    fn decorrelated_stays_between_the_base_and_three_times_the_delay_before() {
        let config = plain(Backoff::Decorrelated);
        assert_eq!(delay(&config, 3, MS(200), 0.0), MS(100));
        assert!(delay(&config, 3, MS(200), 0.999_999) > MS(599));
        assert!(delay(&config, 3, MS(900), 0.999_999) <= MS(1000));
    }

    proptest! {
        #[test]
        fn every_delay_is_finite_and_at_most_the_cap(
            number in prop_oneof![1..10u32, Just(1_000_000), Just(u32::MAX)],
            base in 0..u64::MAX / 2,
            cap in 0..u64::MAX / 2,
            factor in 1.0..1e9f64,
            kind in 0..5usize,
            random in 0.0..1.0f64,
        ) {
            // T29
            let config = Config::default()
                .backoff(ALL[kind])
                .base(Duration::from_nanos(base))
                .max_delay(Duration::from_nanos(cap))
                .factor(factor);
            let delay = delay(&config, number, Duration::from_nanos(base), random);
            // Floating point loses one part in 10^15.
            prop_assert!(delay.as_secs_f64() <= config.longest_delay().as_secs_f64() * (1.0 + 1e-12));
        }
    }
}
