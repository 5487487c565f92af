//! The result of an attempt, which fault injection can replace by a rejection.

#[cfg(not(feature = "chaos"))]
use crate::pipeline::Call;
#[cfg(not(feature = "chaos"))]
use crate::rejection::Rejection;

/// The result of an attempt without a time limit: its outcome. With the feature `chaos`, it is an `Option`.
#[cfg(not(feature = "chaos"))]
pub type Attempted<T> = T;

/// The result of an attempt without a time limit: its outcome, or `None` if fault injection put a rejection in its
/// place. The call holds the rejection, so that the usual path moves nothing but the outcome.
#[cfg(feature = "chaos")]
pub type Attempted<T> = Option<T>;

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
    Some(outcome)
}

#[cfg(not(feature = "chaos"))]
impl Call<'_> {
    /// Returns the outcome of an attempt; with the feature `chaos`, also an injected rejection.
    #[inline]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // the signature with the feature
    pub(super) fn result<T>(&mut self, attempted: Attempted<T>) -> Result<T, Rejection> {
        Ok(attempted)
    }
}
