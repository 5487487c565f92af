//! The best rule that a type allows, chosen by the compiler.
//!
//! Rust has no specialisation, but method look-up tries fewer references after more: each trait below is
//! implemented one reference further out than the next weaker one (D. Tolnay, *Autoref-based stable
//! specialization*, 2019). In a generic function the rule follows from the bounds that are written there.

use std::convert::Infallible;
use std::error::Error;
use std::marker::PhantomData;

use crate::classify::Classify;
use crate::fallback::{BoxError, FallbackFailed, Level, into_failure};
use crate::outcome::{Failure, Outcome, Verdict};

/// Stands for the type of an outcome.
#[derive(Debug)]
pub struct Judge<R>(PhantomData<fn() -> R>);

impl<R> Judge<R> {
    /// Of the type of `_outcome`.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }
}

/// Stands for the type of an outcome whose every fallback level failed.
#[derive(Debug)]
pub struct Combine<R>(PhantomData<fn() -> R>);

impl<R> Combine<R> {
    /// Of the type of `_outcome`.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }
}

/// The traits to have in scope.
pub mod judging {
    pub use super::{
        ByClass, ByErrorReference, ByLocalErrorReference, ByOutcome, BySource, FailureOfOutcome,
        FailureOfPlain, KeepsBoth, KeepsLast, KeepsOne, Plain,
    };
}

/// The error says what it is.
pub trait ByClass<T, E> {
    /// Judges an outcome.
    fn verdict(&self, outcome: &Result<T, E>) -> Verdict;
}

impl<T, E: Classify> ByClass<T, E> for &&&&&Judge<Result<T, E>> {
    #[inline]
    fn verdict(&self, outcome: &Result<T, E>) -> Verdict {
        Verdict::by_class(outcome)
    }
}

/// There may be a rejection among the sources of the error. The error itself may borrow: which rule is taken
/// cannot depend on lifetimes.
pub trait BySource<T, E> {
    /// Judges an outcome.
    fn verdict(&self, outcome: &Result<T, E>) -> Verdict;
}

impl<T, E: Error> BySource<T, E> for &&&&Judge<Result<T, E>> {
    #[inline]
    fn verdict(&self, outcome: &Result<T, E>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(error) => Verdict::by_source(error.source()),
        }
    }
}

/// Likewise for `Box<dyn Error + Send + Sync>`, `anyhow::Error` and their kind, which are no `Error`.
pub trait ByErrorReference<T, E> {
    /// Judges an outcome.
    fn verdict(&self, outcome: &Result<T, E>) -> Verdict;
}

impl<'a, T, E: AsRef<dyn Error + Send + Sync + 'a>> ByErrorReference<T, E> for &&&Judge<Result<T, E>> {
    #[inline]
    fn verdict(&self, outcome: &Result<T, E>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(error) => Verdict::by_source(error.as_ref().source()),
        }
    }
}

/// Likewise for `Box<dyn Error>`.
pub trait ByLocalErrorReference<T, E> {
    /// Judges an outcome.
    fn verdict(&self, outcome: &Result<T, E>) -> Verdict;
}

impl<'a, T, E: AsRef<dyn Error + 'a>> ByLocalErrorReference<T, E> for &&Judge<Result<T, E>> {
    #[inline]
    fn verdict(&self, outcome: &Result<T, E>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(error) => Verdict::by_source(error.as_ref().source()),
        }
    }
}

/// Every failure is transient.
pub trait ByOutcome<R> {
    /// Judges an outcome.
    fn verdict(&self, outcome: &R) -> Verdict;
}

impl<R: Outcome> ByOutcome<R> for &Judge<R> {
    #[inline]
    fn verdict(&self, outcome: &R) -> Verdict {
        Verdict::of(outcome)
    }
}

/// A plain value is a success.
pub trait Plain<R> {
    /// Judges an outcome.
    fn verdict(&self, outcome: &R) -> Verdict;
}

impl<R> Plain<R> for Judge<R> {
    #[inline]
    fn verdict(&self, _: &R) -> Verdict {
        Verdict::Success
    }
}

/// The error of an outcome.
pub trait FailureOfOutcome<R: Outcome> {
    /// The failure in an outcome.
    fn failure(&self, outcome: R) -> Failure<R::Error>;
}

impl<R: Outcome> FailureOfOutcome<R> for &Judge<R> {
    fn failure(&self, outcome: R) -> Failure<R::Error> {
        into_failure(outcome)
    }
}

/// A plain value has no error.
pub trait FailureOfPlain<R> {
    /// The failure in an outcome.
    fn failure(&self, outcome: R) -> Failure<Infallible>;
}

impl<R> FailureOfPlain<R> for Judge<R> {
    fn failure(&self, _: R) -> Failure<Infallible> {
        Failure::Unacceptable
    }
}

/// The error type can hold both errors.
pub trait KeepsBoth<T, E> {
    /// What to return.
    fn combine(&self, failure: Failure<E>, last: Result<T, E>, level: Level) -> Result<T, E>;
}

impl<T, E: From<FallbackFailed> + Into<BoxError>> KeepsBoth<T, E> for &&Combine<Result<T, E>> {
    fn combine(&self, failure: Failure<E>, last: Result<T, E>, level: Level) -> Result<T, E> {
        last.map_err(|last| FallbackFailed::new(level, last, failure).into())
    }
}

/// It cannot: the call's own error where there is one, else the last level's.
pub trait KeepsOne<R> {
    /// The error of a failure.
    type Error;

    /// What to return.
    fn combine(&self, failure: Failure<Self::Error>, last: R, level: Level) -> R;
}

impl<T, E> KeepsOne<Result<T, E>> for &Combine<Result<T, E>> {
    type Error = E;

    fn combine(&self, failure: Failure<E>, last: Result<T, E>, _: Level) -> Result<T, E> {
        match failure {
            Failure::Failed(error) => Err(error),
            Failure::Rejected(_) | Failure::Unacceptable => last,
        }
    }
}

impl<T> KeepsOne<Option<T>> for &Combine<Option<T>> {
    type Error = ();

    fn combine(&self, _: Failure<()>, last: Option<T>, _: Level) -> Option<T> {
        last
    }
}

/// A plain value holds no error at all.
pub trait KeepsLast<R> {
    /// What to return.
    fn combine<E>(&self, failure: Failure<E>, last: R, level: Level) -> R;
}

impl<R> KeepsLast<R> for Combine<R> {
    fn combine<E>(&self, _: Failure<E>, last: R, _: Level) -> R {
        last
    }
}
