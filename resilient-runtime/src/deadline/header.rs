//! Deadline headers: the remaining time as text for another process.

use std::fmt;
use std::time::Duration;

/// A request header that tells the server how long the client waits.
///
/// Writing rounds down, so that the receiver never has more time than the sender. Reading is strict.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::deadline::Header;
///
/// let left = Duration::from_millis(2500);
/// assert_eq!(Header::GrpcTimeout.write(left).unwrap(), "2500000u");
/// assert_eq!(Header::GrpcTimeout.read("2500m"), Ok(left));
/// assert_eq!(Header::ExpectedTimeout.write(left).unwrap(), "2500");
/// assert!(Header::ExpectedTimeout.read("soon").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Header {
    /// `grpc-timeout: 2500m`: 1 to 8 digits and one of the units `H`, `M`, `S`, `m` (milliseconds), `u` (microseconds)
    /// and `n` (nanoseconds). Source: *gRPC over HTTP2*, `TimeoutValue` and `TimeoutUnit`.
    GrpcTimeout,
    /// `x-envoy-expected-rq-timeout-ms: 2500`: whole milliseconds, as Envoy sends them to upstream services.
    ExpectedTimeout,
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// The units of gRPC in nanoseconds, finest first.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3600 * 1_000_000_000),
];
/// The largest value of eight digits.
const MOST: u128 = 99_999_999;
/// Thirteen digits of milliseconds are about three centuries.
const MOST_DIGITS: usize = 13;
const MOST_MILLIS: u128 = 9_999_999_999_999;

impl Header {
    /// Returns the header name in lower case.
    ///
    /// ```
    /// use resilient_runtime::deadline::Header;
    ///
    /// assert_eq!(Header::GrpcTimeout.name(), "grpc-timeout");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::GrpcTimeout => "grpc-timeout",
            Self::ExpectedTimeout => "x-envoy-expected-rq-timeout-ms",
        }
    }

    /// Formats the remaining time. Returns `None` if it rounds down to zero.
    ///
    /// Do not send the request then. (Some receivers interpret a zero as no timeout.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::deadline::Header;
    ///
    /// assert_eq!(Header::ExpectedTimeout.write(Duration::from_micros(1999)).unwrap(), "1", "rounded down");
    /// assert_eq!(Header::ExpectedTimeout.write(Duration::from_micros(999)), None);
    /// ```
    pub fn write(self, left: Duration) -> Option<String> {
        match self {
            Self::GrpcTimeout => {
                let nanos = left.as_nanos();
                let fitting = |(unit, scale): &(u8, u128)| {
                    let value = nanos / scale;
                    (value <= MOST).then_some((value, *unit))
                };
                // Eight digits of hours are about ten thousand years. Longer durations are clamped.
                let (value, unit) = UNITS.iter().find_map(fitting).unwrap_or((MOST, b'H'));
                (value > 0).then(|| format!("{value}{}", char::from(unit)))
            }
            Self::ExpectedTimeout => {
                let millis = left.as_millis().min(MOST_MILLIS);
                (millis > 0).then(|| millis.to_string())
            }
        }
    }

    /// Parses a header value. Zero is valid: the sender's deadline has passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::deadline::Header;
    ///
    /// assert_eq!(Header::GrpcTimeout.read("3S"), Ok(Duration::from_secs(3)));
    /// assert!(Header::GrpcTimeout.read("-3S").is_err());
    /// ```
    ///
    /// # Errors
    /// Returns an error if the text does not match the format exactly. Signs, spaces, fractions and additional
    /// digits are errors.
    pub fn read(self, text: &str) -> Result<Duration, NoTimeout> {
        let error = || NoTimeout { header: self, text: text.chars().take(24).collect() };
        let (number, scale, most) = match self {
            Self::GrpcTimeout => {
                let (unit, number) = text.as_bytes().split_last().ok_or_else(error)?;
                let (_, scale) = UNITS.iter().find(|(known, _)| known == unit).ok_or_else(error)?;
                (number, *scale, 8)
            }
            Self::ExpectedTimeout => (text.as_bytes(), 1_000_000, MOST_DIGITS),
        };
        if number.is_empty() || number.len() > most || !number.iter().all(u8::is_ascii_digit) {
            return Err(error());
        }
        let value = number.iter().fold(0_u128, |value, digit| value * 10 + u128::from(digit - b'0'));
        // At most 13 digits of milliseconds, or 8 digits of hours: about 10^20 ns.
        let nanos = value * scale;
        let seconds = u64::try_from(nanos / NANOS_PER_SECOND).map_err(|_| error())?;
        let rest = u32::try_from(nanos % NANOS_PER_SECOND).map_err(|_| error())?;
        Ok(Duration::new(seconds, rest))
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error for a header value that is not a valid timeout.
///
/// ```
/// use resilient_runtime::deadline::Header;
///
/// let error = Header::GrpcTimeout.read("soon").unwrap_err();
/// assert!(error.to_string().starts_with("`grpc-timeout: soon` is not a valid timeout"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoTimeout {
    header: Header,
    /// The start of the text, shortened because it is untrusted.
    text: String,
}

impl fmt::Display for NoTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = match self.header {
            Header::GrpcTimeout => "1 to 8 digits and one of H, M, S, m, u, n, as in 2500m",
            Header::ExpectedTimeout => "whole milliseconds in 1 to 13 digits, as in 2500",
        };
        write!(
            f,
            "`{}: {}` is not a valid timeout; expected {expected}",
            self.header,
            self.text.escape_default()
        )
    }
}

impl std::error::Error for NoTimeout {}
