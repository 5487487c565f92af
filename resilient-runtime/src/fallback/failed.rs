//! What a caller gets when no level had an answer.

use std::error::Error;
use std::fmt;

use super::Level;
use super::degradation::Why;
use super::level_permit::NoAnswer;
use crate::outcome::{Failure, FromRejection, Outcome};
use crate::rejection::{Rejection, RejectionKind};

/// Any error.
///
/// ```
/// use resilient_runtime::fallback::BoxError;
///
/// let error: BoxError = "the bank is closed".into();
/// assert_eq!(error.to_string(), "the bank is closed");
/// ```
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Every level of a fallback chain failed. Its `source()` is the error of the call itself.
///
/// An error type that can be made from it (`#[from] FallbackFailed`, `anyhow::Error`, `Box<dyn Error>`) holds
/// both the first and the last error. Any other gets the error of the call itself where that failed, and where it was
/// rejected, the error of the last level, or the rejection if that level gave none.
///
/// ```
/// use resilient_runtime::{FallbackFailed, Level, Registry, fallback::{BoxError, Chain}};
///
/// let work = || Err::<f64, BoxError>("the bank is closed".into());
/// let chain = || Chain::of(Level::Backup, |_| Err("so is the other".into()));
/// let error = Registry::new().fallback("rates").call(work, chain).unwrap_err();
/// let failed = error.downcast::<FallbackFailed>().unwrap();
/// let words = "the bank is closed; and every fallback level failed, the last, `backup`, with: so is the other";
/// assert_eq!(failed.to_string(), words);
/// ```
#[derive(Debug)]
pub struct FallbackFailed {
    level: Level,
    last: BoxError,
    primary: BoxError,
}

impl FallbackFailed {
    /// The last level.
    ///
    /// ```
    /// use resilient_runtime::{FallbackFailed, Level, Registry, fallback::{BoxError, Chain}};
    ///
    /// let work = || Err::<u32, BoxError>("refused".into());
    /// let chain = || Chain::of(Level::Backup, |_| Err("full".into())).or(Level::Replica, |_| Err("no route".into()));
    /// let error = Registry::new().fallback("stock").call(work, chain).unwrap_err();
    /// assert_eq!(error.downcast::<FallbackFailed>().unwrap().level(), Level::Backup);
    /// ```
    pub fn level(&self) -> Level {
        self.level
    }

    /// The error of the last level; a [`NoAnswer`] where that was cut off or not asked.
    ///
    /// ```
    /// use resilient_runtime::{FallbackFailed, Level, Registry, fallback::{BoxError, Chain}};
    ///
    /// let chain = || Chain::of(Level::Backup, |_| Err("the queue is full".into()));
    /// let error = Registry::new().fallback("mail").call(|| Err::<u32, BoxError>("refused".into()), chain).unwrap_err();
    /// assert_eq!(error.downcast::<FallbackFailed>().unwrap().last().to_string(), "the queue is full");
    /// ```
    pub fn last(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.last
    }

    /// Both errors in one.
    #[doc(hidden)]
    pub fn new<E: Into<BoxError>>(level: Level, last: E, failure: Failure<E>) -> Self {
        Self::with(level, last.into(), failure)
    }

    /// The last level gave no outcome at all.
    #[doc(hidden)]
    pub fn unanswered<E: Into<BoxError>>(level: Level, last: NoAnswer, failure: Failure<E>) -> Self {
        Self::with(level, last.into(), failure)
    }

    fn with<E: Into<BoxError>>(level: Level, last: BoxError, failure: Failure<E>) -> Self {
        let primary = match failure {
            Failure::Rejected(rejection) => rejection.into(),
            Failure::Failed(error) => error.into(),
            Failure::Unacceptable => UNACCEPTABLE.into(),
        };
        Self { level, last, primary }
    }
}

const UNACCEPTABLE: &str = "the call returned a value that counts as failed";

impl fmt::Display for FallbackFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, last, primary } = self;
        write!(f, "{primary}; and every fallback level failed, the last, `{level}`, with: {last}")
    }
}

impl Error for FallbackFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.primary)
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
