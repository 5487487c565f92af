//! What a call returned, read as success or failure.

use std::error::Error;

use crate::classify::{Class, Classify, found, found_in_value};
use crate::rejection::{Rejection, RejectionKind};

/// A return type whose success can be told from its failure.
///
/// ```
/// use resilient_runtime::Outcome;
///
/// /// An answer whose failures are no `Err`.
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
    /// What it holds when it failed.
    type Error;

    /// Whether it failed.
    ///
    /// ```
    /// use resilient_runtime::Outcome;
    ///
    /// assert!(None::<u32>.is_failure());
    /// assert!(!Ok::<u32, String>(7).is_failure());
    /// ```
    fn is_failure(&self) -> bool;

    /// The error of a failure; `None` for a success.
    ///
    /// ```
    /// use resilient_runtime::Outcome;
    ///
    /// assert_eq!(Outcome::error(&Err::<u32, _>("refused")), Some(&"refused"));
    /// assert_eq!(Outcome::error(&Some(7)), None);
    /// ```
    fn error(&self) -> Option<&Self::Error>;

    /// The error of a failure, by value; `None` for a success.
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

/// A return type that can say "the call was rejected".
///
/// ```
/// use resilient_runtime::{Registry, Rejection};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.force_open();
/// let nothing: Option<u32> = breaker.call(|| Some(7));
/// let refused: Result<u32, Rejection> = breaker.call(|| Ok(7));
/// assert!(nothing.is_none() && refused.is_err());
/// ```
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` has no way to report a rejected call",
    label = "this return type cannot hold a `resilient_runtime::Rejection`",
    note = "return `Result<_, E>` with `E: From<resilient_runtime::Rejection>`, return `Option<_>`, \
            or add `fallback = ...` to `#[resilient(...)]`",
    note = "if it is a future: write `async fn`, or end the function with `Box::pin(async move {{ .. }})`"
)]
pub trait Reject: Outcome {
    /// The value that reports `rejection`.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Reject, Rejection};
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
/// use resilient_runtime::{FromRejection, Registry, Rejection};
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
    message = "the error type `{Self}` cannot be made from a `resilient_runtime::Rejection`",
    label = "`{Self}` does not implement `From<resilient_runtime::Rejection>`",
    note = "a circuit breaker, bulkhead or timeout can refuse a call, and the function must then return an \
            error it did not make itself",
    note = "with thiserror: add a variant `Rejected(#[from] resilient_runtime::Rejection)`; for a foreign error type \
            use `map_err = |rejection| ...`; to never surface rejections use `fallback = ...`"
)]
pub trait FromRejection {
    /// The error that reports `rejection`.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{FromRejection, Registry};
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
/// use resilient_runtime::{Failure, Registry, fallback::{Chain, Level}};
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
    /// use resilient_runtime::{Failure, Registry};
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
    /// use resilient_runtime::Failure;
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
/// use resilient_runtime::{Class, Component, Registry, Verdict};
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
    /// Judges an outcome by the type of its error: the rule of every `call` without a judge.
    ///
    /// An error of a known type, and one that holds any error, is judged by the first known cause in its `source()` chain:
    /// [`Rejection`], [`std::io::Error`], `Box<dyn Error>`, and with the features of their names `anyhow::Error`,
    /// `eyre::Report`, `http::StatusCode`, `redis::RedisError`, `reqwest::Error`, `sqlx::Error` and `tonic::Status`. Anything
    /// else is [`Class::Unknown`]: Rust cannot see here whether a type of your own is an `Error` or has `Classify`. For those
    /// there are [`judge!`](crate::judge), which judges as the attribute does, [`by_class`](Self::by_class) and
    /// [`by_error`](Self::by_error).
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{Class, Verdict};
    ///
    /// assert_eq!(Verdict::of(&Some(7)), Verdict::Success);
    /// assert_eq!(Verdict::of(&None::<u32>), Verdict::Failure(Class::UNKNOWN));
    /// let broken: Result<u32, Box<dyn std::error::Error>> = Err(Error::from(ErrorKind::ConnectionReset).into());
    /// assert_eq!(Verdict::of(&broken), Verdict::Failure(Class::UNCERTAIN));
    /// ```
    #[inline]
    pub fn of<R: Outcome<Error: 'static>>(outcome: &R) -> Self {
        Judgement::of(outcome).verdict
    }

    /// The error's own word.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{Class, Verdict};
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

    /// The first known cause in the error and its `source()` chain, as [`Class::found_in`] finds it; else unknown.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Rejection, Verdict};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum PayError {
    ///     #[error("declined")]
    ///     Declined,
    ///     #[error(transparent)]
    ///     Rejected(#[from] Rejection),
    /// }
    /// let registry = Registry::new();
    /// let (outer, inner) = (registry.circuit_breaker("outer"), registry.circuit_breaker("inner"));
    /// inner.force_open();
    /// let pay = || inner.call(|| Ok::<u32, PayError>(995));
    /// assert!(outer.call_judged(pay, Verdict::by_error).is_err());
    /// assert_eq!(outer.stats().failed, 0, "a refusal further in is no evidence");
    /// assert_eq!(Verdict::by_error(&Err::<u32, _>(PayError::Declined)), Verdict::Failure(Class::UNKNOWN));
    /// ```
    pub fn by_error<T, E: Error + 'static>(outcome: &Result<T, E>) -> Self {
        match outcome {
            Ok(_) => Self::Success,
            Err(error) => Self::by_source(Some(error)),
        }
    }

    /// The first known cause in a `source()` chain, of which the first error is given; else unknown. (A rejection is its own
    /// source, and so found even where an error is transparent.)
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, Verdict};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let error = std::io::Error::other(breaker.try_acquire().unwrap_err());
    /// assert_eq!(Verdict::by_source(Some(&error)), Verdict::Failure(Class::NotExecuted { retry_after: None }));
    /// assert_eq!(Verdict::by_source(None), Verdict::Failure(Class::UNKNOWN));
    /// ```
    pub fn by_source(first: Option<&(dyn Error + 'static)>) -> Self {
        Judgement::by_source(first).verdict
    }

    /// `failure = ..` makes a failure of what looked like a success. What it did is unknown.
    ///
    /// ```
    /// use resilient_runtime::{Class, Verdict};
    ///
    /// assert_eq!(Verdict::Success.or_failure(true), Verdict::Failure(Class::UNKNOWN));
    /// assert_eq!(Verdict::Success.or_failure(false), Verdict::Success);
    /// ```
    #[must_use]
    pub fn or_failure(self, failed: bool) -> Self {
        if failed && self == Self::Success { Self::Failure(Class::UNKNOWN) } else { self }
    }
}

