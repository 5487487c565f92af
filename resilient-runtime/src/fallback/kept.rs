//! What the built-in local cache can keep.

use std::time::Duration;

use super::asking::NoAnswer;

/// A value that the local cache can keep: it is copied when it is stored and when it is served, maybe by another thread.
#[diagnostic::on_unimplemented(
    message = "`local_cache` cannot keep a `{Self}`",
    label = "it keeps what is `Clone + Send + Sync + 'static`",
    note = "derive `Clone`, return an `Arc` of it, or write a level of your own: `local_cache = function`"
)]
pub trait LastGood: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> LastGood for T {}

/// An outcome whose good value can be kept.
pub trait Keeps: Sized {
    /// The value.
    type Value: LastGood;

    /// The value of a success.
    fn good(&self) -> Option<&Self::Value>;

    /// The success that holds it.
    fn again(value: Self::Value) -> Self;
}

impl<T: LastGood, E> Keeps for Result<T, E> {
    type Value = T;

    fn good(&self) -> Option<&T> {
        self.as_ref().ok()
    }

    fn again(value: T) -> Self {
        Ok(value)
    }
}

impl<T: LastGood> Keeps for Option<T> {
    type Value = T;

    fn good(&self) -> Option<&T> {
        self.as_ref()
    }

    fn again(value: T) -> Self {
        Some(value)
    }
}

/// A value again, and how old it is.
pub(crate) type Again<R> = Result<(R, Duration), NoAnswer>;
