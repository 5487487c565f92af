//! Counters of a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::observe::{Counter, Describe, Family, counts};
use crate::seconds::optional_seconds;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: Counter,
    pub(super) failures: Counter,
    pub(super) timeouts: Counter,
    pub(super) rejected: Counter,
}

impl Counters {
    pub(super) fn reset(&self) {
        let Self { requests, failures, timeouts, rejected } = self;
        for counter in [requests, failures, timeouts, rejected] {
            counter.reset();
        }
    }
}

/// A snapshot of a [`Store`](crate::Store). Times are serialized in seconds.
///
/// ```
/// use resilient_runtime::{Component, Registry, idempotency::{Config, Fingerprint, MemoryStore}};
///
/// let registry = Registry::new();
/// let store = registry.use_store("shared", MemoryStore::new(registry.clock().clone(), 10));
/// let once = registry.idempotency("charge");
/// once.reconfigure(Config::default().store("shared")).unwrap();
/// once.call("order 7", Fingerprint::NONE, || Some(995));
/// let stats = store.stats();
/// assert_eq!((stats.requests, stats.failures, stats.degraded), (2, 0, false));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Where the store is, without a login. `None` if it is not registered.
    pub address: Option<String>,
    /// Whether requests fail at once because several requests have failed.
    pub degraded: bool,
    /// How long the store has been degraded.
    #[serde(serialize_with = "optional_seconds")]
    pub degraded_for: Option<Duration>,
    /// Requests that were sent.
    pub requests: u64,
    /// Requests that failed because the store did not work.
    pub failures: u64,
    /// Failed requests without a response in time.
    pub timeouts: u64,
    /// Requests that were not sent because the store was degraded or busy.
    pub rejected: u64,
    /// Requests that wait for a response.
    pub in_flight: u32,
    /// Number of running instances of the service, with this one. `None` if no component needs it.
    pub instances: Option<u32>,
    /// The last failure.
    pub last_error: Option<Arc<str>>,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::gauge(
            "resilient_store_degraded",
            "Whether the store is degraded: 1 if requests fail at once.",
            |store, to| to.add(u64::from(store.degraded)),
        ),
        Family::counter("resilient_store_requests_total", "Requests to the store.", |store, to| {
            to.add(store.requests);
        }),
        Family::counter(
            "resilient_store_failures_total",
            "Requests that failed in the store.",
            |store, to| {
                to.add(store.failures);
            },
        ),
        Family::counter(
            "resilient_store_rejected_total",
            "Requests that were not sent because the store was degraded or busy.",
            |store, to| to.add(store.rejected),
        ),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            None => f.write_str("not registered"),
            Some(address) if self.degraded => write!(f, "{address} degraded"),
            Some(address) => f.write_str(address),
        }?;
        let numbers = [
            ("requests", self.requests),
            ("failures", self.failures),
            ("timeouts", self.timeouts),
            ("rejected", self.rejected),
        ];
        counts(f, ", ", &numbers, |f, what, count| write!(f, "{count} {what}"))
    }
}
