//! The best rule that a type allows, chosen by the compiler.
//!
//! Rust has no specialisation, but method look-up tries fewer references after more: each trait below is
//! implemented one reference further out than the next weaker one (D. Tolnay, *Autoref-based stable
//! specialization*, 2019). In a generic function the rule follows from the bounds that are written there.

use std::convert::Infallible;
use std::error::Error;
use std::marker::PhantomData;

use crate::classify::{Classify, Judgement, was_refused};
use crate::fallback::into_failure;
use crate::level::Level;
use crate::outcome::{BoxError, Failure, FallbackFailed, Outcome, Reject};
use crate::rejection::Rejection;

/// Stands for the type of an outcome.
#[derive(Debug)]
pub struct Judge<R>(PhantomData<fn() -> R>);

impl<R> Judge<R> {
    /// Of the type of `_outcome`.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }

    /// Of this type.
    #[allow(clippy::new_without_default)] // named in expanded code alone
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// How an outcome is judged.
pub trait Rule<R>: Sized {
    /// Whether it may insist on a retry of what is refused otherwise.
    const INSISTS: bool = false;

    /// Judges it.
    fn judge(self, outcome: &R) -> Judgement;
}

/// It was judged.
impl<R> Rule<R> for Judgement {
    #[inline]
    fn judge(self, _: &R) -> Judgement {
        self
    }
}

/// A predicate of the user is a part of it.
impl<R, J: FnOnce(&R) -> Judgement> Rule<R> for J {
    const INSISTS: bool = true;

    #[inline]
    fn judge(self, outcome: &R) -> Judgement {
        self(outcome)
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
        ByClass, ByClassAndSource, ByErrorReference, ByLocalErrorReference, ByOutcome, BySource,
        FailureOfOutcome, FailureOfPlain, KeepsBoth, KeepsLast, KeepsOne, NotRejected, Plain, Rejected,
    };
}

/// The traits to have in scope where the function says that its error type is `'static`.
pub mod judging_static {
    pub use super::{
        ByClass, ByClassAndSource, ByError, ByErrorReference, ByLocalErrorReference, ByValue, Plain,
    };
}

/// The error says what it is, and a refusal among its sources whether it was carried out.
pub trait ByClassAndSource<T, E> {
    /// The rule.
    fn how(&self) -> ClassAndSourceRule {
        ClassAndSourceRule
    }
}

impl<T, E: Classify + Error> ByClassAndSource<T, E> for &&&&&&Judge<Result<T, E>> {}

/// That of [`ByClassAndSource`].
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

/// The error says what it is.
pub trait ByClass<T, E> {
    /// The rule.
    fn how(&self) -> ClassRule {
        ClassRule
    }
}

impl<T, E: Classify> ByClass<T, E> for &&&&&Judge<Result<T, E>> {}

/// That of [`ByClass`].
#[derive(Clone, Copy, Debug)]
pub struct ClassRule;

impl<T, E: Classify> Rule<Result<T, E>> for ClassRule {
    #[inline]
    fn judge(self, outcome: &Result<T, E>) -> Judgement {
        Judgement::by_class(outcome)
    }
}

/// There may be a known cause among the sources of the error. The error itself may borrow: which rule is taken
/// cannot depend on lifetimes. (Where it is a known cause itself, it has `Classify`.)
pub trait BySource<T, E> {
    /// The rule.
    fn how(&self) -> SourceRule {
        SourceRule
    }
}

impl<T, E: Error> BySource<T, E> for &&&&Judge<Result<T, E>> {}

/// That of [`BySource`].
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

/// The error itself may be a known cause, too: a generic function can be given one that has `Classify`.
pub trait ByError<T, E> {
    /// The rule.
    fn how(&self) -> ErrorRule {
        ErrorRule
    }
}

impl<T, E: Error + 'static> ByError<T, E> for &&&&Judge<Result<T, E>> {}

/// That of [`ByError`].
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

/// Likewise for `Box<dyn Error + Send + Sync>`, `anyhow::Error` and their kind, which are no `Error`.
pub trait ByErrorReference<T, E> {
    /// The rule.
    fn how(&self) -> ErrorReferenceRule {
        ErrorReferenceRule
    }
}

impl<T, E: AsRef<dyn Error + Send + Sync + 'static>> ByErrorReference<T, E> for &&&Judge<Result<T, E>> {}

/// That of [`ByErrorReference`].
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

/// Likewise for `Box<dyn Error>`.
pub trait ByLocalErrorReference<T, E> {
    /// The rule.
    fn how(&self) -> LocalErrorReferenceRule {
        LocalErrorReferenceRule
    }
}

impl<T, E: AsRef<dyn Error + 'static>> ByLocalErrorReference<T, E> for &&Judge<Result<T, E>> {}

/// That of [`ByLocalErrorReference`].
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

/// Nothing is known of a failure.
pub trait ByOutcome<R> {
    /// The rule.
    fn how(&self) -> OutcomeRule {
        OutcomeRule
    }
}

impl<R: Outcome> ByOutcome<R> for &Judge<R> {}

/// That of [`ByOutcome`].
#[derive(Clone, Copy, Debug)]
pub struct OutcomeRule;

impl<R: Outcome> Rule<R> for OutcomeRule {
    #[inline]
    fn judge(self, outcome: &R) -> Judgement {
        if outcome.is_failure() { Judgement::UNKNOWN } else { Judgement::SUCCESS }
    }
}

/// No bound says that the failure is an `Error`, but it can be of a known type.
pub trait ByValue<T, E> {
    /// The rule.
    fn how(&self) -> ValueRule {
        ValueRule
    }
}

impl<T, E: 'static> ByValue<T, E> for &Judge<Result<T, E>> {}

/// That of [`ByValue`].
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

/// That of [`Plain`].
#[derive(Clone, Copy, Debug)]
pub struct PlainRule;

impl<R> Rule<R> for PlainRule {
    #[inline]
    fn judge(self, _: &R) -> Judgement {
        Judgement::SUCCESS
    }
}

/// The value that a refusal becomes, where there is one.
pub trait Rejected<R> {
    /// The value.
    fn rejected(&self, rejection: &Rejection) -> Option<R>;
}

impl<R: Reject> Rejected<R> for &Judge<R> {
    #[cold]
    fn rejected(&self, rejection: &Rejection) -> Option<R> {
        Some(R::from_rejection(rejection.clone()))
    }
}

/// A fallback answers, and the type cannot hold a refusal.
pub trait NotRejected<R> {
    /// None.
    fn rejected(&self, rejection: &Rejection) -> Option<R>;
}

impl<R> NotRejected<R> for Judge<R> {
    fn rejected(&self, _: &Rejection) -> Option<R> {
        None
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
