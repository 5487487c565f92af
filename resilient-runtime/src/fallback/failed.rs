//! The result of a call when every fallback level failed.

use std::fmt;

use super::Level;
use super::degradation::Why;
use super::level_permit::NoAnswer;
use crate::outcome::{BoxError, Failure, FallbackFailed, FromRejection, Outcome, UNACCEPTABLE};
use crate::rejection::{Rejection, RejectionKind};

impl FallbackFailed {
    #[doc(hidden)]
    pub fn new<E: Into<BoxError>>(level: Level, last: E, failure: Failure<E>) -> Self {
        Self::with(level, last.into(), failure)
    }

    /// The last level timed out or was skipped.
    #[doc(hidden)]
    pub fn unanswered<E: Into<BoxError>>(level: Level, last: NoAnswer, failure: Failure<E>) -> Self {
        Self::with(level, last.into(), failure)
    }
}

/// A return type that can report that every fallback level failed.
///
/// ```
/// use resilient_runtime::{Failure, Level, fallback::AllFailed};
///
/// let answer = AllFailed::all_failed(Level::Backup, None::<u32>, Failure::Failed(()));
/// assert_eq!(answer, None, "an `Option` contains no error");
/// ```
pub trait AllFailed: Outcome {
    /// Returns the value to report, from the `failure` of the call and the outcome `last` of the last level.
    ///
    /// ```
    /// use resilient_runtime::{Failure, Level, fallback::{AllFailed, BoxError}};
    ///
    /// let last = Err::<u32, BoxError>("no route".into());
    /// let both = AllFailed::all_failed(Level::Replica, last, Failure::Failed("refused".into()));
    /// assert!(both.unwrap_err().to_string().ends_with("the last one (`replica`) with: no route"));
    /// ```
    fn all_failed(level: Level, last: Self, failure: Failure<Self::Error>) -> Self;

    /// Returns the value to report if the last level timed out or was skipped.
    ///
    /// ```
    /// use resilient_runtime::{Failure, Level, fallback::{AllFailed, NoAnswer}};
    ///
    /// let answer: Option<u32> = AllFailed::unanswered(Level::LocalCache, NoAnswer::Stale, Failure::Failed(()));
    /// assert_eq!(answer, None);
    /// ```
    fn unanswered(level: Level, last: NoAnswer, failure: Failure<Self::Error>) -> Self;

    /// Returns the failure of the call as text.
    ///
    /// ```
    /// use resilient_runtime::{Failure, Registry, fallback::AllFailed};
    ///
    /// let breaker = Registry::new().circuit_breaker("bank");
    /// breaker.force_open();
    /// let refused = Failure::Rejected(breaker.try_acquire().unwrap_err());
    /// assert!(<Option<f64>>::why(&refused).text().starts_with("circuit breaker `bank` is open"));
    /// ```
    fn why(failure: &Failure<Self::Error>) -> Why;
}

impl<T, E: From<FallbackFailed> + Into<BoxError> + fmt::Display> AllFailed for Result<T, E> {
    fn all_failed(level: Level, last: Self, failure: Failure<E>) -> Self {
        last.map_err(|last| FallbackFailed::new(level, last, failure).into())
    }

    fn unanswered(level: Level, last: NoAnswer, failure: Failure<E>) -> Self {
        Err(FallbackFailed::unanswered(level, last, failure).into())
    }

    fn why(failure: &Failure<E>) -> Why {
        why(failure, ToString::to_string)
    }
}

impl<T> AllFailed for Option<T> {
    fn all_failed(_: Level, last: Self, _: Failure<()>) -> Self {
        last
    }

    fn unanswered(_: Level, _: NoAnswer, _: Failure<()>) -> Self {
        None
    }

    fn why(failure: &Failure<()>) -> Why {
        why(failure, |()| "it returned nothing".to_owned())
    }
}

/// Returns a failure as text. `words` formats an error of the call.
pub(crate) fn why<E>(failure: &Failure<E>, words: impl FnOnce(&E) -> String) -> Why {
    match failure {
        Failure::Rejected(rejection) => Why::new(Some(rejection.kind()), &rejection.to_string()),
        Failure::Failed(error) => Why::new(None, &words(error)),
        Failure::Unacceptable => Why::new(None, UNACCEPTABLE),
    }
}

/// A return type that can report a failed call without a result of a fallback level.
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use resilient_runtime::fallback::Unanswered;
///
/// let closed = <Result<f64, Error>>::of_error(ErrorKind::ConnectionRefused.into());
/// assert_eq!(closed.unwrap_err().kind(), ErrorKind::ConnectionRefused);
/// assert_eq!(<Option<f64>>::of_error(()), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` has no value to return when every fallback level fails",
    label = "this return type cannot report that every level failed",
    note = "add `default = ..` to `fallback(..)`: the default level always runs",
    note = "or return `Result<_, E>` with `E: From<resilient_runtime::Rejection>`, or `Option<_>`"
)]
pub trait Unanswered: Sized {
    /// The error of a failure.
    type Error;

    /// Returns a value that contains `error`.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::fallback::Unanswered;
    ///
    /// let error = <Result<u32, Error>>::of_error(ErrorKind::BrokenPipe.into()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    /// ```
    fn of_error(error: Self::Error) -> Self;

    /// Returns a value that reports `rejection`.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, fallback::Unanswered};
    ///
    /// let breaker = Registry::new().circuit_breaker("bank");
    /// breaker.force_open();
    /// let refused = breaker.try_acquire().unwrap_err();
    /// assert!(<Result<f64, Rejection>>::of_rejection(refused).is_err());
    /// ```
    fn of_rejection(rejection: Rejection) -> Self;
}

impl<T, E: FromRejection> Unanswered for Result<T, E> {
    type Error = E;

    fn of_error(error: E) -> Self {
        Err(error)
    }

    fn of_rejection(rejection: Rejection) -> Self {
        Err(E::from_rejection(rejection))
    }
}

impl<T> Unanswered for Option<T> {
    type Error = ();

    fn of_error((): ()) -> Self {
        None
    }

    fn of_rejection(_: Rejection) -> Self {
        None
    }
}

/// Returns the error of the call, otherwise the outcome of the last level, otherwise the rejection.
pub(crate) fn one_of<R: Unanswered>(
    failure: Failure<R::Error>,
    last: Result<R, NoAnswer>,
    fallback: &'static str,
) -> R {
    match (failure, last) {
        (Failure::Failed(error), _) => R::of_error(error),
        (_, Ok(last)) => last,
        (Failure::Rejected(rejection), Err(_)) => R::of_rejection(rejection),
        (Failure::Unacceptable, Err(_)) => {
            R::of_rejection(Rejection::new(RejectionKind::FallbackFailed, fallback))
        }
    }
}

pub(crate) fn into_failure<R: Outcome>(outcome: R) -> Failure<R::Error> {
    outcome.into_error().map_or(Failure::Unacceptable, Failure::Failed)
}
