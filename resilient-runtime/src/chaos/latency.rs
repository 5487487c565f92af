//! Distributions of injected latency.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::dice::Dice;
use super::problem::Problems;
use crate::settings::duration_text;

/// The longest latency that can be injected.
const LONGEST: Duration = Duration::from_hours(1);
/// The quantile of the standard normal distribution at 99 %.
const Z99: f64 = 2.326_347_874_040_841;
/// Samples are cut off at this multiple of the 99th percentile of a long tail.
const TAIL: f64 = 10.0;

/// A distribution of injected latency.
///
/// A sample is at most one hour.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::chaos::Latency;
///
/// let slow = Latency::uniform(Duration::from_millis(100)..=Duration::from_millis(300));
/// assert_eq!(slow.to_string(), "100ms to 300ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency(Shape);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Fixed(Duration),
    Uniform(Duration, Duration),
    Normal(Duration, Duration),
    LongTail(Duration, Duration),
}

impl Latency {
    /// The same latency for every call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::chaos::Latency;
    ///
    /// assert_eq!(Latency::fixed(Duration::from_millis(250)).to_string(), "250ms");
    /// ```
    pub const fn fixed(span: Duration) -> Self {
        Self(Shape::Fixed(span))
    }

    /// Evenly distributed within a range.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::chaos::Latency;
    ///
    /// let jitter = Latency::uniform(Duration::ZERO..=Duration::from_secs(1));
    /// assert_eq!(jitter.to_string(), "0s to 1s");
    /// ```
    pub const fn uniform(range: RangeInclusive<Duration>) -> Self {
        Self(Shape::Uniform(*range.start(), *range.end()))
    }

    /// Normally distributed, and never negative.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::chaos::Latency;
    ///
    /// let network = Latency::normal(Duration::from_millis(80), Duration::from_millis(20));
    /// assert_eq!(network.to_string(), "80ms on average, deviation 20ms");
    /// ```
    pub const fn normal(mean: Duration, deviation: Duration) -> Self {
        Self(Shape::Normal(mean, deviation))
    }

    /// Log-normally distributed: most calls take about `median`, and one in a hundred takes `p99` or longer.
    ///
    /// A sample is at most ten times `p99`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::chaos::Latency;
    ///
    /// let storage = Latency::long_tail(Duration::from_millis(5), Duration::from_millis(900));
    /// assert_eq!(storage.to_string(), "median 5ms, p99 900ms");
    /// ```
    pub const fn long_tail(median: Duration, p99: Duration) -> Self {
        Self(Shape::LongTail(median, p99))
    }

    /// Draws a latency. The same dice give the same latency.
    pub(super) fn sample(self, dice: &mut Dice) -> Duration {
        let seconds = match self.0 {
            Shape::Fixed(span) => return span.min(LONGEST),
            Shape::Uniform(least, most) => {
                let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
                least + (most - least) * dice.share()
            }
            Shape::Normal(mean, deviation) => mean.as_secs_f64() + deviation.as_secs_f64() * dice.normal(),
            Shape::LongTail(median, p99) => {
                let (median, p99) = (median.as_secs_f64(), p99.as_secs_f64());
                // ln(p99 / median) = sigma * z99, so exp(ln(p99 / median) * z / z99) spreads around 1.
                let spread = (p99 / median).ln() / Z99;
                (median * (spread * dice.normal()).exp()).min(TAIL * p99)
            }
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO).min(LONGEST)
    }

    pub(super) fn check(self, problems: &mut Problems) {
        let (less, more) = match self.0 {
            Shape::Fixed(span) => (span, span),
            Shape::Uniform(least, most) => (least, most),
            Shape::Normal(mean, deviation) => (mean, mean.max(deviation)),
            Shape::LongTail(median, p99) => (median, p99),
        };
        problems.require(more <= LONGEST, || format!("the latency {self} is longer than 1h"));
        match self.0 {
            Shape::Uniform(..) => problems.require(less <= more, || {
                format!("the latency {self} ends before it starts; swap the two values")
            }),
            Shape::LongTail(..) => problems.require(!less.is_zero() && less <= more, || {
                format!(
                    "the latency {self} is not a long tail: the median must be over 0s and at most the p99"
                )
            }),
            Shape::Fixed(_) | Shape::Normal(..) => {}
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = duration_text;
        match self.0 {
            Shape::Fixed(span) => f.write_str(&text(span)),
            Shape::Uniform(least, most) => write!(f, "{} to {}", text(least), text(most)),
            Shape::Normal(mean, deviation) => {
                write!(f, "{} on average, deviation {}", text(mean), text(deviation))
            }
            Shape::LongTail(median, p99) => write!(f, "median {}, p99 {}", text(median), text(p99)),
        }
    }
}
