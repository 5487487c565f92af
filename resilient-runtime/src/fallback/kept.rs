//! Traits of values that the built-in local cache can store.

use std::time::Duration;

use super::level_permit::NoAnswer;

/// A value that the local cache can store.
///
/// The value is cloned when it is stored and when it is served, which can happen on different threads.
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::Registry;
///
/// struct Catalogue(Vec<String>); // large, and not `Clone`
/// let fallback = Registry::new().fallback("catalogue");
/// fallback.keep("all", Arc::new(Catalogue(vec!["book".into()])));
/// let (kept, _age) = fallback.last_good::<Arc<Catalogue>, _>("all").unwrap();
/// assert_eq!(kept.0, ["book"]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`local_cache` cannot store a `{Self}`",
    label = "the value must be `Clone + Send + Sync + 'static`",
    note = "derive `Clone`, return an `Arc` of it, or write a level of your own: `local_cache = function`"
)]
pub trait LastGood: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> LastGood for T {}

/// A return type whose success value the local cache can store.
///
/// ```
/// use resilient_runtime::fallback::Keeps;
///
/// let answer: Result<u32, String> = Ok(7);
/// assert_eq!(<Result<u32, String>>::again(*answer.good().unwrap()), answer);
/// ```
pub trait Keeps: Sized {
    /// The value of a success.
    type Value: LastGood;

    /// Returns the value of a success.
    ///
    /// ```
    /// use resilient_runtime::fallback::Keeps;
    ///
    /// assert_eq!(Ok::<_, String>(7).good(), Some(&7));
    /// assert_eq!(Err::<u32, _>("closed").good(), None);
    /// ```
    fn good(&self) -> Option<&Self::Value>;

    /// Returns a success that contains `value`.
    ///
    /// ```
    /// use resilient_runtime::fallback::Keeps;
    ///
    /// assert_eq!(<Option<u32>>::again(7), Some(7));
    /// ```
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

/// A cached outcome and its age.
pub(crate) type Again<R> = Result<(R, Duration), NoAnswer>;
