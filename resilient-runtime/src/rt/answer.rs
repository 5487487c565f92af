//! What a path given as a fallback stands for: a function, an asynchronous function, or the answer itself.
//!
//! Chosen by the compiler, with the same trick as in `judge`. What is none of them counts as a function, so that
//! rustc explains what is wrong with it as one.

use std::marker::PhantomData;

/// Stands for a `given` path that is asked about a failure `A`, to get an `R`.
#[derive(Debug)]
pub struct Ask<R, A, F>(PhantomData<(R, A, F)>);

impl<R, A, F> Ask<R, A, F> {
    /// About the types of these.
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

/// It has the type of the answer: a constant, an argument, `None`.
pub trait IsAnswer {
    /// How to get the answer.
    fn how(&self) -> Answer {
        Answer
    }
}

impl<R, A> IsAnswer for &&Ask<R, A, R> {}

/// It is a function whose future gives the answer.
pub trait IsAsyncFunction {
    /// How to get the answer.
    fn how(&self) -> AsyncFunction {
        AsyncFunction
    }
}

impl<R, A, F: AsyncFnOnce(A) -> R> IsAsyncFunction for &Ask<R, A, F> {}

/// It is a function without an argument, which is wrong.
pub trait TakesNothing<O> {
    /// How to get the answer.
    fn how(&self) -> OtherFunction {
        OtherFunction
    }
}

impl<R, A, O, F: FnOnce() -> O> TakesNothing<O> for &Ask<R, A, F> {}

/// It is a function of two arguments, which is wrong.
pub trait TakesTwo<X, Y, O> {
    /// How to get the answer.
    fn how(&self) -> OtherFunction {
        OtherFunction
    }
}

impl<R, A, X, Y, O, F: FnOnce(X, Y) -> O> TakesTwo<X, Y, O> for &Ask<R, A, F> {}

/// It is a function, or wrong.
pub trait IsFunction {
    /// How to get the answer.
    fn how(&self) -> Function {
        Function
    }
}

impl<R, A, F> IsFunction for Ask<R, A, F> {}

/// The path is the answer.
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
    /// What was given.
    pub fn answer<R, A>(self, _: A, given: R) -> R {
        given
    }

    /// What was given, in an asynchronous function.
    pub async fn answer_later<R, A>(self, failure: A, given: R) -> R {
        drop(failure);
        given
    }
}

impl AsyncFunction {
    /// What the function's future gives.
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
    /// What it would give.
    fn call<R>(self, failure: A) -> R;
}

#[allow(clippy::unused_self, clippy::unused_async)] // they look alike
impl OtherFunction {
    /// Nothing: it is not called.
    pub fn answer<R, A>(self, failure: A, given: impl TakesFailure<A>) -> R {
        given.call(failure)
    }

    /// Likewise in an asynchronous function.
    pub async fn answer_later<R, A>(self, failure: A, given: impl TakesFailure<A>) -> R {
        given.call(failure)
    }
}

#[allow(clippy::unused_self, clippy::unused_async)] // the three look alike
impl Function {
    /// What the function gives.
    #[cold]
    pub fn answer<R, A>(self, failure: A, given: impl FnOnce(A) -> R) -> R {
        given(failure)
    }

    /// What the function gives, in an asynchronous one. The answer is made here, and so is no part of the future.
    pub async fn answer_later<R, A>(self, failure: A, given: impl FnOnce(A) -> R) -> R {
        given(failure)
    }
}
