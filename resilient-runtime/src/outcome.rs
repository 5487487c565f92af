//! What a call returned, read as success or failure.

use std::error::Error;

use crate::classify::{Class, Classify};
use crate::rejection::{Mark, Rejection};

/// A return type whose success can be told from its failure.
///
/// ```
/// use resilient::Outcome;
///
/// /// An answer whose failures are no `Err`.
/// enum Reply { Text(String), Down }
/// impl Outcome for Reply {
///     type Error = ();
///     fn is_failure(&self) -> bool { matches!(self, Self::Down) }
///     fn error(&self) -> Option<&()> { self.is_failure().then_some(&()) }
///     fn into_error(self) -> Option<()> { self.is_failure().then_some(()) }
/// }
/// let retry = resilient::Registry::with_clock(resilient::clock::ManualClock::new().clock()).retry("chat");
/// let mut replies = [Reply::Down, Reply::Text("hello".into())].into_iter();
/// assert!(matches!(retry.call(|| replies.next().unwrap()), Reply::Text(_)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`#[resilient]` cannot tell success from failure in `{Self}`",
    label = "expected `Result<_, _>` or `Option<_>`, found `{Self}`",
    note = "return a `Result` or an `Option`, add `fallback = ...`, or implement `resilient::Outcome` for `{Self}`",
    note = "if it is a future: write `async fn`, or end the function with `Box::pin(async move {{ .. }})`"
)]
pub trait Outcome: Sized {
    /// What it holds when it failed.
    type Error;

    /// Whether it failed.
    ///
    /// ```
    /// use resilient::Outcome;
    ///
    /// assert!(None::<u32>.is_failure());
    /// assert!(!Ok::<u32, String>(7).is_failure());
    /// ```
    fn is_failure(&self) -> bool;

    /// The error of a failure; `None` for a success.
    ///
    /// ```
    /// use resilient::Outcome;
    ///
    /// assert_eq!(Outcome::error(&Err::<u32, _>("refused")), Some(&"refused"));
    /// assert_eq!(Outcome::error(&Some(7)), None);
    /// ```
    fn error(&self) -> Option<&Self::Error>;

    /// The error of a failure, by value; `None` for a success.
    ///
    /// ```
    /// use resilient::Outcome;
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

/// A return type that can say "the call was rejected".
///
/// ```
/// use resilient::{Registry, Rejection};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.force_open();
/// let nothing: Option<u32> = breaker.call(|| Some(7));
/// let refused: Result<u32, Rejection> = breaker.call(|| Ok(7));
/// assert!(nothing.is_none() && refused.is_err());
/// ```
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` has no way to report a rejected call",
    label = "this return type cannot hold a `resilient::Rejection`",
    note = "return `Result<_, E>` with `E: From<resilient::Rejection>`, return `Option<_>`, \
            or add `fallback = ...` to `#[resilient(...)]`",
    note = "if it is a future: write `async fn`, or end the function with `Box::pin(async move {{ .. }})`"
)]
pub trait Reject: Outcome {
    /// The value that reports `rejection`.
    ///
    /// ```
    /// use resilient::{Registry, Reject, Rejection};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let refused = breaker.try_acquire().unwrap_err();
    /// assert_eq!(<Result<u32, Rejection>>::from_rejection(refused.clone()), Err(refused));
    /// ```
    fn from_rejection(rejection: Rejection) -> Self;
}

impl<T, E: FromRejection> Reject for Result<T, E> {
    fn from_rejection(rejection: Rejection) -> Self {
        Err(E::from_rejection(rejection))
    }
}

impl<T> Reject for Option<T> {
    fn from_rejection(_: Rejection) -> Self {
        None
    }
}

/// An error type that can be made from a [`Rejection`]: every `E: From<Rejection>` is one.
///
/// ```
/// use resilient::{FromRejection, Registry, Rejection};
///
/// #[derive(Debug)]
/// struct PayError(String);
/// impl From<Rejection> for PayError {
///     fn from(rejection: Rejection) -> Self { Self(rejection.to_string()) }
/// }
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.force_open();
/// let refused = PayError::from_rejection(breaker.try_acquire().unwrap_err());
/// assert!(refused.0.starts_with("circuit breaker `payment` is open"));
/// ```
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` cannot be made from a `resilient::Rejection`",
    label = "`{Self}` does not implement `From<resilient::Rejection>`",
    note = "a circuit breaker, bulkhead or timeout can refuse a call, and the function must then return an \
            error it did not make itself",
    note = "with thiserror: add a variant `Rejected(#[from] resilient::Rejection)`; for a foreign error type \
            use `map_err = |rejection| ...`; to never surface rejections use `fallback = ...`"
)]
pub trait FromRejection {
    /// The error that reports `rejection`.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient::{FromRejection, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("disk");
    /// breaker.force_open();
    /// let refused = Error::from_rejection(breaker.try_acquire().unwrap_err());
    /// assert_eq!(refused.kind(), ErrorKind::Other);
    /// ```
    fn from_rejection(rejection: Rejection) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Rejection>> FromRejection for E {
    fn from_rejection(rejection: Rejection) -> Self {
        rejection.into()
    }
}

/// Why a fallback is asked.
///
/// ```
/// use resilient::{Failure, Registry, fallback::{Chain, Level}};
///
/// let fallback = Registry::new().fallback("rates");
/// let chain = || Chain::of(Level::Default, |why| matches!(why, Failure::Failed(())).then_some(1.0));
/// assert_eq!(fallback.call(|| None, chain), Some(1.0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Failure<E> {
    /// The call was refused or cut off.
    Rejected(Rejection),
    /// The call ran and returned this error, the last one where it was retried.
    Failed(E),
    /// The call returned a value that `failure = ...` counts as failed.
    Unacceptable,
}

