//! Calls in flight and their start times, for breakers with `slow_in_flight`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::Lease;
use crate::clock::Instant;

/// The start time of each call in flight, by lease. Leases increase.
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

    /// Returns how many calls have already taken at least `limit`.
    ///
    /// The calls are in order of their start, as far as the clocks of several threads agree.
    pub(super) fn slow(&self, now: Instant, limit: Duration) -> u64 {
        self.0.values().take_while(|began| now.since(**began) >= limit).count() as u64
    }
}
