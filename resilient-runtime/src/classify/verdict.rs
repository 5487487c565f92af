//! The verdict on an attempt.

use std::error::Error;

use super::{Class, Classify, Judgement};
use crate::outcome::Outcome;

/// The verdict on an attempt: success, or a class of failure.
///
/// Retry, circuit breaker and fallback act on it.
///
/// ```
/// use resilient_runtime::{Class, Component, Registry, Verdict};
///
/// let breaker = Registry::new().circuit_breaker("api");
/// breaker.try_acquire().unwrap().settle(Verdict::Success);
/// breaker.try_acquire().unwrap().settle(Verdict::Failure(Class::Ignored));
/// let stats = breaker.stats();
/// assert_eq!((stats.successful, stats.failed, stats.ignored), (1, 0, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt succeeded.
    Success,
    /// The attempt failed with this class.
    Failure(Class),
}

impl Verdict {
    /// Judges an outcome by the type of its error. Every `call` without a judge uses it.
    ///
    /// Known error types are judged by the first known cause in their `source()` chain. They are
    /// [`Rejection`](crate::Rejection), [`std::io::Error`], `Box<dyn Error>`, and with the features of their names
    /// `anyhow::Error`, `eyre::Report`, `http::StatusCode`, `redis::RedisError`, `reqwest::Error`, `sqlx::Error` and
    /// `tonic::Status`.
    ///
    /// An error of any other type is [`Class::Unknown`], because this function cannot detect whether a type implements
    /// `Error` or [`Classify`]. For such types use [`by_class`](Self::by_class), [`by_error`](Self::by_error) or
    /// [`judge!`](crate::judge), which follows the rules of the attribute.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{Class, Verdict};
    ///
    /// assert_eq!(Verdict::of(&Some(7)), Verdict::Success);
    /// assert_eq!(Verdict::of(&None::<u32>), Verdict::Failure(Class::UNKNOWN));
    /// let broken: Result<u32, Box<dyn std::error::Error>> = Err(Error::from(ErrorKind::ConnectionReset).into());
    /// assert_eq!(Verdict::of(&broken), Verdict::Failure(Class::UNCERTAIN));
    /// ```
    #[inline]
    pub fn of<R: Outcome<Error: 'static>>(outcome: &R) -> Self {
        Judgement::of(outcome).verdict()
    }

    /// Judges an outcome by the [`Classify`] implementation of its error.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{Class, Verdict};
    ///
    /// let verdict = |kind: ErrorKind| Verdict::by_class(&Err::<(), _>(Error::from(kind)));
    /// assert_eq!(verdict(ErrorKind::NotFound), Verdict::Failure(Class::Permanent));
    /// assert_eq!(verdict(ErrorKind::ConnectionRefused), Verdict::Failure(Class::TRANSIENT));
    /// ```
    pub fn by_class<T, E: Classify>(outcome: &Result<T, E>) -> Self {
        match outcome {
            Ok(_) => Self::Success,
            Err(error) => Self::Failure(error.classify()),
        }
    }

    /// Judges an outcome by the first known cause in its error and `source()` chain.
    ///
    /// The class is the result of [`Class::found_in`], or [`Class::Unknown`] if there is no known cause.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Rejection, Verdict};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum PayError {
    ///     #[error("declined")]
    ///     Declined,
    ///     #[error(transparent)]
    ///     Rejected(#[from] Rejection),
    /// }
    /// let registry = Registry::new();
    /// let (outer, inner) = (registry.circuit_breaker("outer"), registry.circuit_breaker("inner"));
    /// inner.force_open();
    /// let pay = || inner.call(|| Ok::<u32, PayError>(995));
    /// assert!(outer.call_judged(pay, Verdict::by_error).is_err());
    /// assert_eq!(outer.stats().failed, 0, "a rejection by an inner component is not evidence");
    /// assert_eq!(Verdict::by_error(&Err::<u32, _>(PayError::Declined)), Verdict::Failure(Class::UNKNOWN));
    /// ```
    pub fn by_error<T, E: Error + 'static>(outcome: &Result<T, E>) -> Self {
        match outcome {
            Ok(_) => Self::Success,
            Err(error) => Self::by_source(Some(error)),
        }
    }

    /// Judges a failure by the first known cause in the `source()` chain that starts at `first`.
    ///
    /// If there is no known cause, the failure is [`Class::Unknown`]. A rejection is also found behind a transparent
    /// error, because its source identifies it.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, Verdict};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let error = std::io::Error::other(breaker.try_acquire().unwrap_err());
    /// assert_eq!(Verdict::by_source(Some(&error)), Verdict::Failure(Class::NotExecuted { retry_after: None }));
    /// assert_eq!(Verdict::by_source(None), Verdict::Failure(Class::UNKNOWN));
    /// ```
    pub fn by_source(first: Option<&(dyn Error + 'static)>) -> Self {
        Judgement::by_source(first).verdict()
    }

    /// Turns a success into a failure of class [`Class::Unknown`] if `failed` is true, as `failure = ..` does.
    ///
    /// ```
    /// use resilient_runtime::{Class, Verdict};
    ///
    /// assert_eq!(Verdict::Success.or_failure(true), Verdict::Failure(Class::UNKNOWN));
    /// assert_eq!(Verdict::Success.or_failure(false), Verdict::Success);
    /// ```
    #[must_use]
    pub fn or_failure(self, failed: bool) -> Self {
        if failed && self == Self::Success { Self::Failure(Class::UNKNOWN) } else { self }
    }
}
