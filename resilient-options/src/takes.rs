//! The type, unit and allowed range of a setting.

use core::fmt;

/// Type of a setting and its allowed values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Takes {
    /// A duration in nanoseconds.
    Duration {
        /// Shortest duration.
        min: u64,
        /// Longest duration.
        max: u64,
    },
    /// A duration in nanoseconds greater than zero, or `none`.
    Limit {
        /// Longest duration.
        max: u64,
    },
    /// A whole number.
    Count {
        /// Minimum.
        min: u64,
        /// Maximum.
        max: u64,
        /// Unit: what is counted.
        unit: &'static str,
    },
    /// A ratio, written as a number or as a percentage.
    Ratio {
        /// Minimum.
        min: f64,
        /// Whether the value must be greater than `min`.
        above: bool,
    },
    /// A number.
    Number {
        /// Minimum.
        min: f64,
        /// Maximum.
        max: f64,
        /// Unit, or empty.
        unit: &'static str,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A duration from 10 ms to 1 h, or a number of calls from 1 to 10 000.
    Window,
    /// A number of calls per unit of time, such as `"100/s"`.
    Rate,
    /// A name.
    Name,
    /// A text whose secret parts are never shown. Not in the attribute.
    Secret,
    /// `true` or `false`.
    Flag,
    /// An expression that is evaluated when the function is called. Only in the attribute.
    Code,
    /// Further options in parentheses. Only in the attribute.
    Group,
}

/// Value of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// No value: `none`, or no default.
    Unset,
    /// A duration in nanoseconds.
    Duration(u64),
    /// A whole number.
    Count(u64),
    /// A ratio.
    Ratio(f64),
    /// A number.
    Number(f64),
    /// A word or a name.
    Text(&'static str),
    /// `true` or `false`.
    Flag(bool),
}

impl Takes {
    /// Range of a window given as a duration, in nanoseconds.
    pub const WINDOW_TIME: core::ops::RangeInclusive<u64> = 10_000_000..=3_600_000_000_000;
    /// Range of a window given as a number of calls.
    pub const WINDOW_CALLS: core::ops::RangeInclusive<u64> = 1..=10_000;

    /// Returns whether a value is in the allowed range.
    ///
    /// Returns `true` for a value of another type, which is not checked here.
    pub fn admits(&self, value: Value) -> bool {
        match (*self, value) {
            (Self::Duration { min, max }, Value::Duration(nanos)) => (min..=max).contains(&nanos),
            (Self::Limit { max }, Value::Duration(nanos)) => (1..=max).contains(&nanos),
            (Self::Count { min, max, .. }, Value::Count(count)) => (min..=max).contains(&count),
            (Self::Ratio { min, above }, Value::Ratio(share)) => {
                (min..=1.0).contains(&share) && !(above && share <= min)
            }
            (Self::Number { min, max, .. }, Value::Number(number)) => (min..=max).contains(&number),
            (Self::Window, Value::Duration(nanos)) => Self::WINDOW_TIME.contains(&nanos),
            (Self::Window, Value::Count(calls)) => Self::WINDOW_CALLS.contains(&calls),
            (Self::Word(words), Value::Text(word)) => words.contains(&word),
            _ => true,
        }
    }
}

/// Formats the range as text: `1 to 1000000 calls`.
impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Duration { min: 1, max } | Self::Limit { max } => {
                write!(f, "more than 0, at most {}", Time(max))
            }
            Self::Duration { min: 0, max } => write!(f, "0 to {}", Time(max)),
            Self::Duration { min, max } => write!(f, "{} to {}", Time(min), Time(max)),
            Self::Count { min, max, unit } if max == u64::from(u32::MAX) => {
                write!(f, "at least {min} {unit}")
            }
            Self::Count { min, max, unit } => write!(f, "{min} to {max} {unit}"),
            Self::Ratio { min, above: true } => write!(f, "more than {min}, at most 1"),
            Self::Ratio { min, above: false } => write!(f, "{min} to 1"),
            Self::Number { min, max: f64::MAX, .. } => write!(f, "at least {min}"),
            Self::Number { min, max, unit: "" } => write!(f, "{min} to {max}"),
            Self::Number { min, max, unit } => write!(f, "{min} to {max} {unit}"),
            Self::Word(words) => {
                f.write_str("one of ")?;
                for (index, word) in words.iter().enumerate() {
                    write!(f, "{}{word}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::Window => f.write_str("a time from 10 ms to 1 h, or 1 to 10000 calls"),
            Self::Rate => f.write_str("a count and a time, such as 100/s"),
            Self::Name => f.write_str("a name"),
            Self::Secret => f.write_str("a text"),
            Self::Flag => f.write_str("true or false"),
            Self::Code => f.write_str("an expression"),
            Self::Group => f.write_str("options in parentheses"),
        }
    }
}

const SECOND: u64 = 1_000_000_000;
const UNITS: [(&str, u64); 7] = [
    (" days", 86_400 * SECOND),
    (" h", 3600 * SECOND),
    (" min", 60 * SECOND),
    (" s", SECOND),
    (" ms", 1_000_000),
    (" us", 1000),
    (" ns", 1),
];

/// Formats nanoseconds in the largest unit that divides them.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One day is written as `24 h`, several days as `days`.
        let divides = |(_, scale): &&(&str, u64)| {
            self.0.is_multiple_of(*scale) && self.0 != *scale * u64::from(*scale == UNITS[0].1)
        };
        let (unit, scale) = UNITS.iter().find(divides).unwrap_or(&UNITS[6]);
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// Parses `"250ms"` to nanoseconds in a constant.
pub(crate) const fn nanos(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let (mut index, mut number) = (0, 0);
    while index < bytes.len() && bytes[index].is_ascii_digit() {
        number = number * 10 + (bytes[index] - b'0') as u64;
        index += 1;
    }
    let (_, unit) = bytes.split_at(index);
    number
        * match unit {
            b"d" => 86_400 * SECOND,
            b"h" => 3600 * SECOND,
            b"m" => 60 * SECOND,
            b"s" => SECOND,
            b"ms" => 1_000_000,
            b"ns" => 1,
            _ => panic!("unknown unit of time"),
        }
}