impl<E> Failure<E> {
    /// The rejection, if it was one.
    ///
    /// ```
    /// use resilient::{Failure, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let failure = Failure::<String>::Rejected(breaker.try_acquire().unwrap_err());
    /// assert_eq!(failure.rejection().unwrap().component(), "payment");
    /// assert!(failure.error().is_none());
    /// ```
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Failed(_) | Self::Unacceptable => None,
        }
    }

    /// The error, if the call ran and returned one.
    ///
    /// ```
    /// use resilient::Failure;
    ///
    /// assert_eq!(Failure::Failed("timed out").error(), Some(&"timed out"));
    /// assert_eq!(Failure::<&str>::Unacceptable.error(), None);
    /// ```
    pub fn error(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Rejected(_) | Self::Unacceptable => None,
        }
    }
}

/// How one attempt is judged; what retry, circuit breaker and fallback act on.
///
/// ```
/// use resilient::{Class, Component, Registry, Verdict};
///
/// let breaker = Registry::new().circuit_breaker("api");
/// breaker.try_acquire().unwrap().settle(Verdict::Success);
/// breaker.try_acquire().unwrap().settle(Verdict::Failure(Class::Ignored));
/// let stats = breaker.stats();
/// assert_eq!((stats.successful, stats.failed, stats.ignored), (1, 0, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It succeeded.
    Success,
    /// It failed, in this way.
    Failure(Class),
}

impl Verdict {
    /// Every failure is transient: the rule for outcomes of which nothing more is known.
    ///
    /// ```
    /// use resilient::{Class, Verdict};
    ///
    /// assert_eq!(Verdict::of(&Some(7)), Verdict::Success);
    /// assert_eq!(Verdict::of(&None::<u32>), Verdict::Failure(Class::TRANSIENT));
    /// ```
    #[inline]
    pub fn of<R: Outcome>(outcome: &R) -> Self {
        if outcome.is_failure() { Self::Failure(Class::TRANSIENT) } else { Self::Success }
    }

    /// The error's own word.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient::{Class, Verdict};
    ///
    /// let verdict = |kind: ErrorKind| Verdict::by_class(&Err::<(), _>(Error::from(kind)));
    /// assert_eq!(verdict(ErrorKind::NotFound), Verdict::Failure(Class::Permanent));
    /// assert_eq!(verdict(ErrorKind::ConnectionRefused), Verdict::Failure(Class::TRANSIENT));
    /// ```
    pub fn by_class<T, E: Classify>(outcome: &Result<T, E>) -> Self {
        match outcome {
            Ok(_) => Self::Success,
            Err(error) => Self::Failure(error.classify()),
        }
    }

    /// Transient, unless there is a [`Rejection`] among the sources of the error, of which the first is given:
    /// then as that says. (A rejection is its own source, and so found even where an error is transparent.)
    ///
    /// ```
    /// use resilient::{Class, Registry, Verdict};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let error = std::io::Error::other(breaker.try_acquire().unwrap_err());
    /// assert_eq!(Verdict::by_source(Some(&error)), Verdict::Failure(Class::NotExecuted { retry_after: None }));
    /// assert_eq!(Verdict::by_source(None), Verdict::Failure(Class::TRANSIENT));
    /// ```
    pub fn by_source(first: Option<&(dyn Error + 'static)>) -> Self {
        let mut next = first;
        while let Some(error) = next {
            if let Some(mark) = error.downcast_ref::<Mark>() {
                return Self::Failure(mark.classify());
            }
            next = error.source();
        }
        Self::Failure(Class::TRANSIENT)
    }

    /// `retry(when = ..)` has the last word on whether to try again, and none on the hint.
    ///
    /// ```
    /// use resilient::{Class, Verdict};
    ///
    /// let permanent = Verdict::Failure(Class::Permanent);
    /// assert_eq!(permanent.when(true), Verdict::Failure(Class::TRANSIENT));
    /// assert_eq!(Verdict::Failure(Class::TRANSIENT).when(false), permanent);
    /// ```
    #[must_use]
    pub fn when(self, again: bool) -> Self {
        match self {
            Self::Failure(class) if again => {
                Self::Failure(Class::Transient { retry_after: class.retry_after() })
            }
            Self::Failure(Class::Transient { .. } | Class::Uncertain { .. } | Class::Overload { .. }) => {
                Self::Failure(Class::Permanent)
            }
            other => other,
        }
    }

    /// `failure = ..` makes a failure of what looked like a success.
    ///
    /// ```
    /// use resilient::{Class, Verdict};
    ///
    /// assert_eq!(Verdict::Success.or_failure(true), Verdict::Failure(Class::TRANSIENT));
    /// assert_eq!(Verdict::Success.or_failure(false), Verdict::Success);
    /// ```
    #[must_use]
    pub fn or_failure(self, failed: bool) -> Self {
        if failed && self == Self::Success { Self::Failure(Class::TRANSIENT) } else { self }
    }
}
