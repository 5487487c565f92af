//! Calls in flight and when they began, for breakers that are told to watch them (`slow_in_flight`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::Lease;
use crate::clock::Instant;

/// The beginning of each call in flight, by its lease, which grows.
#[derive(Debug, Default)]
pub(super) struct InFlight(BTreeMap<Lease, Instant>);

impl InFlight {
    pub(super) fn begin(&mut self, lease: Lease, now: Instant) {
        self.0.insert(lease, now);
    }

    pub(super) fn end(&mut self, lease: Lease) {
        self.0.remove(&lease);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many have already taken at least `limit`. They stand in the order of their beginning, as far as
    /// clocks of several threads have one.
    pub(super) fn slow(&self, now: Instant, limit: Duration) -> u64 {
        self.0.values().take_while(|began| now.since(**began) >= limit).count() as u64
    }
}