/// A [`Verdict`], and what predicates say besides: whether to try again, and whether the circuit breaker counts it.
///
/// It is what `retry(when = ..)` and `circuit_breaker("x", when = ..)` make in an annotated function; a judge by hand can
/// return it in place of a verdict.
///
/// ```
/// use resilient_runtime::{Component, Judgement, Registry, Verdict};
///
/// let breaker = Registry::new().circuit_breaker("users");
/// let judge = |user: &Result<u32, u16>| {
///     let counts = matches!(user, Err(500..));
///     Judgement::from(Verdict::of(user)).breaker_when(counts)
/// };
/// let permit = breaker.try_acquire().unwrap();
/// permit.settle(judge(&Err(404)));
/// assert_eq!((breaker.stats().ignored, breaker.stats().failed), (1, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    verdict: Verdict,
    /// `retry(when = ..)`, where there is one and the outcome is an error.
    again: Option<bool>,
    /// `circuit_breaker("x", when = ..)`, likewise; `Some(false)` for a refusal further in.
    counts: Option<bool>,
    /// A refusal further in says that the call was not carried out, whatever the class.
    is_refused: bool,
}

impl From<Verdict> for Judgement {
    #[inline]
    fn from(verdict: Verdict) -> Self {
        Self::of_verdict(verdict)
    }
}

