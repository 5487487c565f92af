//! Counters of idempotency.

use std::fmt;

use serde::Serialize;

use crate::observe::{Counter, Describe, Family, counts};

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) executed: Counter,
    pub(super) replayed: Counter,
    pub(super) waited: Counter,
    pub(super) in_progress: Counter,
    pub(super) key_reused: Counter,
    pub(super) unknown: Counter,
    pub(super) abandoned: Counter,
    pub(super) lost: Counter,
    pub(super) not_kept: Counter,
    pub(super) full: Counter,
    pub(super) store_failures: Counter,
}

impl Counters {
    pub(super) fn reset(&self) {
        let Self { executed, replayed, waited, in_progress, key_reused, .. } = self;
        let Self { unknown, abandoned, lost, not_kept, full, store_failures, .. } = self;
        for counter in [executed, replayed, waited, in_progress, key_reused] {
            counter.reset();
        }
        for counter in [unknown, abandoned, lost, not_kept, full, store_failures] {
            counter.reset();
        }
    }

    pub(super) fn snapshot(&self) -> Stats {
        Stats {
            executed: self.executed.get(),
            replayed: self.replayed.get(),
            waited: self.waited.get(),
            in_progress: self.in_progress.get(),
            key_reused: self.key_reused.get(),
            outcome_unknown: self.unknown.get(),
            abandoned: self.abandoned.get(),
            leases_lost: self.lost.get(),
            not_kept: self.not_kept.get(),
            full: self.full.get(),
            store_failures: self.store_failures.get(),
        }
    }
}

/// A snapshot of the counters of an [`Idempotency`](crate::Idempotency).
///
/// ```
/// use resilient_runtime::{Component, Registry, idempotency::Fingerprint};
///
/// let once = Registry::new().idempotency("charge");
/// let charge = |cents: u32| once.call("order 7", Fingerprint::of(&cents), || Some(cents));
/// assert_eq!((charge(995), charge(995), charge(1)), (Some(995), Some(995), None));
/// let stats = once.stats();
/// assert_eq!((stats.executed, stats.replayed, stats.key_reused), (1, 1, 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that claimed their key.
    pub executed: u64,
    /// Calls that returned the stored result of an earlier call.
    pub replayed: u64,
    /// Calls that waited for a running call with the same key.
    pub waited: u64,
    /// Calls rejected after waiting for a running call with the same key.
    pub in_progress: u64,
    /// Calls rejected because another payload or operation used their key.
    pub key_reused: u64,
    /// Calls rejected because an earlier call with their key has an unknown outcome.
    pub outcome_unknown: u64,
    /// Calls that failed without an effect and freed their key.
    pub abandoned: u64,
    /// Calls that lost their lease while they ran.
    pub leases_lost: u64,
    /// Results that could not be stored.
    ///
    /// [`unsaved`](crate::unsaved) reports them to the caller.
    pub not_kept: u64,
    /// Claims rejected because the store, or the share of the client, was full.
    pub full: u64,
    /// Claims that failed in the store, including those rejected because it was full.
    pub store_failures: u64,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::counter(
            "resilient_idempotency_total",
            "Calls with an idempotency key, by outcome.",
            |once, to| {
                to.by(
                    "kind",
                    [
                        ("executed", once.executed),
                        ("replayed", once.replayed),
                        ("in_progress", once.in_progress),
                        ("key_reused", once.key_reused),
                        ("outcome_unknown", once.outcome_unknown),
                        ("not_kept", once.not_kept),
                        ("full", once.full),
                    ],
                );
            },
        ),
        Family::counter(
            "resilient_idempotency_store_failures_total",
            "Claims that failed in the idempotency store.",
            |once, to| to.add(once.store_failures),
        ),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} executed, {} replayed", self.executed, self.replayed)?;
        let others = [
            ("in progress", self.in_progress),
            ("key reused", self.key_reused),
            ("unknown", self.outcome_unknown),
            ("not stored", self.not_kept),
            ("store full", self.full),
            ("store failures", self.store_failures),
        ];
        counts(f, ", ", &others, |f, what, count| write!(f, "{count} {what}"))
    }
}
