//! A verdict together with the decisions of predicates.

use std::error::Error;

use super::{Class, Classify, Verdict, found, found_in_value};
use crate::outcome::Outcome;
use crate::rejection::{Rejection, RejectionKind};

/// A [`Verdict`] with optional decisions about retry and circuit breaker.
///
/// The decisions are whether to retry, and whether the circuit breaker counts a failure. In the
/// attribute, `retry(when = ..)` and `circuit_breaker("x", when = ..)` set them. Without the attribute, a judge can
/// return a `Judgement` instead of a verdict.
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
    /// The result of `retry(when = ..)`, if the outcome is an error.
    again: Option<bool>,
    /// The result of `circuit_breaker("x", when = ..)`. `Some(false)` for some rejections by inner components.
    counts: Option<bool>,
    /// An inner component rejected the call, so it was not executed, whatever the class.
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

    /// Judges an outcome by the [`Classify`] implementation of its error.
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

    /// Returns the judgement of the first known cause in an error and its `source()` chain.
    ///
    /// It contains the class of [`Class::found_in`], and whether the cause forbids a retry or must not be counted by a
    /// circuit breaker.
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

    /// Returns the verdict.
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

    /// Returns the class of a failure, or `None` for a success.
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

    /// Sets whether to retry, regardless of the class.
    ///
    /// The limits of the retry still apply: `max`, budget and deadlines.
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

    /// Sets whether the circuit breaker counts the failure, regardless of the class.
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

    /// Marks the call as rejected by an inner component and therefore not executed.
    #[must_use]
    pub(crate) fn refused(self) -> Self {
        Self { is_refused: true, ..self }
    }

    /// Whether the call was not executed, so it costs no token of a rate limit.
    pub(crate) fn is_unexecuted(self) -> bool {
        self.is_refused || matches!(self.verdict, Verdict::Failure(Class::NotExecuted { .. }))
    }

    #[must_use]
    pub(crate) fn or_failure(self, failed: bool) -> Self {
        Self { verdict: self.verdict.or_failure(failed), ..self }
    }

    /// Returns whether to retry, if a predicate has decided it.
    #[inline]
    pub(crate) fn again(self) -> Option<bool> {
        self.again
    }

    /// Returns the verdict for the circuit breaker.
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

    /// Whether another attempt at the same time can succeed.
    pub(crate) fn is_worth_another(self) -> bool {
        let by_class = self.class().is_some_and(Class::is_worth_another);
        by_class && self.again != Some(false) || self.class().is_some() && self.again == Some(true)
    }

    /// Returns the judgement of a call that a stage rejected or timed out, given the judgement of the error created
    /// from the rejection.
    ///
    /// The rejection determines the class. The error can only change it to `Permanent` or `Ignored`.
    #[must_use]
    pub(crate) fn of_rejection(self, rejection: &Rejection) -> Self {
        let own = match rejection.kind() {
            RejectionKind::BulkheadFull | RejectionKind::RateLimited | RejectionKind::CircuitOpen => {
                // The hint of an open circuit is used only if a predicate asks for a retry.
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
