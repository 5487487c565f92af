//! Classes of failures. The class determines whether a call can be repeated.

use std::error::Error;
use std::time::Duration;

use super::Judgement;

/// The class of a failure.
///
/// | class | effect | retry | circuit breaker | idempotency key | fallback |
/// |---|---|---|---|---|---|
/// | `Transient` | none | yes | failure | freed | yes |
/// | `Overload` | none | yes, after `retry_after` | failure; `retry_after` extends the open period | freed | yes |
/// | `Uncertain` | possible | only if the function is `idempotent` | failure | stays claimed | yes |
/// | `Unknown` | unknown | yes; with an idempotency key like `Uncertain` | failure | stays claimed | yes |
/// | `Permanent` | none | no | failure | freed | yes |
/// | `Ignored` | none | no | not counted | freed | no |
/// | `NotExecuted` | none | only after `retry_after` | not counted | freed | yes |
///
/// `retry(when = ..)` and `circuit_breaker("x", when = ..)` override their column. With an idempotency key,
/// `on_unknown = reexecute` repeats calls that may have had an effect.
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
    /// The attempt had no effect, and another attempt can succeed.
    Transient {
        /// How long the server asks to wait before the next attempt.
        retry_after: Option<Duration>,
    },
    /// The attempt may have had an effect, and another attempt can succeed. For example, it timed out, or the
    /// connection broke after the request was sent.
    Uncertain {
        /// How long the server asks to wait before the next attempt.
        retry_after: Option<Duration>,
    },
    /// The error does not implement `Classify`, and its `source()` chain contains no known cause.
    ///
    /// The attempt may have had an effect. A retry repeats it. The idempotency key, if any, stays claimed.
    Unknown {
        /// How long the server asks to wait before the next attempt.
        retry_after: Option<Duration>,
    },
    /// The dependency is overloaded.
    Overload {
        /// How long the server asks to wait before the next attempt.
        retry_after: Option<Duration>,
    },
    /// The dependency failed without an effect, and another attempt would fail, too.
    Permanent,
    /// The caller made a mistake. The dependency works, and a circuit breaker does not count the failure.
    Ignored,
    /// The call was rejected locally before anything was sent.
    NotExecuted {
        /// When another call can succeed.
        retry_after: Option<Duration>,
    },
}

impl Class {
    /// A transient failure without a hint.
    pub const TRANSIENT: Self = Self::Transient { retry_after: None };

    /// An uncertain failure without a hint.
    pub const UNCERTAIN: Self = Self::Uncertain { retry_after: None };

    /// An unknown failure without a hint.
    pub const UNKNOWN: Self = Self::Unknown { retry_after: None };

    /// Returns the class of the first known cause in an error and its `source()` chain.
    ///
    /// Known causes are [`Rejection`](crate::Rejection), [`std::io::Error`] (also inside another one) and tokio's
    /// `Elapsed`. With the features of their names, `http::Error`, `redis::RedisError`, `reqwest::Error`, `sqlx::Error`
    /// and `tonic::Status` are known, too. A known cause is also found in a `Box` or an `Arc`.
    ///
    /// An error in a `#[error(transparent)]` variant is not part of the `source()` chain; only its source is. For
    /// example, an [`std::io::Error`] in such a variant is not found. Instead, implement [`Classify`](super::Classify), or
    /// write `#[error("..: {0}")] Io(#[source] io::Error)` (or `#[from]`).
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

    /// Whether another attempt at the same time can succeed.
    pub(crate) const fn is_worth_another(self) -> bool {
        matches!(
            self,
            Self::Transient { retry_after: None }
                | Self::Uncertain { retry_after: None }
                | Self::Unknown { retry_after: None }
        )
    }

    /// Whether the only reason for such a failure can be that an inherited deadline passed.
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

    /// Returns how long to wait before the next attempt, if known.
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
