//! How long and why a circuit rejects calls, readable without a lock.

use std::time::Duration;

use once_cell::race::OnceRef;

use crate::clock::{Instant, nanos};
use crate::outage::{Met, OpenReason, Outages};
use crate::ratio::Ratio;
use crate::sync::{AtomicU64, Ordering};

const RULE_BITS: u32 = 8;

/// The time until which calls are rejected without the lock, and why the circuit opened.
///
/// Written with the breaker's lock held. A new reason is written only while the state is marked as changing. A reader
/// that finds the same unmarked state before and after has therefore read one consistent reason.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// End of the open period, or of the first lease if all probe slots are in use. 0 if there is none.
    gate: AtomicU64,
    /// Maximum time that the gate is closed. More time left means that the clock stepped back (T10).
    span: AtomicU64,
    /// The rule in the low bits, and the number of the outage above.
    rule: AtomicU64,
    numbers: [AtomicU64; 3],
    /// Storage for the outages, allocated at the first failure.
    outages: OnceRef<'static, Outages>,
}

impl Opening {
    /// Rejects calls from `now` on for `span`.
    pub(super) fn close_gate(&self, now: Instant, span: Duration) {
        // Release, for the Acquire in `left`: a reader of a new gate also reads the state that it belongs to.
        self.span.store(nanos(span), Ordering::Release);
        self.gate.store(now.after(span).as_nanos(), Ordering::Release);
    }

    pub(super) fn open_gate(&self) {
        self.gate.store(0, Ordering::Release);
    }

    /// Returns the nanoseconds until the gate opens.
    #[inline]
    pub(super) fn left(&self, now: Instant) -> u64 {
        Instant::from_nanos(self.gate.load(Ordering::Acquire)).nanos_since(now)
    }

    /// Returns the total nanoseconds for which the gate was closed.
    #[inline]
    pub(super) fn span(&self) -> u64 {
        self.span.load(Ordering::Acquire)
    }

    pub(super) fn remember(&self, reason: OpenReason, outage: u64) {
        let (rule, numbers) = encode(reason);
        // Release, for the Acquire in `reason`.
        self.rule.store(outage << RULE_BITS | rule, Ordering::Release);
        for (place, number) in self.numbers.iter().zip(numbers) {
            place.store(number, Ordering::Release);
        }
    }

    /// Returns the outages of this circuit. Allocates their storage on first use.
    pub(super) fn outages(&self) -> &'static Outages {
        if let Some(known) = self.known_outages() {
            return known;
        }
        let place = Outages::place();
        match self.outages.set(place) {
            Ok(()) => place,
            // Another thread was first.
            Err(()) => {
                place.give_back();
                self.known_outages().unwrap_or(place)
            }
        }
    }

    /// Like `outages`, but returns `None` if there are none.
    pub(super) fn known_outages(&self) -> Option<&'static Outages> {
        self.outages.get()
    }

    /// Returns the outage that belongs to [`reason`](Self::reason), for a rejection.
    #[inline]
    pub(super) fn met(&self, at: Instant) -> Option<Met> {
        let number = self.rule.load(Ordering::Acquire) >> RULE_BITS;
        self.known_outages().map(|place| Met { place, number, at })
    }

    pub(super) fn forget(&self) {
        self.rule.store(0, Ordering::Release);
    }

    /// Returns why the last outage began.
    #[inline]
    pub(super) fn reason(&self) -> Option<OpenReason> {
        // Acquire: after reading a newer value, the second read of the state sees that it changed.
        let rule = self.rule.load(Ordering::Acquire) & ((1 << RULE_BITS) - 1);
        decode(rule, std::array::from_fn(|index| self.numbers[index].load(Ordering::Acquire)))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(place) = self.known_outages() {
            place.give_back();
        }
    }
}

fn encode(reason: OpenReason) -> (u64, [u64; 3]) {
    let share = |ratio: Ratio| ratio.get().to_bits();
    match reason {
        OpenReason::FailureRate { observed, limit, calls } => (1, [share(observed), share(limit), calls]),
        OpenReason::SlowRate { observed, limit, calls } => (2, [share(observed), share(limit), calls]),
        OpenReason::Consecutive { failures } => (3, [failures.into(), 0, 0]),
        OpenReason::SlowInFlight { calls } => (4, [calls, 0, 0]),
        OpenReason::ProbesFailed { failed, ended } => (5, [failed.into(), ended.into(), 0]),
        OpenReason::Forced => (6, [0; 3]),
        OpenReason::Shared { votes, instances } => (7, [votes.into(), instances.into(), 0]),
    }
}

#[inline]
fn decode(rule: u64, [first, second, third]: [u64; 3]) -> Option<OpenReason> {
    let share = |bits: u64| Ratio::new(f64::from_bits(bits)).unwrap_or(Ratio::ZERO);
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Some(match rule {
        1 => OpenReason::FailureRate { observed: share(first), limit: share(second), calls: third },
        2 => OpenReason::SlowRate { observed: share(first), limit: share(second), calls: third },
        3 => OpenReason::Consecutive { failures: count(first) },
        4 => OpenReason::SlowInFlight { calls: first },
        5 => OpenReason::ProbesFailed { failed: count(first), ended: count(second) },
        6 => OpenReason::Forced,
        7 => OpenReason::Shared { votes: count(first), instances: count(second) },
        _ => return None,
    })
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_encoding() {
        let (observed, limit) = (Ratio::new(0.7).unwrap(), Ratio::HALF);
        let opening = Opening::default();
        assert_eq!(opening.reason(), None);
        for reason in [
            OpenReason::FailureRate { observed, limit, calls: 20 },
            OpenReason::SlowRate { observed, limit, calls: 21 },
            OpenReason::Consecutive { failures: 5 },
            OpenReason::SlowInFlight { calls: 22 },
            OpenReason::ProbesFailed { failed: 2, ended: 3 },
            OpenReason::Forced,
            OpenReason::Shared { votes: 2, instances: 5 },
        ] {
            opening.remember(reason, 1);
            assert_eq!(opening.reason(), Some(reason));
        }
        opening.forget();
        assert_eq!(opening.reason(), None);
    }
}
