//! Traits that distinguish success from failure in the result of a call.

mod failure;
mod fallback_failed;
mod reject;

pub use failure::Failure;
pub(crate) use fallback_failed::UNACCEPTABLE;
pub use fallback_failed::{BoxError, FallbackFailed};
pub use reject::{FromRejection, Reject};

/// A return type that distinguishes success from failure.
///
/// ```
/// use resilient_runtime::Outcome;
///
/// /// A reply whose failure is not an `Err`.
/// enum Reply { Text(String), Down }
/// impl Outcome for Reply {
///     type Error = ();
///     fn is_failure(&self) -> bool { matches!(self, Self::Down) }
///     fn error(&self) -> Option<&()> { self.is_failure().then_some(&()) }
///     fn into_error(self) -> Option<()> { self.is_failure().then_some(()) }
/// }
/// let retry = resilient_runtime::Registry::with_clock(resilient_runtime::clock::ManualClock::new().clock()).retry("chat");
/// let mut replies = [Reply::Down, Reply::Text("hello".into())].into_iter();
/// assert!(matches!(retry.call(|| replies.next().unwrap()), Reply::Text(_)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`#[resilient]` cannot tell success from failure in `{Self}`",
    label = "expected `Result<_, _>` or `Option<_>`, found `{Self}`",
    note = "return a `Result` or an `Option`, add `fallback = ...`, or implement `resilient_runtime::Outcome` for `{Self}`",
    note = "if it is a future: write `async fn`, or end the function with `Box::pin(async move {{ .. }})`"
)]
pub trait Outcome: Sized {
    /// The error of a failure.
    type Error;

    /// Whether the call failed.
    ///
    /// ```
    /// use resilient_runtime::Outcome;
    ///
    /// assert!(None::<u32>.is_failure());
    /// assert!(!Ok::<u32, String>(7).is_failure());
    /// ```
    fn is_failure(&self) -> bool;

    /// Returns the error of a failure, or `None` for a success.
    ///
    /// ```
    /// use resilient_runtime::Outcome;
    ///
    /// assert_eq!(Outcome::error(&Err::<u32, _>("refused")), Some(&"refused"));
    /// assert_eq!(Outcome::error(&Some(7)), None);
    /// ```
    fn error(&self) -> Option<&Self::Error>;

    /// Converts a failure into its error. Returns `None` for a success.
    ///
    /// ```
    /// use resilient_runtime::Outcome;
    ///
    /// assert_eq!(Err::<u32, _>("refused").into_error(), Some("refused"));
    /// assert_eq!(Ok::<_, String>(7).into_error(), None);
    /// ```
    fn into_error(self) -> Option<Self::Error>;
}

impl<T, E> Outcome for Result<T, E> {
    type Error = E;

    #[inline]
    fn is_failure(&self) -> bool {
        self.is_err()
    }

    fn error(&self) -> Option<&E> {
        self.as_ref().err()
    }

    fn into_error(self) -> Option<E> {
        self.err()
    }
}

impl<T> Outcome for Option<T> {
    type Error = ();

    #[inline]
    fn is_failure(&self) -> bool {
        self.is_none()
    }

    fn error(&self) -> Option<&()> {
        if self.is_none() { Some(&()) } else { None }
    }

    fn into_error(self) -> Option<()> {
        if self.is_none() { Some(()) } else { None }
    }
}
