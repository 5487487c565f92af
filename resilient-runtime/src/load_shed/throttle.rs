//! Refuses here what the other side would refuse there.
//!
//! A backend that rejects still pays for each rejection; so its callers hold back by themselves. Each counts its
//! *requests* and those of them that were *accepted*, over a rolling window, and refuses a call with the chance
//!
//! ```text
//! max(0, (requests - factor * accepts) / (requests + 1))
//! ```
//!
//! so that about `factor` calls are sent for each that is accepted. Refused calls count as requests: the more there
//! are, the larger the chance. From "Site Reliability Engineering", chapter 21, "Handling Overload", which also
//! counts each class of calls apart, as is done here. Beyond the book: at least `floor` is sent, so that a recovery is
//! seen (T93), and fewer than `min_calls` are not judged. Calls count when they end, or else those in flight would look
//! like calls that nobody accepts.

use std::time::Duration;

use super::dice::{meets, odds};
use crate::clock::{Instant, nanos};
use crate::observe::Striped;
use crate::priority::Priority;
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};

/// The parts of which the window moves on: it covers between 19 of them and all.
const BUCKETS: usize = 20;

/// By [`Priority`], requests and then accepts; modulo 2^32: differences are exact for up to four billion calls.
type Sums = [u32; 8];

/// When calls are refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ThrottleRule {
    pub(super) factor: f64,
    pub(super) floor: f64,
    pub(super) min_calls: u32,
}

impl ThrottleRule {
    /// The chance that a call is refused.
    pub(super) fn chance(self, requests: u32, accepts: u32) -> f64 {
        if requests < self.min_calls {
            return 0.0;
        }
        let (requests, accepts) = (f64::from(requests), f64::from(accepts));
        let chance = (requests - self.factor * accepts) / (requests + 1.0);
        chance.clamp(0.0, 1.0 - self.floor)
    }
}

/// What the window holds of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) requests: u32,
    pub(super) accepts: u32,
}

/// A window over counters that are never reset: notes of their sums are taken as it moves on, and what it holds is the
/// difference to the oldest (T155).
#[derive(Debug)]
pub(super) struct Throttle {
    /// When the chances are worked out again.
    due: AtomicU64,
    /// How long after the last time that is. A clock that reads this much less than `due` went back.
    period: AtomicU64,
    /// By [`Priority`]. Relaxed, as all here: a call may go by those of a moment ago.
    odds: [AtomicU32; 4],
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    rule: ThrottleRule,
    /// The sums at the beginning of each bucket, as a ring.
    sums: [Sums; BUCKETS],
    oldest: usize,
    /// Of a bucket.
    width: u64,
    /// When the next one begins.
    next: u64,
}

impl Throttle {
    /// For counters that are zero.
    pub(super) fn new(rule: ThrottleRule, window: Duration, now: Instant) -> Self {
        let width = width(window);
        let next = now.as_nanos().saturating_add(width);
        let notes = Notes { rule, sums: [[0; 8]; BUCKETS], oldest: 0, width, next };
        Self {
            due: AtomicU64::new(now.as_nanos()),
            period: AtomicU64::new(period(width)),
            odds: std::array::from_fn(|_| AtomicU32::new(0)),
            notes: Mutex::new(notes),
        }
    }

    /// Changes the rule, and keeps of the window what is inside the new one (to the width of an old bucket).
    pub(super) fn apply(&self, rule: ThrottleRule, window: Duration) {
        let mut notes = self.notes.lock();
        notes.rule = rule;
        notes.resize(width(window));
        self.period.store(period(notes.width), Ordering::Relaxed);
        // At once.
        self.due.store(0, Ordering::Relaxed);
    }

    /// Empties the window.
    pub(super) fn clear<const N: usize>(&self, now: Instant, counters: &Striped<N>, first: usize) {
        let mut notes = self.notes.lock();
        notes.sums = [sums(counters, first); BUCKETS];
        notes.next = now.as_nanos().saturating_add(notes.width);
        self.odds.iter().for_each(|odds| odds.store(0, Ordering::Relaxed));
    }

