//! How one attempt is judged.

use std::error::Error;

use super::{Class, Classify, Judgement};
use crate::outcome::Outcome;

/// How one attempt is judged; what retry, circuit breaker and fallback act on.
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
    /// It succeeded.
    Success,
    /// It failed, in this way.
    Failure(Class),
}

impl Verdict {
    /// Judges an outcome by the type of its error: the rule of every `call` without a judge.
    ///
    /// An error of a known type, and one that holds any error, is judged by the first known cause in its `source()` chain:
    /// [`Rejection`](crate::Rejection), [`std::io::Error`], `Box<dyn Error>`, and with the features of their names `anyhow::Error`,
    /// `eyre::Report`, `http::StatusCode`, `redis::RedisError`, `reqwest::Error`, `sqlx::Error` and `tonic::Status`. Anything
    /// else is [`Class::Unknown`]: Rust cannot see here whether a type of your own is an `Error` or has `Classify`. For those
    /// there are [`judge!`](crate::judge), which judges as the attribute does, [`by_class`](Self::by_class) and
    /// [`by_error`](Self::by_error).
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

    /// The error's own word.
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

    /// The first known cause in the error and its `source()` chain, as [`Class::found_in`] finds it; else unknown.
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
    /// assert_eq!(outer.stats().failed, 0, "a refusal further in is no evidence");
    /// assert_eq!(Verdict::by_error(&Err::<u32, _>(PayError::Declined)), Verdict::Failure(Class::UNKNOWN));
    /// ```
    pub fn by_error<T, E: Error + 'static>(outcome: &Result<T, E>) -> Self {
        match outcome {
            Ok(_) => Self::Success,
            Err(error) => Self::by_source(Some(error)),
        }
    }

    /// The first known cause in a `source()` chain, of which the first error is given; else unknown. (A rejection is its own
    /// source, and so found even where an error is transparent.)
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

    /// `failure = ..` makes a failure of what looked like a success. What it did is unknown.
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
