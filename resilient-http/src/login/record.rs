//! What is remembered of attempts to log in.

use std::collections::HashMap;
use std::time::Duration;

use resilient_runtime::clock::Instant;

/// Failures that are remembered at most, by what they belong to.
pub(super) const MOST: usize = 100_000;
/// A lock doubles with each further failure, up to this.
const LONGEST: Duration = Duration::from_hours(1);
/// Failures are forgotten when there was none for so long, and count for half after it where there was.
pub(super) const FORGOTTEN: Duration = Duration::from_hours(24);
/// An identity is known at an address from which it got in, for so long.
pub(super) const KNOWN: Duration = Duration::from_hours(30 * 24);

/// What the failures of an attempt are counted by: the identity at its address, the address, the identity.
pub(super) type Keys = [u64; 3];

/// Who failed, and who got in. Both are bounded.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) failures: HashMap<u64, Failures>,
    /// Where identities got in, and when last.
    pub(super) known: HashMap<u64, Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Failures {
    /// As many as count at `last`.
    count: f64,
    last: Instant,
    locked_until: Instant,
}

impl Failures {
    fn new(now: Instant) -> Self {
        Self { count: 0.0, last: now, locked_until: now }
    }

    /// Lets the count fade.
    fn fade(&mut self, now: Instant) {
        let gone = now.since(self.last);
        let days = gone.as_secs_f64() / FORGOTTEN.as_secs_f64();
        self.count = if gone > FORGOTTEN { 0.0 } else { self.count * (-days).exp2() };
        self.last = now;
    }

    /// The count as a number of failures: those of a moment ago are whole ones.
    fn whole(&self) -> u32 {
        // Below 4 billion failures; the cast saturates beyond.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        {
            self.count.round() as u32
        }
    }
}

impl Record {
    /// How long these keys are locked.
    pub(super) fn locked_for(&self, keys: &Keys, now: Instant) -> Option<Duration> {
        let is_known = self.known.get(&keys[0]).is_some_and(|last| now.since(*last) <= KNOWN);
        let judged = if is_known { &keys[..1] } else { &keys[..] };
        let found = judged.iter().filter_map(|key| self.failures.get(key));
        found.map(|found| found.locked_until.since(now)).max().filter(|left| !left.is_zero())
    }

    /// Counts a failure, and locks each key that has too many: `few` for an identity at an address.
    pub(super) fn note(&mut self, keys: Keys, few: u32, first_lock: Duration, now: Instant) {
        if self.failures.len() + keys.len() > MOST {
            make_room(&mut self.failures, now);
        }
        for (key, allowed) in keys.into_iter().zip([few, few.saturating_mul(10), few.saturating_mul(10)]) {
            let found = self.failures.entry(key).or_insert(Failures::new(now));
            found.fade(now);
            found.count += 1.0;
            if found.whole() >= allowed {
                let doublings = (found.whole() - allowed).min(20);
                let span = first_lock.saturating_mul(1 << doublings).min(LONGEST.max(first_lock));
                found.locked_until = now.after(span);
            }
        }
    }

    /// Forgives what an identity has failed at its address, and knows it there.
    pub(super) fn forgive(&mut self, [both, address, identity]: Keys, few: u32, now: Instant) {
        let Self { failures, known } = self;
        let forgiven = failures.remove(&both).map_or(0.0, |mut found| {
            found.fade(now);
            found.count
        });
        // Of the address, and of the identity, what both have failed together: who knows one password may still guess
        // others, and who guesses from elsewhere gains nothing by the user's own success.
        for key in [address, identity] {
            if let Some(found) = failures.get_mut(&key) {
                found.fade(now);
                found.count = (found.count - forgiven).max(0.0);
                if found.whole() < few.saturating_mul(10) {
                    found.locked_until = now;
                }
            }
        }
        if known.len() >= MOST && !known.contains_key(&both) {
            forget_the_older_half(known);
        }
        known.insert(both, now);
    }
}

fn forget_the_older_half(known: &mut HashMap<u64, Instant>) {
    let mut times: Vec<Instant> = known.values().copied().collect();
    let middle = times.len() / 2;
    let (_, middle, _) = times.select_nth_unstable(middle);
    let middle = *middle;
    known.retain(|_, last| *last > middle);
}

/// Forgets those that are not locked, and if that is not enough, those that have failed least.
fn make_room(failures: &mut HashMap<u64, Failures>, now: Instant) {
    failures.retain(|_, found| {
        !found.locked_until.since(now).is_zero() || now.since(found.last) < FORGOTTEN / 24
    });
    let mut counts: Vec<f64> = failures.values().map(|found| found.count).collect();
    if failures.len() > MOST / 2 {
        let (_, middle, _) = counts.select_nth_unstable_by(failures.len() / 2, f64::total_cmp);
        let middle = *middle;
        failures.retain(|_, found| found.count > middle);
    }
}
