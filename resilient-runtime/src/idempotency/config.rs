//! The settings of idempotency and their defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::settings::{ConfigError, settings, words};

/// What becomes of a call whose predecessor with the same key was lost while it ran: it may have had its effect or not.
///
/// ```
/// use resilient_runtime::idempotency::{Config, OnUnknown};
///
/// assert_eq!(Config::default().on_unknown, OnUnknown::Reject, "at most once");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
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
    pub struct Config {
        /// How long an answer is kept, and a key is taken; 1 s to 31 days. Within it a repeat gets the first answer.
        pub ttl: Duration = Duration::from_hours(1),
        /// How long a call that does not show any more holds its key. Renewed each third of it while an asynchronous call
        /// runs, not while a synchronous one does; 10 ms to 24 h. Not shorter than the total timeout of the call, or
        /// [`Registry::validate`](crate::Registry::validate) says so.
        pub lease: Duration = Duration::from_mins(1),
        /// What becomes of a call whose predecessor was lost.
        pub on_unknown: OnUnknown = OnUnknown::Reject,
        /// How long a call waits for one with the same key that runs; at most 24 h, and until its own deadline. 0: it
        /// does not.
        pub max_wait: Duration = Duration::from_secs(10),
        /// Whether an error that another attempt would meet again ([`Permanent`](crate::Class::Permanent) or
        /// [`Ignored`](crate::Class::Ignored)) is kept and given again like an answer, where its type can be; else it
        /// frees the key.
        pub keep_errors: bool = false,
        /// The name under which [`Registry::set_idempotency_store`](crate::Registry::set_idempotency_store) was told the
        /// store. None: the store that the component was given, or memory.
        pub store: Option<Arc<str>> = None,
        /// What becomes of a call when the store does not answer, or is full.
        pub on_store_failure: OnStoreFailure = OnStoreFailure::Closed,
        /// How long the store may take for each question; more than 0, at most 1 h.
        pub store_timeout: Duration = Duration::from_secs(1),
        /// The largest answer that is kept, in bytes of its stored form; at least 1. A call with a larger one is recorded
        /// as lost, and its caller told ([`unsaved`](crate::unsaved)).
        pub max_value: u32 = 64 * 1024,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        // Not 0: a key that is free once its call has ended protects nobody (T112).
        let ttl = (Duration::from_secs(1)..=DAY * 31).contains(&self.ttl);
        error.require(ttl, "ttl", self.ttl, "1 s to 31 days");
        let lease = (Duration::from_millis(10)..=DAY).contains(&self.lease);
        error.require(lease, "lease", self.lease, "10 ms to 24 h");
        error.require(self.max_wait <= DAY, "max_wait", self.max_wait, "0 to 24 h");
        let timeout = !self.store_timeout.is_zero() && self.store_timeout <= Duration::from_hours(1);
        error.require(timeout, "store_timeout", self.store_timeout, "more than 0, at most 1 h");
        error.require(self.max_value > 0, "max_value", self.max_value, "at least 1 byte");
    }
}
