//! Rejects functions that return a future where a plain value is expected.
//!
//! A plain value returned by a function with a fallback counts as a success, but a future has not run yet. The compiler
//! chooses by autoref specialization, as in `judge`.

use std::future::IntoFuture;
use std::marker::PhantomData;

use crate::outcome::Outcome;

/// The type of the value that a call returned.
#[derive(Debug)]
pub struct Settled<R>(PhantomData<fn() -> R>);

impl<R> Settled<R> {
    /// Takes the type of `_outcome`.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }
}

/// The traits to have in scope.
pub mod settling {
    #[allow(unused_imports)] // only one of them is needed at a time
    pub use super::{IsFuture as _, IsOutcome as _, IsValue as _};
}

/// The value can be judged.
#[derive(Clone, Copy, Debug)]
pub struct Known;

/// The value is a future that has not run.
#[derive(Clone, Copy, Debug)]
pub struct Unbegun;

/// The type shows success or failure.
pub trait IsOutcome {
    /// Returns the state.
    #[inline]
    fn state(&self) -> Known {
        Known
    }
}

impl<R: Outcome> IsOutcome for &&Settled<R> {}

/// The value is a future, or `.await` turns it into one.
pub trait IsFuture {
    /// Returns the state.
    #[inline]
    fn state(&self) -> Unbegun {
        Unbegun
    }
}

impl<R: IntoFuture> IsFuture for &Settled<R> {}

/// Any other value.
pub trait IsValue {
    /// Returns the state.
    #[inline]
    fn state(&self) -> Known {
        Known
    }
}

impl<R> IsValue for Settled<R> {}

/// A state in which a returned value can be judged. A future cannot.
#[diagnostic::on_unimplemented(
    message = "this function returns a future, which `#[resilient]` would count as a success before it has run",
    label = "`{R}` is a future, or `.await` turns it into one",
    note = "write `async fn`, return `impl Future<Output = ..>`, or end the function with `Box::pin(async move {{ .. }})`: then \
            the output of the future is judged, also behind a type alias"
)]
pub trait Settles<R> {}

impl<R> Settles<R> for Known {}

/// Requires the bound, for its diagnostics.
#[inline]
pub const fn settled<R, S: Settles<R> + Copy>(_state: S, _outcome: &R) {}
