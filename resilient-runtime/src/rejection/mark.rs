//! The part of a rejection that shows in the `source()` chain of the errors around it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::RejectionKind;

/// The part of a rejection that shows in the `source()` chain of the errors around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) kind: RejectionKind,
    pub(crate) retry_after: Option<Duration>,
    /// It is the refusal of a retry, and an attempt made before it may have had its effect.
    pub(crate) is_of_retry: bool,
}

impl Mark {
    pub(super) const fn new(kind: RejectionKind, retry_after: Option<Duration>) -> Self {
        Self { kind, retry_after, is_of_retry: false }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            _ if self.is_of_retry => "the call may have been carried out",
            // That no timer can be had shows only once the call has begun and has to wait.
            RejectionKind::TotalTimeout
            | RejectionKind::AttemptTimeout
            | RejectionKind::ReadTimeout
            | RejectionKind::OutcomeUnknown
            | RejectionKind::FallbackFailed
            | RejectionKind::NoTimer => "the call may have been carried out",
            RejectionKind::CircuitOpen
            | RejectionKind::BulkheadFull
            | RejectionKind::QueueTimeout
            | RejectionKind::ConnectTimeout
            | RejectionKind::RateLimited
            | RejectionKind::WeightExceedsLimit
            | RejectionKind::Shed
            | RejectionKind::InProgress
            | RejectionKind::KeyReused
            | RejectionKind::InvalidKey
            | RejectionKind::StoredValueMismatch
            | RejectionKind::NoStore
            | RejectionKind::Unsupported
            | RejectionKind::StoreUnavailable => "the call was not carried out",
        })
    }
}

impl Error for Mark {}
