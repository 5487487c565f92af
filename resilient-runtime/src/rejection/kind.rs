//! What refused a call.

use std::error::Error;
use std::time::Duration;

use serde::Serialize;

use super::Mark;
use crate::error_chain::chain;

/// What refused the call.
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
    /// A circuit breaker is open, or has given out all its probes.
    CircuitOpen,
    /// A bulkhead has no permit left, and no place in its queue or no time to wait.
    BulkheadFull,
    /// The call ran out of its total time.
    TotalTimeout,
    /// One attempt ran out of its time.
    AttemptTimeout,
    /// Connecting ran out of its time.
    ConnectTimeout,
    /// Reading ran out of its time.
    ReadTimeout,
    /// The call ran out of its time in a queue, before it began.
    QueueTimeout,
    /// A rate limiter has no token left.
    RateLimited,
    /// The call weighs more than a rate limiter ever admits at once: it can never succeed as it is.
    WeightExceedsLimit,
    /// The process has more to do than it can, and this call matters less than others.
    Shed,
    /// A call with the same idempotency key runs at this moment.
    InProgress,
    /// The idempotency key was used before, with another payload or by another operation.
    KeyReused,
    /// A call with the same idempotency key was lost while it ran; whether it had its effect is not known.
    OutcomeUnknown,
    /// The idempotency key, or what is stored under it, cannot be used.
    InvalidKey,
    /// What is stored under the idempotency key is of another shape than the answer of this call.
    StoredValueMismatch,
    /// A store that the call depends on does not answer, or is full.
    StoreUnavailable,
    /// The call returned a value that counts as failed, and no fallback level had an answer.
    FallbackFailed,
    /// The store that the settings name was never told to the registry.
    NoStore,
    /// The pipeline has a stage that this way to call it does not honour.
    Unsupported,
    /// A timer was needed and there is no tokio runtime with `enable_time` here.
    NoTimer,
}

impl RejectionKind {
    /// All kinds there are.
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
    ];

    /// The name used in events, statistics and JSON.
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
        }
    }
}

impl RejectionKind {
    /// The refusal in an error or among its sources, where there is one, and when to try again. Found also where the error is
    /// transparent, or was made of one by a fallback that failed.
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
