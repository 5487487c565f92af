//! What a caller gets when no level had an answer.

use std::error::Error;
use std::fmt;

use super::Level;
use crate::outcome::{Failure, Outcome};

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Every level of a fallback chain failed. Its `source()` is the error of the call itself.
///
/// An error type that can be made from it (`#[from] FallbackFailed`, `anyhow::Error`, `Box<dyn Error>`) holds
/// both the first and the last error. Any other gets the error of the call itself where that failed, and the
/// error of the last level where it was rejected.
#[derive(Debug)]
pub struct FallbackFailed {
    level: Level,
    last: BoxError,
    primary: BoxError,
}

impl FallbackFailed {
    /// The last level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The error of the last level.
    pub fn last(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.last
    }

    /// Both errors in one.
    #[doc(hidden)]
    pub fn new<E: Into<BoxError>>(level: Level, last: E, failure: Failure<E>) -> Self {
        let primary = match failure {
            Failure::Rejected(rejection) => rejection.into(),
            Failure::Failed(error) => error.into(),
            Failure::Unacceptable => "the call returned a value that counts as failed".into(),
        };
        Self { level, last: last.into(), primary }
    }
}

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
pub trait AllFailed: Outcome {
    /// The value for `failure` of the call itself and `last`, the outcome of `level`.
    fn all_failed(level: Level, last: Self, failure: Failure<Self::Error>) -> Self;
}

impl<T, E: From<FallbackFailed> + Into<BoxError>> AllFailed for Result<T, E> {
    fn all_failed(level: Level, last: Self, failure: Failure<E>) -> Self {
        last.map_err(|last| FallbackFailed::new(level, last, failure).into())
    }
}

impl<T> AllFailed for Option<T> {
    fn all_failed(_: Level, last: Self, _: Failure<()>) -> Self {
        last
    }
}

pub(crate) fn into_failure<R: Outcome>(outcome: R) -> Failure<R::Error> {
    outcome.into_error().map_or(Failure::Unacceptable, Failure::Failed)
}
