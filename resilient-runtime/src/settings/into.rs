//! What a setter of a config takes.

use std::sync::Arc;

/// A value that a setter of a config takes for a field of type `T`: the type itself, what an optional field holds, and
/// what turns into it without loss. Plain literals fit everywhere.
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
    /// The value of the field.
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

/// Conversions without loss.
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

// Not to `u32` from smaller types: with a single type that fits, a literal needs no suffix.
converts! {
    i32 => f64,
    u32 => f64,
    f32 => f64,
    &str => Arc<str>,
    String => Arc<str>,
}
