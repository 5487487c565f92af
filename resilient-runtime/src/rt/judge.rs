//! Chooses the best rule that a type permits for judging an outcome.
//!
//! Rust has no specialization, but method lookup tries fewer references before more. Each trait below is therefore
//! implemented for one reference more than the next weaker one (D. Tolnay, *Autoref-based stable specialization*,
//! 2019). In a generic function the rule follows from its bounds.

use std::convert::Infallible;
use std::error::Error;
use std::marker::PhantomData;

use crate::classify::{Classify, Judgement, was_refused};
use crate::fallback::into_failure;
use crate::level::Level;
use crate::outcome::{BoxError, Failure, FallbackFailed, Outcome, Reject};
use crate::rejection::Rejection;

/// The type of an outcome.
#[derive(Debug)]
pub struct Judge<R>(PhantomData<fn() -> R>);

impl<R> Judge<R> {
    /// Takes the type of `_outcome`.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }

    /// Makes it for the type `R`.
    #[allow(clippy::new_without_default)] // used only in generated code
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// A rule that judges an outcome.
pub trait Rule<R>: Sized {
    /// Whether it can request a retry after a rejection that is not retried by default.
    const INSISTS: bool = false;

    /// Judges the outcome.
    fn judge(self, outcome: &R) -> Judgement;
}

/// A judgement that was already made.
impl<R> Rule<R> for Judgement {
    #[inline]
    fn judge(self, _: &R) -> Judgement {
        self
    }
}

/// A rule that contains a predicate of the user.
impl<R, J: FnOnce(&R) -> Judgement> Rule<R> for J {
    const INSISTS: bool = true;

    #[inline]
    fn judge(self, outcome: &R) -> Judgement {
        self(outcome)
    }
}

/// The type of an outcome after every fallback level has failed.
#[derive(Debug)]
pub struct Combine<R>(PhantomData<fn() -> R>);

impl<R> Combine<R> {
    /// Takes the type of `_outcome`.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }
}

/// The traits to have in scope.
pub mod judging {
    pub use super::{
        ByClass, ByClassAndSource, ByErrorReference, ByLocalErrorReference, ByOutcome, BySource,
        FailureOfOutcome, FailureOfPlain, KeepsBoth, KeepsLast, KeepsOne, NotRejected, Plain, Rejected,
    };
}

/// The traits to have in scope if the function declares that its error type is `'static`.
pub mod judging_static {
    pub use super::{
        ByClass, ByClassAndSource, ByError, ByErrorReference, ByLocalErrorReference, ByValue, Plain,
    };
}

/// The error implements `Classify`. A rejection among its sources decides whether the call was executed.
pub trait ByClassAndSource<T, E> {
    /// The rule.
    fn how(&self) -> ClassAndSourceRule {
        ClassAndSourceRule
    }
}

impl<T, E: Classify + Error> ByClassAndSource<T, E> for &&&&&&Judge<Result<T, E>> {}

/// The rule of [`ByClassAndSource`].
#[derive(Clone, Copy, Debug)]
pub struct ClassAndSourceRule;

impl<T, E: Classify + Error> Rule<Result<T, E>> for ClassAndSourceRule {
    #[inline]
    fn judge(self, outcome: &Result<T, E>) -> Judgement {
        match outcome {
            Ok(_) => Judgement::SUCCESS,
            Err(error) => {
                let judgement = error.__judged();
                let is_refused = error.source().is_some_and(was_refused);
                if is_refused { judgement.refused() } else { judgement }
            }
        }
    }
}

/// The error implements `Classify`.
pub trait ByClass<T, E> {
    /// The rule.
    fn how(&self) -> ClassRule {
        ClassRule
    }
}

impl<T, E: Classify> ByClass<T, E> for &&&&&Judge<Result<T, E>> {}

/// The rule of [`ByClass`].
#[derive(Clone, Copy, Debug)]
pub struct ClassRule;

impl<T, E: Classify> Rule<Result<T, E>> for ClassRule {
    #[inline]
    fn judge(self, outcome: &Result<T, E>) -> Judgement {
        Judgement::by_class(outcome)
    }
}

/// The sources of the error can include a known cause. The error itself may borrow, because the choice of a rule cannot
/// depend on lifetimes. (If the error is a known cause itself, it implements `Classify`.)
pub trait BySource<T, E> {
    /// The rule.
    fn how(&self) -> SourceRule {
        SourceRule
    }
}

impl<T, E: Error> BySource<T, E> for &&&&Judge<Result<T, E>> {}

/// The rule of [`BySource`].
#[derive(Clone, Copy, Debug)]
pub struct SourceRule;

impl<T, E: Error> Rule<Result<T, E>> for SourceRule {
    #[inline]
    fn judge(self, outcome: &Result<T, E>) -> Judgement {
        match outcome {
            Ok(_) => Judgement::SUCCESS,
            Err(error) => Judgement::by_source(error.source()),
        }
    }
}

/// The error itself can be a known cause too: a generic function can be called with an error that implements
/// `Classify`.
pub trait ByError<T, E> {
    /// The rule.
    fn how(&self) -> ErrorRule {
        ErrorRule
    }
}

impl<T, E: Error + 'static> ByError<T, E> for &&&&Judge<Result<T, E>> {}

/// The rule of [`ByError`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorRule;

impl<T, E: Error + 'static> Rule<Result<T, E>> for ErrorRule {
    #[inline]
    fn judge(self, outcome: &Result<T, E>) -> Judgement {
        match outcome {
            Ok(_) => Judgement::SUCCESS,
            Err(error) => Judgement::by_source(Some(error)),
        }
    }
}

