//! Whether an argument that the body takes by value is there for the next attempt. Chosen by the compiler, with the same
//! trick as in `judge`.

use std::marker::PhantomData;

/// Stands for the type of an argument.
#[derive(Debug)]
pub struct Repeated<T>(PhantomData<fn() -> T>);

impl<T> Repeated<T> {
    /// Of the type of `_argument`.
    #[inline]
    pub const fn of(_argument: &T) -> Self {
        Self(PhantomData)
    }
}

/// It is there again.
#[derive(Clone, Copy, Debug)]
pub struct Again;

/// It is not.
#[derive(Clone, Copy, Debug)]
pub struct Moved;

impl Again {
    /// Whether a part is there again: a part of what is there again is.
    pub const fn or<T: Copy>(self, _: T) -> Self {
        self
    }
}

impl Moved {
    /// Whether a part is there again, of what is not whole.
    pub const fn or<T: Copy>(self, part: T) -> T {
        part
    }
}

/// The traits to have in scope.
pub mod repeating {
    #[allow(unused_imports)] // only one of them is needed at a time
    pub use super::{IsBorrowed as _, IsCopied as _, IsMoved as _};
}

/// What is `Copy` is copied.
pub trait IsCopied {
    /// It is there again.
    fn again(&self) -> Again {
        Again
    }
}

impl<T: Copy> IsCopied for &&Repeated<T> {}

/// A `&mut` is borrowed anew.
pub trait IsBorrowed {
    /// It is there again.
    fn again(&self) -> Again {
        Again
    }
}

impl<T: ?Sized> IsBorrowed for &Repeated<&mut T> {}

/// Anything else is gone.
pub trait IsMoved {
    /// It is not there again.
    fn again(&self) -> Moved {
        Moved
    }
}

impl<T> IsMoved for Repeated<T> {}
