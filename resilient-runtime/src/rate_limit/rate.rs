//! A number of calls in a period of time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::settings::{Parameter, Value, duration_text, parse_duration};

/// A number of calls per period, such as `100/s`, `10/min` or `3/250ms`.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::rate_limit::Rate;
///
/// let rate: Rate = "100/s".parse().unwrap();
/// assert_eq!(rate, Rate::new(100, Duration::from_secs(1)).unwrap());
/// assert_eq!("3/250ms".parse::<Rate>().unwrap().to_string(), "3/250ms");
/// assert!("0/s".parse::<Rate>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// Maximum rate per second. Faster rates are not exact enough: an interval of 100 ns is rounded up by at most 1 ns.
const FASTEST: u64 = 10_000_000;
/// Maximum period. A longer period is a quota and must be stored where it survives a restart.
const LONGEST: Duration = Duration::from_hours(24 * 31);

/// The error for a text that is not a valid [`Rate`].
///
/// ```
/// use resilient_runtime::rate_limit::{InvalidRate, Rate};
///
/// assert_eq!("often".parse::<Rate>(), Err(InvalidRate));
/// assert!(InvalidRate.to_string().contains("such as 100/s"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is a count from 1 and a period of up to 31 days, such as 100/s, 10/min or 3/250ms; at most 10000000/s"
)]
pub struct InvalidRate;

impl Rate {
    /// Creates a rate of `count` calls in `per`.
    ///
    /// Returns `None` if `count` or `per` is zero, if `per` is more than 31 days, or if the rate is more than
    /// 10 million per second.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::rate_limit::Rate;
    ///
    /// assert_eq!(Rate::new(10, Duration::from_mins(1)), Some("10/min".parse().unwrap()));
    /// assert_eq!(Rate::new(0, Duration::from_mins(1)), None);
    /// ```
    pub fn new(count: u32, per: Duration) -> Option<Self> {
        let is_possible = count > 0 && !per.is_zero() && per <= LONGEST;
        let fits = u128::from(count) * 1_000_000_000 <= per.as_nanos() * u128::from(FASTEST);
        (is_possible && fits).then_some(Self { count, per })
    }

    /// Returns the number of calls.
    ///
    /// ```
    /// use resilient_runtime::rate_limit::Rate;
    ///
    /// assert_eq!("3/250ms".parse::<Rate>().unwrap().count(), 3);
    /// ```
    pub fn count(self) -> u32 {
        self.count
    }

    /// Returns the period.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::rate_limit::Rate;
    ///
    /// assert_eq!("3/250ms".parse::<Rate>().unwrap().per(), Duration::from_millis(250));
    /// ```
    pub fn per(self) -> Duration {
        self.per
    }

    /// Returns the nanoseconds per call, rounded up so that the rate is never exceeded.
    pub(super) fn interval(self) -> u64 {
        crate::clock::nanos(self.per).div_ceil(u64::from(self.count)).max(1)
    }
}

const UNITS: [(&str, Duration); 7] = [
    ("s", Duration::from_secs(1)),
    ("sec", Duration::from_secs(1)),
    ("m", Duration::from_mins(1)),
    ("min", Duration::from_mins(1)),
    ("h", Duration::from_hours(1)),
    ("d", Duration::from_hours(24)),
    ("day", Duration::from_hours(24)),
];

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let (count, per) = text.split_once('/').ok_or(InvalidRate)?;
        let count = count.trim().parse().map_err(|_| InvalidRate)?;
        let per = per.trim();
        let unit = UNITS.iter().find(|(name, _)| *name == per).map(|(_, span)| *span);
        let per = unit.or_else(|| parse_duration(per).ok()).ok_or(InvalidRate)?;
        Self::new(count, per).ok_or(InvalidRate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("s", 1), ("min", 60), ("h", 3600), ("day", 86_400)];
        match named.iter().find(|(_, seconds)| self.per == Duration::from_secs(*seconds)) {
            Some((unit, _)) => write!(f, "{}/{unit}", self.count),
            None => write!(f, "{}/{}", self.count, duration_text(self.per)),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Parameter for Rate {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { text.parse().ok() } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Text(Cow::Owned(self.to_string()))
    }
    fn expected() -> Cow<'static, str> {
        InvalidRate.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_parses_and_displays_the_same_text() {
        for text in ["100/s", "10/min", "5/h", "1000/day", "3/250ms", "1/1s500ms"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("7/90s".parse::<Rate>().unwrap().per(), Duration::from_secs(90));
    }

    #[test]
    fn an_invalid_rate_is_rejected() {
        let bad = [
            "", "/", "5", "5/", "/s", "0/s", "-1/s", "NaN/s", "1e3/s", "5/0s", "5/5", "5/s/s", "5/x", "1/32d",
        ];
        for text in bad.into_iter().chain(["20000000/s", "4294967296/s", "5/999999999999999h"]) {
            assert_eq!(text.parse::<Rate>(), Err(InvalidRate), "{text}");
        }
    }
}