/// The same rule for `Box<dyn Error + Send + Sync>`, `anyhow::Error` and similar types, which do not implement `Error`.
pub trait ByErrorReference<T, E> {
    /// The rule.
    fn how(&self) -> ErrorReferenceRule {
        ErrorReferenceRule
    }
}

impl<T, E: AsRef<dyn Error + Send + Sync + 'static>> ByErrorReference<T, E> for &&&Judge<Result<T, E>> {}

/// The rule of [`ByErrorReference`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorReferenceRule;

impl<T, E: AsRef<dyn Error + Send + Sync + 'static>> Rule<Result<T, E>> for ErrorReferenceRule {
    #[inline]
    fn judge(self, outcome: &Result<T, E>) -> Judgement {
        match outcome {
            Ok(_) => Judgement::SUCCESS,
            Err(error) => Judgement::by_source(Some(error.as_ref())),
        }
    }
}

/// The same rule for `Box<dyn Error>`.
pub trait ByLocalErrorReference<T, E> {
    /// The rule.
    fn how(&self) -> LocalErrorReferenceRule {
        LocalErrorReferenceRule
    }
}

impl<T, E: AsRef<dyn Error + 'static>> ByLocalErrorReference<T, E> for &&Judge<Result<T, E>> {}

/// The rule of [`ByLocalErrorReference`].
#[derive(Clone, Copy, Debug)]
pub struct LocalErrorReferenceRule;

impl<T, E: AsRef<dyn Error + 'static>> Rule<Result<T, E>> for LocalErrorReferenceRule {
    #[inline]
    fn judge(self, outcome: &Result<T, E>) -> Judgement {
        match outcome {
            Ok(_) => Judgement::SUCCESS,
            Err(error) => Judgement::by_source(Some(error.as_ref())),
        }
    }
}

/// Nothing is known about the error.
pub trait ByOutcome<R> {
    /// The rule.
    fn how(&self) -> OutcomeRule {
        OutcomeRule
    }
}

impl<R: Outcome> ByOutcome<R> for &Judge<R> {}

/// The rule of [`ByOutcome`].
#[derive(Clone, Copy, Debug)]
pub struct OutcomeRule;

impl<R: Outcome> Rule<R> for OutcomeRule {
    #[inline]
    fn judge(self, outcome: &R) -> Judgement {
        if outcome.is_failure() { Judgement::UNKNOWN } else { Judgement::SUCCESS }
    }
}

