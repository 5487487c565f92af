//! A value that a function with a fallback returns is a success, whatever its type: unless that is a future, which has
//! not even begun. Chosen by the compiler, with the same trick as in `judge`.

use std::future::IntoFuture;
use std::marker::PhantomData;

use crate::outcome::Outcome;

/// Stands for the type of what a call returned.
#[derive(Debug)]
pub struct Settled<R>(PhantomData<fn() -> R>);

impl<R> Settled<R> {
    /// Of the type of `_outcome`.
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

/// How it went can be told.
#[derive(Clone, Copy, Debug)]
pub struct Known;

/// It has not even begun.
#[derive(Clone, Copy, Debug)]
pub struct Unbegun;

/// The type says how it went.
pub trait IsOutcome {
    /// What is known.
    #[inline]
    fn state(&self) -> Known {
        Known
    }
}

impl<R: Outcome> IsOutcome for &&Settled<R> {}

/// It is a future, or what is made one by `.await`.
pub trait IsFuture {
    /// What is known.
    #[inline]
    fn state(&self) -> Unbegun {
        Unbegun
    }
}

impl<R: IntoFuture> IsFuture for &Settled<R> {}

/// Any other value.
pub trait IsValue {
    /// What is known.
    #[inline]
    fn state(&self) -> Known {
        Known
    }
}

impl<R> IsValue for Settled<R> {}

/// What a returned value can be judged by. Of a future nothing can.
#[diagnostic::on_unimplemented(
    message = "this function returns a future, which `#[resilient]` would take for a success before it has run",
    label = "`{R}` is a future, or becomes one by `.await`",
    note = "write `async fn`, return `impl Future<Output = ..>`, or end the function with `Box::pin(async move {{ .. }})`: then \
            what the future gives is looked at, also behind a type alias"
)]
pub trait Settles<R> {}

impl<R> Settles<R> for Known {}

/// Asks for nothing but the bound, with the words of its diagnostics.
#[inline]
pub const fn settled<R, S: Settles<R> + Copy>(_state: S, _outcome: &R) {}
