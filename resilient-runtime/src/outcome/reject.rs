//! Conversion of a rejection into the return type of a call.

use super::Outcome;
use crate::rejection::Rejection;

/// A return type that can report a rejected call.
///
/// ```
/// use resilient_runtime::{Registry, Rejection};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.force_open();
/// let nothing: Option<u32> = breaker.call(|| Some(7));
/// let refused: Result<u32, Rejection> = breaker.call(|| Ok(7));
/// assert!(nothing.is_none() && refused.is_err());
/// ```
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` has no way to report a rejected call",
    label = "this return type cannot hold a `resilient_runtime::Rejection`",
    note = "return `Result<_, E>` with `E: From<resilient_runtime::Rejection>`, return `Option<_>`, \
            or add `fallback = ...` to `#[resilient(...)]`",
    note = "if it is a future: write `async fn`, or end the function with `Box::pin(async move {{ .. }})`"
)]
pub trait Reject: Outcome {
    /// Returns a value that reports `rejection`.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Reject, Rejection};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let refused = breaker.try_acquire().unwrap_err();
    /// assert_eq!(<Result<u32, Rejection>>::from_rejection(refused.clone()), Err(refused));
    /// ```
    fn from_rejection(rejection: Rejection) -> Self;
}

impl<T, E: FromRejection> Reject for Result<T, E> {
    fn from_rejection(rejection: Rejection) -> Self {
        Err(E::from_rejection(rejection))
    }
}

impl<T> Reject for Option<T> {
    fn from_rejection(_: Rejection) -> Self {
        None
    }
}

/// An error type that can be created from a [`Rejection`]. Every `E: From<Rejection>` implements it.
///
/// ```
/// use resilient_runtime::{FromRejection, Registry, Rejection};
///
/// #[derive(Debug)]
/// struct PayError(String);
/// impl From<Rejection> for PayError {
///     fn from(rejection: Rejection) -> Self { Self(rejection.to_string()) }
/// }
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.force_open();
/// let refused = PayError::from_rejection(breaker.try_acquire().unwrap_err());
/// assert!(refused.0.starts_with("circuit breaker `payment` is open"));
/// ```
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot be created from a `resilient_runtime::Rejection`",
    label = "`{Self}` does not implement `From<resilient_runtime::Rejection>`",
    note = "a circuit breaker, bulkhead or timeout can reject a call, and the function must then return the rejection \
            as its error",
    note = "with thiserror: add a variant `Rejected(#[from] resilient_runtime::Rejection)`; for a foreign error type \
            use `map_err = |rejection| ...`; to never return rejections use `fallback = ...`"
)]
pub trait FromRejection {
    /// Returns an error that reports `rejection`.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{FromRejection, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("disk");
    /// breaker.force_open();
    /// let refused = Error::from_rejection(breaker.try_acquire().unwrap_err());
    /// assert_eq!(refused.kind(), ErrorKind::Other);
    /// ```
    fn from_rejection(rejection: Rejection) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Rejection>> FromRejection for E {
    fn from_rejection(rejection: Rejection) -> Self {
        rejection.into()
    }
}
