//! Settings of idempotency and their defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::settings::{settings, words};

/// Whether a call runs if an earlier call with its key has an unknown outcome.
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
    /// The call is rejected until the record expires: at most once.
    #[default]
    Reject,
    /// The call is executed, possibly a second time: at least once.
    Reexecute,
}

/// Whether a call runs if the store fails.
///
/// ```
/// use resilient_runtime::idempotency::{Config, OnStoreFailure};
///
/// assert_eq!(Config::default().on_store_failure, OnStoreFailure::Closed, "calls are rejected by default");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// The call is rejected.
    #[default]
    Closed,
    /// The call is executed without a record, possibly a second time.
    Open,
}

words!(OnUnknown { "reject" = Reject, "reexecute" = Reexecute });
words!(OnStoreFailure { "closed" = Closed, "open" = Open });

settings! {
    /// Settings of an [`Idempotency`](crate::Idempotency).
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
