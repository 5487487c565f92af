//! The failure that a fallback handles.

use crate::rejection::Rejection;

/// The failure of a call, as passed to its fallback levels.
///
/// ```
/// use resilient_runtime::{Failure, Registry, fallback::{Chain, Level}};
///
/// let fallback = Registry::new().fallback("rates");
/// let chain = || Chain::of(Level::Default, |why| matches!(why, Failure::Failed(())).then_some(1.0));
/// assert_eq!(fallback.call(|| None, chain), Some(1.0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Failure<E> {
    /// The call was rejected or timed out.
    Rejected(Rejection),
    /// The call returned this error. If it was retried, this is the last error.
    Failed(E),
    /// The call returned a value that `failure = ...` counts as failed.
    Unacceptable,
}

impl<E> Failure<E> {
    /// Returns the rejection, if the call was rejected or timed out.
    ///
    /// ```
    /// use resilient_runtime::{Failure, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let failure = Failure::<String>::Rejected(breaker.try_acquire().unwrap_err());
    /// assert_eq!(failure.rejection().unwrap().component(), "payment");
    /// assert!(failure.error().is_none());
    /// ```
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Failed(_) | Self::Unacceptable => None,
        }
    }

    /// Returns the error, if the call returned one.
    ///
    /// ```
    /// use resilient_runtime::Failure;
    ///
    /// assert_eq!(Failure::Failed("timed out").error(), Some(&"timed out"));
    /// assert_eq!(Failure::<&str>::Unacceptable.error(), None);
    /// ```
    pub fn error(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Rejected(_) | Self::Unacceptable => None,
        }
    }
}
