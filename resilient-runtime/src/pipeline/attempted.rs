//! The result of an attempt, which fault injection can replace by a rejection.

use std::task::Poll;

use crate::rejection::Rejection;

/// The result of an attempt without a time limit: its outcome, or with the feature `chaos` also a rejection in place of
/// it.
#[cfg(not(feature = "chaos"))]
pub type Attempted<T> = T;

/// The result of an attempt without a time limit: its outcome, or a rejection that fault injection put in its place.
#[cfg(feature = "chaos")]
pub type Attempted<T> = Result<T, Rejection>;

/// The result of an attempt whose body ran.
#[cfg(not(feature = "chaos"))]
#[inline]
pub(super) fn ran<T>(outcome: T) -> Attempted<T> {
    outcome
}

/// The result of an attempt whose body ran.
#[cfg(feature = "chaos")]
#[inline]
#[allow(clippy::unnecessary_wraps)] // the signature without the feature
pub(super) fn ran<T>(outcome: T) -> Attempted<T> {
    Ok(outcome)
}

/// The same type with and without the feature.
#[cfg(not(feature = "chaos"))]
#[inline]
#[allow(clippy::unnecessary_wraps)] // the signature with the feature
pub(super) fn result<T>(attempted: Attempted<T>) -> Result<T, Rejection> {
    Ok(attempted)
}

/// The same type with and without the feature.
#[cfg(feature = "chaos")]
#[inline]
pub(super) fn result<T>(attempted: Attempted<T>) -> Result<T, Rejection> {
    attempted
}

/// A pending or finished body as the result of an attempt.
#[inline]
pub(super) fn polled<T>(poll: Poll<T>) -> Poll<Attempted<T>> {
    poll.map(ran)
}