/// No bound requires `Error`, but the error can have a known type.
pub trait ByValue<T, E> {
    /// The rule.
    fn how(&self) -> ValueRule {
        ValueRule
    }
}

impl<T, E: 'static> ByValue<T, E> for &Judge<Result<T, E>> {}

/// The rule of [`ByValue`].
#[derive(Clone, Copy, Debug)]
pub struct ValueRule;

impl<T, E: 'static> Rule<Result<T, E>> for ValueRule {
    #[inline]
    fn judge(self, outcome: &Result<T, E>) -> Judgement {
        Judgement::of(outcome)
    }
}

/// A plain value is a success.
pub trait Plain<R> {
    /// The rule.
    fn how(&self) -> PlainRule {
        PlainRule
    }
}

impl<R> Plain<R> for Judge<R> {}

/// The rule of [`Plain`].
#[derive(Clone, Copy, Debug)]
pub struct PlainRule;

impl<R> Rule<R> for PlainRule {
    #[inline]
    fn judge(self, _: &R) -> Judgement {
        Judgement::SUCCESS
    }
}

/// The value made from a rejection, if the type can hold one.
pub trait Rejected<R> {
    /// The value.
    fn rejected(&self, rejection: &Rejection) -> Option<R>;

    /// Whether there is one.
    #[cfg(feature = "chaos")]
    fn can_be_rejected(&self) -> bool {
        true
    }
}

impl<R: Reject> Rejected<R> for &Judge<R> {
    #[cold]
    fn rejected(&self, rejection: &Rejection) -> Option<R> {
        Some(R::from_rejection(rejection.clone()))
    }
}

/// The type cannot hold a rejection. A fallback handles it.
pub trait NotRejected<R> {
    /// Returns `None`.
    fn rejected(&self, rejection: &Rejection) -> Option<R>;

    /// Returns `false`.
    #[cfg(feature = "chaos")]
    fn can_be_rejected(&self) -> bool {
        false
    }
}

impl<R> NotRejected<R> for Judge<R> {
    fn rejected(&self, _: &Rejection) -> Option<R> {
        None
    }
}

/// The error of an outcome.
pub trait FailureOfOutcome<R: Outcome> {
    /// Returns the failure of an outcome.
    fn failure(&self, outcome: R) -> Failure<R::Error>;
}

impl<R: Outcome> FailureOfOutcome<R> for &Judge<R> {
    fn failure(&self, outcome: R) -> Failure<R::Error> {
        into_failure(outcome)
    }
}

/// A plain value has no error.
pub trait FailureOfPlain<R> {
    /// Returns the failure of an outcome.
    fn failure(&self, outcome: R) -> Failure<Infallible>;
}

impl<R> FailureOfPlain<R> for Judge<R> {
    fn failure(&self, _: R) -> Failure<Infallible> {
        Failure::Unacceptable
    }
}

/// The error type can hold the errors of the call and of the last level.
pub trait KeepsBoth<T, E> {
    /// Returns the combined outcome.
    fn combine(&self, failure: Failure<E>, last: Result<T, E>, level: Level) -> Result<T, E>;
}

impl<T, E: From<FallbackFailed> + Into<BoxError>> KeepsBoth<T, E> for &&Combine<Result<T, E>> {
    fn combine(&self, failure: Failure<E>, last: Result<T, E>, level: Level) -> Result<T, E> {
        last.map_err(|last| FallbackFailed::new(level, last, failure).into())
    }
}

/// The error type cannot hold both: the error of the call is returned if there is one, otherwise the error of the last
/// level.
pub trait KeepsOne<R> {
    /// Returns the error of a failure.
    type Error;

    /// Returns the combined outcome.
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

/// A plain value has no error.
pub trait KeepsLast<R> {
    /// Returns the combined outcome.
    fn combine<E>(&self, failure: Failure<E>, last: R, level: Level) -> R;
}

impl<R> KeepsLast<R> for Combine<R> {
    fn combine<E>(&self, _: Failure<E>, last: R, _: Level) -> R {
        last
    }
}
