//! Finds out whether an argument that the body takes by value is still available for the next attempt.
//!
//! The compiler chooses by autoref specialization, as in `judge`.

use std::marker::PhantomData;

/// The type of an argument.
#[derive(Debug)]
pub struct Repeated<T>(PhantomData<fn() -> T>);

impl<T> Repeated<T> {
    /// Takes the type of `_argument`.
    #[inline]
    pub const fn of(_argument: &T) -> Self {
        Self(PhantomData)
    }
}

/// The argument is available again.
#[derive(Clone, Copy, Debug)]
pub struct Again;

/// The argument was moved.
#[derive(Clone, Copy, Debug)]
pub struct Moved;

impl Again {
    /// A part of an argument that is available again is available again too.
    pub const fn or<T: Copy>(self, _: T) -> Self {
        self
    }
}

impl Moved {
    /// A part of an argument that was moved is available again if its own type permits.
    pub const fn or<T: Copy>(self, part: T) -> T {
        part
    }
}

/// The traits to have in scope.
pub mod repeating {
    #[allow(unused_imports)] // only one of them is needed at a time
    pub use super::{IsBorrowed as _, IsCopied as _, IsMoved as _};
}

/// A `Copy` type is copied.
pub trait IsCopied {
    /// Returns that it is available again.
    fn again(&self) -> Again {
        Again
    }
}

impl<T: Copy> IsCopied for &&Repeated<T> {}

/// A `&mut` reference is reborrowed.
pub trait IsBorrowed {
    /// Returns that it is available again.
    fn again(&self) -> Again {
        Again
    }
}

impl<T: ?Sized> IsBorrowed for &Repeated<&mut T> {}

/// Any other type is moved.
pub trait IsMoved {
    /// Returns that it was moved.
    fn again(&self) -> Moved {
        Moved
    }
}

impl<T> IsMoved for Repeated<T> {}