    /// Whether the chances are to be worked out again: [`turn`](Self::turn) is to be called.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let ahead = self.due.load(Ordering::Relaxed).wrapping_sub(now.as_nanos()).wrapping_sub(1);
        ahead >= self.period.load(Ordering::Relaxed)
    }

    /// Works the chances out from the counters from `first` on. Of several threads one does, and the others do not
    /// wait.
    #[cold]
    pub(super) fn turn<const N: usize>(&self, now: Instant, counters: &Striped<N>, first: usize) {
        let Some(mut notes) = self.notes.try_lock() else { return };
        notes.move_on(now.as_nanos(), sums(counters, first));
        self.publish(&notes, sums(counters, first));
        let period = self.period.load(Ordering::Relaxed);
        self.due.store(now.as_nanos().saturating_add(period), Ordering::Relaxed);
    }

    fn publish(&self, notes: &MutexGuard<'_, Notes>, sums: Sums) {
        for (class, place) in self.odds.iter().enumerate() {
            let Ledger { requests, accepts } = notes.ledger(class, sums);
            place.store(odds(notes.rule.chance(requests, accepts)), Ordering::Relaxed);
        }
    }

    /// Whether calls of this class may be refused now.
    #[inline]
    pub(super) fn sheds(&self, priority: Priority) -> bool {
        self.odds[priority as usize].load(Ordering::Relaxed) > 0
    }

    /// Whether this call is, by a roll of the dice.
    pub(super) fn shed(&self, priority: Priority, roll: u64) -> bool {
        meets(roll, self.odds[priority as usize].load(Ordering::Relaxed))
    }

    /// What the window holds now, and the chance that follows from it.
    pub(super) fn read<const N: usize>(
        &self,
        now: Instant,
        counters: &Striped<N>,
        first: usize,
    ) -> [(Ledger, f64); 4] {
        let mut notes = self.notes.lock();
        let sums = sums(counters, first);
        notes.move_on(now.as_nanos(), sums);
        std::array::from_fn(|class| {
            let ledger = notes.ledger(class, sums);
            (ledger, notes.rule.chance(ledger.requests, ledger.accepts))
        })
    }
}

impl Notes {
    fn ledger(&self, class: usize, sums: Sums) -> Ledger {
        let oldest = self.sums[self.oldest];
        let since = |index: usize| sums[index].wrapping_sub(oldest[index]);
        Ledger { requests: since(class), accepts: since(class + 4) }
    }

    fn move_on(&mut self, now: u64, sums: Sums) {
        // A clock that went back by more than a bucket only begins its bucket anew.
        if self.next.saturating_sub(now) > self.width {
            self.next = now.saturating_add(self.width);
            return;
        }
        if now < self.next {
            return;
        }
        // T12: however many buckets have begun, at most all notes are replaced.
        let begun = (now - self.next) / self.width + 1;
        for _ in 0..begun.min(BUCKETS as u64) {
            self.sums[self.oldest] = sums;
            self.oldest = (self.oldest + 1) % BUCKETS;
        }
        self.next = self.next.saturating_add(begun.saturating_mul(self.width));
    }

    fn resize(&mut self, new: u64) {
        let old = self.width;
        if old == new {
            return;
        }
        let begin = self.next.saturating_sub(old);
        let newest_first = |age: usize| self.sums[(self.oldest + BUCKETS - 1 - age) % BUCKETS];
        // For each beginning of a new bucket the note that was taken then, or the last one before that.
        let sums = std::array::from_fn(|index| {
            let age = (BUCKETS - 1 - index) as u64 * new;
            newest_first(usize::try_from(age.div_ceil(old)).unwrap_or(BUCKETS).min(BUCKETS - 1))
        });
        *self = Self { rule: self.rule, sums, oldest: 0, width: new, next: begin.saturating_add(new) };
    }
}

fn width(window: Duration) -> u64 {
    (nanos(window) / BUCKETS as u64).max(1)
}

/// Ten times in a bucket, and ten times a second.
fn period(width: u64) -> u64 {
    (width / 10).clamp(1, nanos(Duration::from_millis(100)))
}

fn sums<const N: usize>(counters: &Striped<N>, first: usize) -> Sums {
    // Modulo 2^32, as it says.
    #[allow(clippy::cast_possible_truncation)]
    std::array::from_fn(|index| counters.sum(first + index) as u32)
}