impl From<Class> for Judgement {
    fn from(class: Class) -> Self {
        Verdict::Failure(class).into()
    }
}

impl PartialEq<Verdict> for Judgement {
    #[inline]
    fn eq(&self, verdict: &Verdict) -> bool {
        self.verdict == *verdict
    }
}

impl Judgement {
    pub(crate) const SUCCESS: Self = Self::of_verdict(Verdict::Success);
    pub(crate) const UNKNOWN: Self = Self::of_verdict(Verdict::Failure(Class::UNKNOWN));

    const fn of_verdict(verdict: Verdict) -> Self {
        Self { verdict, again: None, counts: None, is_refused: false }
    }

    /// Judges an outcome by the type of its error, as [`Verdict::of`] does.
    ///
    /// ```
    /// use resilient_runtime::{Class, Judgement};
    ///
    /// assert_eq!(Judgement::of(&None::<u32>).class(), Some(Class::UNKNOWN));
    /// ```
    #[inline]
    pub fn of<R: Outcome<Error: 'static>>(outcome: &R) -> Self {
        if outcome.is_failure() { Self::of_failure(outcome) } else { Self::SUCCESS }
    }

    #[inline]
    fn of_failure<R: Outcome<Error: 'static>>(outcome: &R) -> Self {
        outcome.error().and_then(found_in_value).unwrap_or(Self::UNKNOWN)
    }

    /// The error's own word.
    #[inline]
    pub(crate) fn by_class<T, E: Classify>(outcome: &Result<T, E>) -> Self {
        match outcome {
            Ok(_) => Self::SUCCESS,
            Err(error) => error.__judged(),
        }
    }

    #[cold]
    pub(crate) fn by_source(first: Option<&(dyn Error + 'static)>) -> Self {
        first.and_then(found).unwrap_or(Self::UNKNOWN)
    }

    /// The judgement of the first known cause in an error and its `source()` chain: its class, as [`Class::found_in`] finds it,
    /// and what else the cause says: that it is not to be repeated, or that it is no evidence for a circuit breaker.
    ///
    /// ```
    /// use resilient_runtime::{Class, Judgement, Registry, Rejection};
    ///
    /// let keyed = Registry::new().pipeline("order").idempotency("order").build();
    /// let no_key: Rejection = keyed.call(|| Ok::<u32, Rejection>(7)).unwrap_err();
    /// let judgement = Judgement::found_in(&std::io::Error::from(no_key)).unwrap();
    /// assert_eq!(judgement.class(), Some(Class::Permanent));
    /// assert_ne!(judgement, Judgement::from(Class::Permanent), "a circuit breaker does not count it");
    /// ```
    pub fn found_in(error: &(dyn Error + 'static)) -> Option<Self> {
        found(error).filter(|judgement| judgement.class() != Some(Class::UNKNOWN))
    }

    /// The verdict alone.
    ///
    /// ```
    /// use resilient_runtime::{Judgement, Verdict};
    ///
    /// assert_eq!(Judgement::from(Verdict::Success).verdict(), Verdict::Success);
    /// ```
    #[inline]
    pub fn verdict(self) -> Verdict {
        self.verdict
    }

    /// The class of a failure.
    ///
    /// ```
    /// use resilient_runtime::{Class, Judgement, Verdict};
    ///
    /// assert_eq!(Judgement::from(Class::Permanent).class(), Some(Class::Permanent));
    /// assert_eq!(Judgement::from(Verdict::Success).class(), None);
    /// ```
    pub fn class(self) -> Option<Class> {
        match self.verdict {
            Verdict::Success => None,
            Verdict::Failure(class) => Some(class),
        }
    }

    /// Whether the retry tries again, whatever the class says. It keeps to its own limits: `max`, its budget, deadlines.
    ///
    /// ```
    /// use resilient_runtime::{Class, Judgement, Registry, clock::ManualClock};
    ///
    /// let retry = Registry::with_clock(ManualClock::new().clock()).retry("poll");
    /// let mut polls = 0;
    /// let poll = || {
    ///     polls += 1;
    ///     Err::<u32, _>("not ready")
    /// };
    /// let judge = |_: &Result<u32, &str>| Judgement::from(Class::Ignored).retry_when(true);
    /// assert!(retry.call_judged(poll, judge).is_err());
    /// assert_eq!(polls, 4);
    /// ```
    #[must_use]
    pub fn retry_when(self, again: bool) -> Self {
        Self { again: Some(again), ..self }
    }

    /// Whether the circuit breaker counts it as a failure, whatever the class says; if not, it counts as nothing.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Judgement, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("mail");
    /// breaker.try_acquire().unwrap().settle(Judgement::from(Class::TRANSIENT).breaker_when(false));
    /// breaker.try_acquire().unwrap().settle(Judgement::from(Class::Ignored).breaker_when(true));
    /// assert_eq!((breaker.stats().ignored, breaker.stats().failed), (1, 1));
    /// ```
    #[must_use]
    pub fn breaker_when(self, counts: bool) -> Self {
        Self { counts: Some(counts), ..self }
    }

    /// A refusal further in: the call was not carried out.
    #[must_use]
    pub(crate) fn refused(self) -> Self {
        Self { is_refused: true, ..self }
    }

    /// Whether the call was not carried out, and costs no token of a rate limit.
    pub(crate) fn is_unexecuted(self) -> bool {
        self.is_refused || matches!(self.verdict, Verdict::Failure(Class::NotExecuted { .. }))
    }

    #[must_use]
    pub(crate) fn or_failure(self, failed: bool) -> Self {
        Self { verdict: self.verdict.or_failure(failed), ..self }
    }

    /// Whether to try again, where a predicate has said it.
    #[inline]
    pub(crate) fn again(self) -> Option<bool> {
        self.again
    }

    /// What the circuit breaker sees.
    #[inline]
    pub(crate) fn for_breaker(self) -> Verdict {
        match (self.verdict, self.counts) {
            (Verdict::Failure(_), Some(false)) => Verdict::Failure(Class::Ignored),
            (Verdict::Failure(class @ (Class::Ignored | Class::NotExecuted { .. })), Some(true)) => {
                Verdict::Failure(Class::Transient { retry_after: class.retry_after() })
            }
            (verdict, _) => verdict,
        }
    }

    /// Whether another attempt, made at the same time, may do better.
    pub(crate) fn is_worth_another(self) -> bool {
        let by_class = self.class().is_some_and(Class::is_worth_another);
        by_class && self.again != Some(false) || self.class().is_some() && self.again == Some(true)
    }

    /// What a call of this end means that a stage has refused or cut off, where the error made of the refusal was judged
    /// so. A refusal is what it is: the error can say that it is not to be repeated, and that a timeout is no evidence.
    #[must_use]
    pub(crate) fn of_rejection(self, rejection: &Rejection) -> Self {
        let own = match rejection.kind() {
            RejectionKind::BulkheadFull | RejectionKind::RateLimited | RejectionKind::CircuitOpen => {
                // The hint of an open circuit is for who insists.
                let is_open = rejection.kind() == RejectionKind::CircuitOpen && self.again != Some(true);
                Class::NotExecuted { retry_after: rejection.retry_after().filter(|_| !is_open) }
            }
            _ => rejection.classify(),
        };
        let class = match self.verdict {
            Verdict::Failure(class @ (Class::Permanent | Class::Ignored)) => class,
            _ => own,
        };
        Self { verdict: Verdict::Failure(class), ..self }
    }
}
