//! What a setting takes: its type, unit and range.

use core::fmt;

/// The type of a setting, and the values that it can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Takes {
    /// A time in nanoseconds.
    Duration {
        /// The shortest.
        min: u64,
        /// The longest.
        max: u64,
    },
    /// A time in nanoseconds of more than zero, or `none`.
    Limit {
        /// The longest.
        max: u64,
    },
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// A share, written as a number or as a percentage.
    Ratio {
        /// The least.
        min: f64,
        /// Whether it must be more than that.
        above: bool,
    },
    /// A number.
    Number {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
        /// What it is a number of.
        unit: &'static str,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A time from 10 ms to 1 h, or a number of calls from 1 to 10 000.
    Window,
    /// A count and a time, such as `"100/s"`.
    Rate,
    /// The name of something.
    Name,
    /// `true` or `false`.
    Flag,
    /// Code, evaluated where the function runs; in the attribute only.
    Code,
    /// Further options in parentheses; in the attribute only.
    Group,
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// None; also for what has no default.
    Unset,
    /// A time in nanoseconds.
    Duration(u64),
    /// A whole number.
    Count(u64),
    /// A share.
    Ratio(f64),
    /// A number.
    Number(f64),
    /// A word or a name.
    Text(&'static str),
    /// On or off.
    Flag(bool),
}

impl Takes {
    /// A window of time, in nanoseconds.
    pub const WINDOW_TIME: core::ops::RangeInclusive<u64> = 10_000_000..=3_600_000_000_000;
    /// A window of calls.
    pub const WINDOW_CALLS: core::ops::RangeInclusive<u64> = 1..=10_000;

    /// Whether a value of the right type is in the range. Of another type there is nothing to say: `true`.
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

/// The range in words: `1 to 1000000 calls`.
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

/// Nanoseconds in the largest unit that divides them.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A day is 24 h: everybody reads that at once, and several days as days.
        let divides = |(_, scale): &&(&str, u64)| {
            self.0.is_multiple_of(*scale) && self.0 != *scale * u64::from(*scale == UNITS[0].1)
        };
        let (unit, scale) = UNITS.iter().find(divides).unwrap_or(&UNITS[6]);
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// `"250ms"` in nanoseconds, while this crate is compiled.
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
            _ => panic!("no unit of time"),
        }
}
