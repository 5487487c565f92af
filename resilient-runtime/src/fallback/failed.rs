//! What a caller gets when no level had an answer.

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

    /// The last level gave no outcome at all.
    #[doc(hidden)]
    pub fn unanswered<E: Into<BoxError>>(level: Level, last: NoAnswer, failure: Failure<E>) -> Self {
        Self::with(level, last.into(), failure)
    }
}

/// An outcome that can say that every level failed.
///
/// ```
/// use resilient_runtime::{Failure, Level, fallback::AllFailed};
///
/// let answer = AllFailed::all_failed(Level::Backup, None::<u32>, Failure::Failed(()));
/// assert_eq!(answer, None, "an `Option` has no words for it");
/// ```
pub trait AllFailed: Outcome {
    /// The value for `failure` of the call itself and `last`, the outcome of `level`.
    ///
    /// ```
    /// use resilient_runtime::{Failure, Level, fallback::{AllFailed, BoxError}};
    ///
    /// let last = Err::<u32, BoxError>("no route".into());
    /// let both = AllFailed::all_failed(Level::Replica, last, Failure::Failed("refused".into()));
    /// assert!(both.unwrap_err().to_string().ends_with("the last, `replica`, with: no route"));
    /// ```
    fn all_failed(level: Level, last: Self, failure: Failure<Self::Error>) -> Self;

    /// The value where `level`, the last, gave no outcome at all.
    ///
    /// ```
    /// use resilient_runtime::{Failure, Level, fallback::{AllFailed, NoAnswer}};
    ///
    /// let answer: Option<u32> = AllFailed::unanswered(Level::LocalCache, NoAnswer::Stale, Failure::Failed(()));
    /// assert_eq!(answer, None);
    /// ```
    fn unanswered(level: Level, last: NoAnswer, failure: Failure<Self::Error>) -> Self;

    /// Why the levels are asked, in words.
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

/// Why the levels are asked, with the words for an error of the call itself.
pub(crate) fn why<E>(failure: &Failure<E>, words: impl FnOnce(&E) -> String) -> Why {
    match failure {
        Failure::Rejected(rejection) => Why::new(Some(rejection.kind()), &rejection.to_string()),
        Failure::Failed(error) => Why::new(None, &words(error)),
        Failure::Unacceptable => Why::new(None, UNACCEPTABLE),
    }
}

/// A return type that can say that no level had an answer.
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
    message = "a function that returns `{Self}` has nothing to return when no fallback level has an answer",
    label = "this return type cannot say that every level was cut off or refused",
    note = "add `default = ..` to `fallback(..)`: it is always asked",
    note = "or return `Result<_, E>` with `E: From<resilient_runtime::Rejection>`, or `Option<_>`"
)]
pub trait Unanswered: Sized {
    /// What it holds when it failed.
    type Error;

    /// The value that holds `error`.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::fallback::Unanswered;
    ///
    /// let error = <Result<u32, Error>>::of_error(ErrorKind::BrokenPipe.into()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    /// ```
    fn of_error(error: Self::Error) -> Self;

    /// The value that reports `rejection`.
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

/// The call's own error where there is one; else what the last level has said; else the rejection.
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
