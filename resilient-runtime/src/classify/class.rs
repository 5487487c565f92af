//! The classes of failures. The class says whether a call can be repeated.

use std::error::Error;
use std::time::Duration;

use super::Judgement;

/// What kind of failure an error is.
///
/// | class | effect | retried | the circuit breaker sees | idempotency key | fallback |
/// |---|---|---|---|---|---|
/// | `Transient` | none | yes | a failure | free | yes |
/// | `Overload` | none | yes, after its hint | a failure, the hint lengthens the open period | free | yes |
/// | `Uncertain` | possible | only where the function is `idempotent` | a failure | stays taken | yes |
/// | `Unknown` | unknown | yes; with an idempotency key only as `Uncertain` | a failure | stays taken | yes |
/// | `Permanent` | none | no | a failure | free | yes |
/// | `Ignored` | none | no | nothing | free | no |
/// | `NotExecuted` | none | only after its hint | nothing | free | yes |
///
/// `retry(when = ..)` and `circuit_breaker("x", when = ..)` have the last word on their column. With an idempotency key,
/// `on_unknown = reexecute` repeats what may have had an effect.
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use resilient_runtime::{Class, Classify};
///
/// let broken_on_the_way = Error::from(ErrorKind::ConnectionReset);
/// assert_eq!(broken_on_the_way.classify(), Class::Uncertain { retry_after: None });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// Another attempt may succeed, and this one had no effect.
    Transient {
        /// The server's wish: not before this span has passed.
        retry_after: Option<Duration>,
    },
    /// Another attempt may succeed, but this one may have had its effect: the connection broke after the
    /// request was sent, or time ran out.
    Uncertain {
        /// The server's wish: not before this span has passed.
        retry_after: Option<Duration>,
    },
    /// Nothing is known: nobody classified the error, and its `source()` chain holds no known cause. It is retried where
    /// `retry` was asked for, but it never frees an idempotency key: whether it had an effect is unknown.
    Unknown {
        /// The server's wish: not before this span has passed.
        retry_after: Option<Duration>,
    },
    /// The other side has too much to do.
    Overload {
        /// The server's wish: not before this span has passed.
        retry_after: Option<Duration>,
    },
    /// The dependency failed without an effect, and would fail again.
    Permanent,
    /// The caller's own mistake: an answer like any other, and no evidence against the dependency.
    Ignored,
    /// Refused on this side before anything was sent.
    NotExecuted {
        /// When another call has a chance.
        retry_after: Option<Duration>,
    },
}

impl Class {
    /// A transient failure without a hint.
    pub const TRANSIENT: Self = Self::Transient { retry_after: None };

    /// An uncertain failure without a hint.
    pub const UNCERTAIN: Self = Self::Uncertain { retry_after: None };

    /// A failure about which nothing is known.
    pub const UNKNOWN: Self = Self::Unknown { retry_after: None };

    /// Returns the class of the first known cause in an error and its `source()` chain.
    ///
    /// Known causes are [`Rejection`](crate::Rejection), [`std::io::Error`] (also inside another one), tokio's `Elapsed`, and with the features of
    /// their names `http::Error`, `redis::RedisError`, `reqwest::Error`, `sqlx::Error` and `tonic::Status`; also in a `Box` or an
    /// `Arc`.
    ///
    /// A variant with `#[error(transparent)]` returns the source of what it holds as its own source: an [`std::io::Error`] in it
    /// is not in the chain. Write `#[error("..: {0}")] Io(#[source] io::Error)` (or `#[from]`), or implement [`Classify`](super::Classify).
    ///
    /// ```
    /// use std::io;
    /// use resilient_runtime::Class;
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// #[error("no rates today")]
    /// struct NoRates(#[source] io::Error);
    ///
    /// let error = NoRates(io::ErrorKind::ConnectionRefused.into());
    /// assert_eq!(Class::found_in(&error), Some(Class::TRANSIENT));
    /// assert_eq!(Class::found_in(&NoRates(io::Error::other("a riddle"))), None);
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum Hidden {
    ///     #[error(transparent)]
    ///     Io(#[from] io::Error),
    /// }
    /// assert_eq!(Class::found_in(&Hidden::from(io::Error::from(io::ErrorKind::ConnectionRefused))), None);
    /// ```
    pub fn found_in(error: &(dyn Error + 'static)) -> Option<Self> {
        Judgement::found_in(error).and_then(Judgement::class)
    }

    /// Whether another attempt, made at the same time, may do better.
    pub(crate) const fn is_worth_another(self) -> bool {
        matches!(
            self,
            Self::Transient { retry_after: None }
                | Self::Uncertain { retry_after: None }
                | Self::Unknown { retry_after: None }
        )
    }

    /// Whether what failed so may have failed because the time of the calls around it was over, and for nothing else.
    pub(crate) const fn may_be_cut_short(self) -> bool {
        !matches!(
            self,
            Self::Transient { .. }
                | Self::Overload { .. }
                | Self::Permanent
                | Self::Ignored
                | Self::NotExecuted { .. }
        )
    }

    /// The other side's wish, where it gave one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::Class;
    ///
    /// let busy = Class::Overload { retry_after: Some(Duration::from_secs(3)) };
    /// assert_eq!(busy.retry_after(), Some(Duration::from_secs(3)));
    /// assert_eq!(Class::Permanent.retry_after(), None);
    /// ```
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after }
            | Self::Uncertain { retry_after }
            | Self::Unknown { retry_after }
            | Self::Overload { retry_after }
            | Self::NotExecuted { retry_after } => retry_after,
            Self::Permanent | Self::Ignored => None,
        }
    }
}
