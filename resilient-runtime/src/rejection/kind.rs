//! The kinds of rejections.

use std::error::Error;
use std::time::Duration;

use serde::Serialize;

use super::Mark;
use crate::error_chain::chain;

/// The reason for a [`Rejection`](crate::Rejection).
///
/// ```
/// use resilient_runtime::{Registry, RejectionKind};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.force_open();
/// assert_eq!(breaker.try_acquire().unwrap_err().kind(), RejectionKind::CircuitOpen);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RejectionKind {
    /// A circuit breaker is open, or is half-open and all its probes are in use.
    CircuitOpen,
    /// A bulkhead has no free permit, and its queue is full or the call has no time to wait.
    BulkheadFull,
    /// The call exceeded its total timeout.
    TotalTimeout,
    /// An attempt timed out.
    AttemptTimeout,
    /// Connecting timed out.
    ConnectTimeout,
    /// Reading timed out.
    ReadTimeout,
    /// The call timed out before it began, for example in a queue.
    QueueTimeout,
    /// A rate limiter has no token left.
    RateLimited,
    /// The weight of the call exceeds the limit of a rate limiter, so the call can never be admitted.
    WeightExceedsLimit,
    /// A load shedder rejected the call because this process or the dependency is overloaded.
    Shed,
    /// A call with the same idempotency key is in progress.
    InProgress,
    /// The idempotency key was used before with another payload or by another operation.
    KeyReused,
    /// An earlier call with the same idempotency key did not report its outcome. It may have had an effect.
    OutcomeUnknown,
    /// The idempotency key is missing, empty or too long.
    InvalidKey,
    /// The value stored under the idempotency key is not a result of this call.
    StoredValueMismatch,
    /// A store that the call depends on does not respond, or is full.
    StoreUnavailable,
    /// The call returned a value that counts as failed, and every fallback level failed.
    FallbackFailed,
    /// The store named in the settings is not registered.
    NoStore,
    /// The pipeline has a stage that the method used for the call does not support.
    Unsupported,
    /// The call needs a timer, and there is no tokio runtime built with `enable_time`.
    NoTimer,
    /// Fault injection failed the attempt.
    Injected,
}

impl RejectionKind {
    /// All kinds.
    ///
    /// ```
    /// use resilient_runtime::RejectionKind;
    ///
    /// assert!(RejectionKind::ALL.contains(&RejectionKind::CircuitOpen));
    /// ```
    pub const ALL: &[Self] = &[
        Self::CircuitOpen,
        Self::BulkheadFull,
        Self::TotalTimeout,
        Self::AttemptTimeout,
        Self::ConnectTimeout,
        Self::ReadTimeout,
        Self::QueueTimeout,
        Self::RateLimited,
        Self::WeightExceedsLimit,
        Self::Shed,
        Self::InProgress,
        Self::KeyReused,
        Self::OutcomeUnknown,
        Self::InvalidKey,
        Self::StoredValueMismatch,
        Self::StoreUnavailable,
        Self::FallbackFailed,
        Self::NoStore,
        Self::Unsupported,
        Self::NoTimer,
        Self::Injected,
    ];

    /// Returns the name used in events, statistics and JSON.
    ///
    /// ```
    /// use resilient_runtime::RejectionKind;
    ///
    /// assert_eq!(RejectionKind::BulkheadFull.as_str(), "bulkhead_full");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::BulkheadFull => "bulkhead_full",
            Self::TotalTimeout => "total_timeout",
            Self::AttemptTimeout => "attempt_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::ReadTimeout => "read_timeout",
            Self::QueueTimeout => "queue_timeout",
            Self::RateLimited => "rate_limited",
            Self::WeightExceedsLimit => "weight_exceeds_limit",
            Self::Shed => "shed",
            Self::InProgress => "in_progress",
            Self::KeyReused => "key_reused",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::InvalidKey => "invalid_key",
            Self::StoredValueMismatch => "stored_value_mismatch",
            Self::StoreUnavailable => "store_unavailable",
            Self::FallbackFailed => "fallback_failed",
            Self::NoStore => "no_store",
            Self::Unsupported => "unsupported",
            Self::NoTimer => "no_timer",
            Self::Injected => "injected",
        }
    }
}

impl RejectionKind {
    /// Finds a rejection in an error or its `source()` chain, and returns its kind and when to try again.
    ///
    /// The rejection is also found in a `#[error(transparent)]` variant and in a
    /// [`FallbackFailed`](crate::FallbackFailed).
    ///
    /// ```
    /// use std::io;
    /// use resilient_runtime::{Registry, RejectionKind};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let error = io::Error::other(breaker.try_acquire().unwrap_err());
    /// let (kind, _) = RejectionKind::found_in(&error).unwrap();
    /// assert_eq!(kind, RejectionKind::CircuitOpen);
    /// ```
    pub fn found_in(error: &(dyn Error + 'static)) -> Option<(Self, Option<Duration>)> {
        chain(error).find_map(|error| error.downcast_ref::<Mark>()).map(|mark| (mark.kind, mark.retry_after))
    }
}
