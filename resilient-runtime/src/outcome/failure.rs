//! Why a fallback is asked.

use crate::rejection::Rejection;

/// Why a fallback is asked.
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
    /// The call was refused or cut off.
    Rejected(Rejection),
    /// The call ran and returned this error, the last one where it was retried.
    Failed(E),
    /// The call returned a value that `failure = ...` counts as failed.
    Unacceptable,
}

impl<E> Failure<E> {
    /// The rejection, if it was one.
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

    /// The error, if the call ran and returned one.
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
