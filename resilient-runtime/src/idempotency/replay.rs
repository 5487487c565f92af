//! Which part of an outcome is kept, and how it becomes one again.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An outcome whose success can be kept and given again.
#[diagnostic::on_unimplemented(
    message = "`idempotent(key = ..)` cannot keep the answer of a function that returns `{Self}`",
    label = "expected `Result<T, _>` or `Option<T>` with `T: Serialize + DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for the type of the answer"
)]
pub trait Replay: Sized {
    /// What is kept.
    type Value: Serialize + DeserializeOwned;

    /// It, where there is one: a failure is not kept.
    fn value(&self) -> Option<&Self::Value>;

    /// The outcome that gave this value.
    fn replay(value: Self::Value) -> Self;
}

impl<T: Serialize + DeserializeOwned, E> Replay for Result<T, E> {
    type Value = T;

    fn value(&self) -> Option<&T> {
        self.as_ref().ok()
    }

    fn replay(value: T) -> Self {
        Ok(value)
    }
}

impl<T: Serialize + DeserializeOwned> Replay for Option<T> {
    type Value = T;

    fn value(&self) -> Option<&T> {
        self.as_ref()
    }

    fn replay(value: T) -> Self {
        Some(value)
    }
}
