//! Decides what the path given as a fallback is: a function, an asynchronous function, or a value.
//!
//! The compiler chooses by autoref specialization, as in `judge`. Anything else is treated as a function, so that the
//! error of rustc explains why it is not one.

use std::marker::PhantomData;

/// The type of a `given` path that handles a failure `A` and returns an `R`.
#[derive(Debug)]
pub struct Ask<R, A, F>(PhantomData<(R, A, F)>);

impl<R, A, F> Ask<R, A, F> {
    /// Takes the types from values.
    pub fn of(_failure: &A, _given: &F) -> Self {
        Self(PhantomData)
    }
}

/// The traits to have in scope in a synchronous function.
pub mod asking {
    #[allow(unused_imports)] // only one of them is needed at a time
    pub use super::{IsAnswer as _, IsFunction as _, TakesNothing as _, TakesTwo as _};
}

/// The traits to have in scope in an asynchronous function.
pub mod asking_later {
    #[allow(unused_imports)]
    pub use super::{IsAnswer as _, IsAsyncFunction as _, IsFunction as _, TakesNothing as _, TakesTwo as _};
}

/// The path has the type of the result: a constant, an argument, `None`.
pub trait IsAnswer {
    /// How to get the result.
    fn how(&self) -> Answer {
        Answer
    }
}

impl<R, A> IsAnswer for &&Ask<R, A, R> {}

/// The path is a function whose future returns the result.
pub trait IsAsyncFunction {
    /// How to get the result.
    fn how(&self) -> AsyncFunction {
        AsyncFunction
    }
}

impl<R, A, F: AsyncFnOnce(A) -> R> IsAsyncFunction for &Ask<R, A, F> {}

/// The path is a function without an argument, which is an error.
pub trait TakesNothing<O> {
    /// How to get the result.
    fn how(&self) -> OtherFunction {
        OtherFunction
    }
}

impl<R, A, O, F: FnOnce() -> O> TakesNothing<O> for &Ask<R, A, F> {}

/// The path is a function of two arguments, which is an error.
pub trait TakesTwo<X, Y, O> {
    /// How to get the result.
    fn how(&self) -> OtherFunction {
        OtherFunction
    }
}

impl<R, A, X, Y, O, F: FnOnce(X, Y) -> O> TakesTwo<X, Y, O> for &Ask<R, A, F> {}

/// The path is a function, or an error.
pub trait IsFunction {
    /// How to get the result.
    fn how(&self) -> Function {
        Function
    }
}

impl<R, A, F> IsFunction for Ask<R, A, F> {}

/// The path is the result.
#[derive(Debug)]
pub struct Answer;

/// The path is an asynchronous function of the failure.
#[derive(Debug)]
pub struct AsyncFunction;

/// The path is a function of the failure.
#[derive(Debug)]
pub struct Function;

#[allow(clippy::unused_self, clippy::unused_async)] // the three look alike
impl Answer {
    /// Returns the given value.
    pub fn answer<R, A>(self, _: A, given: R) -> R {
        given
    }

    /// Returns the given value, in an asynchronous function.
    pub async fn answer_later<R, A>(self, failure: A, given: R) -> R {
        drop(failure);
        given
    }
}

impl AsyncFunction {
    /// Awaits the future of the function.
    pub async fn answer_later<R, A>(self, failure: A, given: impl AsyncFnOnce(A) -> R) -> R {
        given(failure).await
    }
}

/// The path is a function that cannot be called with the failure.
#[derive(Debug)]
pub struct OtherFunction;

/// A function of one argument.
#[diagnostic::on_unimplemented(
    message = "a fallback is called with one argument, the failure of the call: `{A}`",
    label = "not a function of one argument",
    note = "write `fn fallback(failure: {A}) -> ..`, or call it in an expression, as in `fallback = fallback()`"
)]
pub trait TakesFailure<A> {
    /// Calls the function.
    fn call<R>(self, failure: A) -> R;
}

#[allow(clippy::unused_self, clippy::unused_async)] // they look alike
impl OtherFunction {
    /// Never called: it produces the compile error.
    pub fn answer<R, A>(self, failure: A, given: impl TakesFailure<A>) -> R {
        given.call(failure)
    }

    /// The same in an asynchronous function.
    pub async fn answer_later<R, A>(self, failure: A, given: impl TakesFailure<A>) -> R {
        given.call(failure)
    }
}

#[allow(clippy::unused_self, clippy::unused_async)] // the three look alike
impl Function {
    /// Calls the function.
    #[cold]
    pub fn answer<R, A>(self, failure: A, given: impl FnOnce(A) -> R) -> R {
        given(failure)
    }

    /// Calls the function, in an asynchronous function. The result is made here, so it is not part of the future.
    pub async fn answer_later<R, A>(self, failure: A, given: impl FnOnce(A) -> R) -> R {
        given(failure)
    }
}
