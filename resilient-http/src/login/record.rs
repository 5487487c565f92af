//! The stored failures and successes of login attempts.

use std::collections::HashMap;
use std::time::Duration;

use resilient_runtime::clock::Instant;

/// The maximum number of stored entries, for failures and for known identities each.
pub(super) const MAX_ENTRIES: usize = 100_000;
/// The maximum duration of a lock; each further failure doubles the duration up to this.
const MAX_LOCK: Duration = Duration::from_hours(1);
/// The half-life of failures. A count without a new failure for longer than this is removed.
pub(super) const HALF_LIFE: Duration = Duration::from_hours(24);
/// How long an identity stays known at an address after a successful login.
pub(super) const KNOWN_FOR: Duration = Duration::from_hours(30 * 24);

/// The keys under which failures of an attempt are counted: identity and address, address, identity.
pub(super) type Keys = [u64; 3];

/// The failures and the known identities. Both maps are bounded.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) failures: HashMap<u64, Failures>,
    /// The time of the last success of an identity at an address.
    pub(super) known: HashMap<u64, Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Failures {
    /// The decayed number of failures at `last`.
    count: f64,
    last: Instant,
    locked_until: Instant,
}

impl Failures {
    fn new(now: Instant) -> Self {
        Self { count: 0.0, last: now, locked_until: now }
    }

    /// Decays the count to `now`.
    fn fade(&mut self, now: Instant) {
        let gone = now.since(self.last);
        let days = gone.as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.count = if gone > HALF_LIFE { 0.0 } else { self.count * (-days).exp2() };
        self.last = now;
    }

    /// The count, rounded to a whole number of failures.
    fn whole(&self) -> u32 {
        // The cast saturates above `u32::MAX` failures.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        {
            self.count.round() as u32
        }
    }
}

impl Record {
    /// Returns the remaining lock time of these keys, or `None` if they are not locked.
    pub(super) fn locked_for(&self, keys: &Keys, now: Instant) -> Option<Duration> {
        let is_known = self.known.get(&keys[0]).is_some_and(|last| now.since(*last) <= KNOWN_FOR);
        let judged = if is_known { &keys[..1] } else { &keys[..] };
        let found = judged.iter().filter_map(|key| self.failures.get(key));
        found.map(|found| found.locked_until.since(now)).max().filter(|left| !left.is_zero())
    }

    /// Counts a failure, and locks each key that has reached its limit.
    ///
    /// The limit is `few` for an identity at an address, and ten times as many for an address or an identity alone.
    pub(super) fn note(&mut self, keys: Keys, few: u32, first_lock: Duration, now: Instant) {
        if self.failures.len() + keys.len() > MAX_ENTRIES {
            make_room(&mut self.failures, now);
        }
        for (key, allowed) in keys.into_iter().zip([few, few.saturating_mul(10), few.saturating_mul(10)]) {
            let found = self.failures.entry(key).or_insert(Failures::new(now));
            found.fade(now);
            found.count += 1.0;
            if found.whole() >= allowed {
                let doublings = (found.whole() - allowed).min(20);
                let span = first_lock.saturating_mul(1 << doublings).min(MAX_LOCK.max(first_lock));
                found.locked_until = now.after(span);
            }
        }
    }

    /// Removes the failures of an identity at its address, and marks the identity as known there.
    pub(super) fn forgive(&mut self, [both, address, identity]: Keys, few: u32, now: Instant) {
        let Self { failures, known } = self;
        let forgiven = failures.remove(&both).map_or(0.0, |mut found| {
            found.fade(now);
            found.count
        });
        // The address and the identity lose only the failures that they have in common. A client with one correct password
        // must not get more guesses at others, and a guess from another address must not profit from the user's success.
        for key in [address, identity] {
            if let Some(found) = failures.get_mut(&key) {
                found.fade(now);
                found.count = (found.count - forgiven).max(0.0);
                if found.whole() < few.saturating_mul(10) {
                    found.locked_until = now;
                }
            }
        }
        if known.len() >= MAX_ENTRIES && !known.contains_key(&both) {
            remove_older_half(known);
        }
        known.insert(both, now);
    }
}

fn remove_older_half(known: &mut HashMap<u64, Instant>) {
    let mut times: Vec<Instant> = known.values().copied().collect();
    let middle = times.len() / 2;
    let (_, middle, _) = times.select_nth_unstable(middle);
    let middle = *middle;
    known.retain(|_, last| *last > middle);
}

/// Removes unlocked entries without a failure in the last hour and, if that is not enough, the half with the fewest failures.
fn make_room(failures: &mut HashMap<u64, Failures>, now: Instant) {
    failures.retain(|_, found| {
        !found.locked_until.since(now).is_zero() || now.since(found.last) < HALF_LIFE / 24
    });
    let mut counts: Vec<f64> = failures.values().map(|found| found.count).collect();
    if failures.len() > MAX_ENTRIES / 2 {
        let (_, middle, _) = counts.select_nth_unstable_by(failures.len() / 2, f64::total_cmp);
        let middle = *middle;
        failures.retain(|_, found| found.count > middle);
    }
}
