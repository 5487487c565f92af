//! The settings of idempotency and their defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::settings::{settings, words};

/// What becomes of a call whose predecessor with the same key was lost while it ran: it may have had its effect or not.
///
/// ```
/// use resilient_runtime::idempotency::{Config, OnUnknown};
///
/// assert_eq!(Config::default().on_unknown, OnUnknown::Reject, "at most once");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum OnUnknown {
    /// It is refused, until the record is over: carried out at most once.
    #[default]
    Reject,
    /// It is carried out, perhaps for the second time: at least once.
    Reexecute,
}

/// What becomes of a call when the store does not answer.
///
/// ```
/// use resilient_runtime::idempotency::{Config, OnStoreFailure};
///
/// assert_eq!(Config::default().on_store_failure, OnStoreFailure::Closed, "rather none than two");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// It is refused.
    #[default]
    Closed,
    /// It is carried out without a record, perhaps for the second time.
    Open,
}

words!(OnUnknown { "reject" = Reject, "reexecute" = Reexecute });
words!(OnStoreFailure { "closed" = Closed, "open" = Open });

settings! {
    /// The settings of an [`Idempotency`](crate::Idempotency).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, idempotency::Config};
    ///
    /// let charge = Registry::new().idempotency("charge");
    /// charge.reconfigure(Config::default().ttl(Duration::from_hours(24)).keep_errors(true)).unwrap();
    /// assert_eq!(charge.config().ttl, Duration::from_hours(24));
    /// ```
    pub struct Config: idempotency {
        ttl: Duration,
        lease: Duration,
        on_unknown: OnUnknown,
        max_wait: Duration,
        keep_errors: bool,
        store: Option<Arc<str>>,
        on_store_failure: OnStoreFailure,
        store_timeout: Duration,
        max_value: u32,
    }
}
