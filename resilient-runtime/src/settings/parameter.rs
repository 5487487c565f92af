//! The types of settings.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::Value;
use crate::ratio::Ratio;

/// A type that a setting can have.
pub(crate) trait Parameter: Sized {
    fn from_value(value: &Value) -> Option<Self>;
    fn to_value(&self) -> Value;
    /// Describes the values that [`from_value`](Self::from_value) accepts, for error messages.
    fn expected() -> Cow<'static, str>;
    /// The accepted words, if only some words are accepted.
    fn words() -> &'static [&'static str] {
        &[]
    }
}

impl Parameter for Duration {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Duration(span) = value { Some(*span) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Duration(*self)
    }
    fn expected() -> Cow<'static, str> {
        "a duration with a unit, such as 250ms or 1m30s".into()
    }
}

impl Parameter for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Count(count) = value { (*count).try_into().ok() } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Count(u64::from(*self))
    }
    fn expected() -> Cow<'static, str> {
        "a whole number from 0 to 4294967295".into()
    }
}

impl Parameter for Ratio {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Ratio(share) => Self::new(*share),
            Value::Count(count) if *count <= 1 => Self::new(*count as f64),
            _ => None,
        }
    }
    fn to_value(&self) -> Value {
        Value::Ratio(self.get())
    }
    fn expected() -> Cow<'static, str> {
        "a number from 0 to 1, such as 0.5, or a percentage, such as 50%".into()
    }
}

impl Parameter for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) | Value::Ratio(number) if number.is_finite() => Some(*number),
            Value::Count(count) => Some(*count as Self),
            _ => None,
        }
    }
    fn to_value(&self) -> Value {
        Value::Number(*self)
    }
    fn expected() -> Cow<'static, str> {
        "a number".into()
    }
}

impl Parameter for bool {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Flag(flag) = value { Some(*flag) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Flag(*self)
    }
    fn expected() -> Cow<'static, str> {
        "true or false".into()
    }
}

impl Parameter for Arc<str> {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(Self::from(text.as_ref())) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Text(Cow::Owned(self.to_string()))
    }
    fn expected() -> Cow<'static, str> {
        "a name".into()
    }
}

impl<T: Parameter> Parameter for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Unset { Some(None) } else { T::from_value(value).map(Some) }
    }
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Unset, T::to_value)
    }
    fn expected() -> Cow<'static, str> {
        T::expected()
    }
    fn words() -> &'static [&'static str] {
        T::words()
    }
}
