//! The window of calls that a breaker evaluates: a time window or a count window.

mod count;
mod time;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::ratio::Ratio;
use crate::settings::{IntoSetting, Parameter, Value};

pub(super) use count::CountWindow;
pub(super) use time::TimeWindow;

/// The calls that a circuit breaker evaluates.
///
/// A time window advances in tenths. It covers between nine tenths of its span and the whole span.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::circuit_breaker::{Config, Window};
///
/// assert_eq!(Config::default().window, Window::Time(Duration::from_secs(30)));
/// assert_eq!(Config::default().window(100).window, Window::Count(100));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The calls that ended within this span. Allowed: 10 ms to 1 h.
    Time(Duration),
    /// The last calls that ended. Allowed: 1 to 10 000.
    Count(u32),
}

impl Default for Window {
    fn default() -> Self {
        Self::Time(Duration::from_secs(30))
    }
}

impl From<Duration> for Window {
    fn from(span: Duration) -> Self {
        Self::Time(span)
    }
}

impl From<u32> for Window {
    fn from(calls: u32) -> Self {
        Self::Count(calls)
    }
}

impl IntoSetting<Window> for Duration {
    fn into_setting(self) -> Window {
        self.into()
    }
}

impl IntoSetting<Window> for u32 {
    fn into_setting(self) -> Window {
        self.into()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(span) => write!(f, "{span:?}"),
            Self::Count(calls) => write!(f, "{calls} calls"),
        }
    }
}

impl Serialize for Window {
    /// `{"seconds": 30.0}` or `{"calls": 100}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Time(span) => serializer.collect_map([("seconds", span.as_secs_f64())]),
            Self::Count(calls) => serializer.collect_map([("calls", calls)]),
        }
    }
}

impl Parameter for Window {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Duration(span) => Some(Self::Time(*span)),
            Value::Count(calls) => Some(Self::Count((*calls).try_into().ok()?)),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Time(span) => Value::Duration(*span),
            Self::Count(calls) => Value::Count(u64::from(*calls)),
        }
    }

    fn expected() -> Cow<'static, str> {
        "a duration with a unit, such as 30s, or a number of calls, such as 100".into()
    }
}

/// The result of a call for the window. The grades are mutually exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Grade {
    Good,
    Failed,
    Slow,
    FailedSlow,
}

impl Grade {
    pub(super) const ALL: [Self; 4] = [Self::Good, Self::Failed, Self::Slow, Self::FailedSlow];

    pub(super) const fn of(failed: bool, slow: bool) -> Self {
        match (failed, slow) {
            (false, false) => Self::Good,
            (true, false) => Self::Failed,
            (false, true) => Self::Slow,
            (true, true) => Self::FailedSlow,
        }
    }

    pub(super) const fn is_failed(self) -> bool {
        matches!(self, Self::Failed | Self::FailedSlow)
    }

    pub(super) const fn is_slow(self) -> bool {
        matches!(self, Self::Slow | Self::FailedSlow)
    }
}

/// The counts of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) slow: u64,
    /// Failed, slow or both.
    pub(super) failed_or_slow: u64,
}

impl Content {
    /// Creates the counts from the number of calls of each grade.
    pub(super) fn of_grades(grades: [u64; 4]) -> Self {
        let [good, failed, slow, both] = grades;
        Self {
            calls: good + failed + slow + both,
            failed: failed + both,
            slow: slow + both,
            failed_or_slow: failed + slow + both,
        }
    }

    pub(super) fn failure_rate(self) -> Ratio {
        Ratio::of(self.failed, self.calls)
    }

    pub(super) fn slow_rate(self) -> Ratio {
        Ratio::of(self.slow, self.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_parsed_from_a_duration_or_a_number() {
        let span = Duration::from_secs(30);
        assert_eq!(Window::from_value(&Value::Duration(span)), Some(Window::Time(span)));
        assert_eq!(Window::from_value(&Value::Count(100)), Some(Window::Count(100)));
        assert_eq!(Window::from_value(&Value::Count(1 << 40)), None);
        assert_eq!(Window::from_value(&Value::Flag(true)), None);
        for window in [Window::Time(span), Window::Count(7)] {
            assert_eq!(Window::from_value(&window.to_value()), Some(window));
        }
    }

    #[test]
    fn a_window_is_displayed_with_its_unit() {
        let json = |window: Window| serde_json::to_string(&window).unwrap();
        assert_eq!(json(Window::Time(Duration::from_millis(1500))), r#"{"seconds":1.5}"#);
        assert_eq!(json(Window::Count(100)), r#"{"calls":100}"#);
        assert_eq!(Window::Time(Duration::from_secs(30)).to_string(), "30s");
        assert_eq!(Window::Count(100).to_string(), "100 calls");
    }

    #[test]
    fn grades_are_mutually_exclusive_and_add_up() {
        let content = Content::of_grades([1, 2, 4, 8]);
        let expected = Content { calls: 15, failed: 10, slow: 12, failed_or_slow: 14 };
        assert_eq!(content, expected);
        for (index, grade) in Grade::ALL.into_iter().enumerate() {
            assert_eq!(grade as usize, index);
            assert_eq!(Grade::of(grade.is_failed(), grade.is_slow()), grade);
        }
    }
}
