//! What the built-in local cache can keep.

use std::time::Duration;

use super::level_permit::NoAnswer;

/// A value that the local cache can keep: it is copied when it is stored and when it is served, maybe by another thread.
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::Registry;
///
/// struct Catalogue(Vec<String>); // which is large, and no `Clone`
/// let fallback = Registry::new().fallback("catalogue");
/// fallback.keep("all", Arc::new(Catalogue(vec!["book".into()])));
/// let (kept, _age) = fallback.last_good::<Arc<Catalogue>, _>("all").unwrap();
/// assert_eq!(kept.0, ["book"]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`local_cache` cannot keep a `{Self}`",
    label = "it keeps what is `Clone + Send + Sync + 'static`",
    note = "derive `Clone`, return an `Arc` of it, or write a level of your own: `local_cache = function`"
)]
pub trait LastGood: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> LastGood for T {}

/// An outcome whose good value can be kept.
///
/// ```
/// use resilient_runtime::fallback::Keeps;
///
/// let answer: Result<u32, String> = Ok(7);
/// assert_eq!(<Result<u32, String>>::again(*answer.good().unwrap()), answer);
/// ```
pub trait Keeps: Sized {
    /// The value.
    type Value: LastGood;

    /// The value of a success.
    ///
    /// ```
    /// use resilient_runtime::fallback::Keeps;
    ///
    /// assert_eq!(Ok::<_, String>(7).good(), Some(&7));
    /// assert_eq!(Err::<u32, _>("closed").good(), None);
    /// ```
    fn good(&self) -> Option<&Self::Value>;

    /// The success that holds it.
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

/// A value again, and how old it is.
pub(crate) type Again<R> = Result<(R, Duration), NoAnswer>;
