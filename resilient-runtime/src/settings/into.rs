//! Values that config setters accept.

use std::sync::Arc;

use super::Secret;

/// A value that a config setter accepts for a field of type `T`.
///
/// Accepts the type itself, the inner type of an optional field, and types that convert to it without loss. Plain
/// literals work everywhere.
///
/// ```
/// use resilient_runtime::{bulkhead, circuit_breaker, retry};
///
/// assert_eq!(bulkhead::Config::default().max_concurrent(8).max_concurrent, 8);
/// assert_eq!(circuit_breaker::Config::default().failure_threshold(2).failure_threshold, Some(2));
/// assert_eq!(retry::Config::default().factor(3).factor, 3.0);
/// assert_eq!(retry::Config::default().budget("gateway").budget.as_deref(), Some("gateway"));
/// ```
#[diagnostic::on_unimplemented(
    message = "a setting of type `{T}` cannot be set to a `{Self}`",
    label = "expected `{T}`"
)]
pub trait IntoSetting<T> {
    /// Converts the value to the type of the field.
    ///
    /// ```
    /// use resilient_runtime::settings::IntoSetting;
    ///
    /// let optional: Option<u32> = 7u32.into_setting();
    /// assert_eq!(optional, Some(7));
    /// ```
    fn into_setting(self) -> T;
}

impl<T> IntoSetting<T> for T {
    fn into_setting(self) -> T {
        self
    }
}

impl<T> IntoSetting<Option<T>> for T {
    fn into_setting(self) -> Option<T> {
        Some(self)
    }
}

/// Implements lossless conversions.
macro_rules! converts {
    ($($from:ty => $into:ty),* $(,)?) => {
        $(
            impl IntoSetting<$into> for $from {
                fn into_setting(self) -> $into {
                    self.into()
                }
            }

            impl IntoSetting<Option<$into>> for $from {
                fn into_setting(self) -> Option<$into> {
                    Some(self.into())
                }
            }
        )*
    };
}

// No conversions to `u32` from smaller types: with a single possible type, a literal needs no suffix.
converts! {
    i32 => f64,
    u32 => f64,
    f32 => f64,
    &str => Arc<str>,
    String => Arc<str>,
    &str => Secret,
    String => Secret,
}
