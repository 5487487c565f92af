//! Client-side throttling: rejects calls that the dependency would reject.
//!
//! A backend pays for each call that it rejects, so its clients hold calls back. A client counts its *requests* and
//! the *accepted* ones in a rolling window, and rejects a call with the probability
//!
//! ```text
//! max(0, (requests - factor * accepts) / (requests + 1))
//! ```
//!
//! so that it sends about `factor` calls for each accepted one. Rejected calls count as requests: the more there are,
//! the higher the probability. The algorithm comes from "Site Reliability Engineering", chapter 21, "Handling
//! Overload", which also counts each class separately. This implementation adds two rules: it sends at least `floor`
//! of the calls, to detect a recovery (T93), and it does not reject calls below `min_calls`. Calls are counted when
//! they end. Otherwise calls in flight would look like calls that are not accepted.

use std::time::Duration;

use super::dice::{meets, odds};
use crate::clock::{Instant, nanos};
use crate::observe::Striped;
use crate::priority::Priority;
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};

/// Number of parts in which the window advances. It covers between 19 and 20 of them.
const BUCKETS: usize = 20;

/// By [`Priority`], requests, then accepts. Modulo 2^32: differences are exact for up to four billion calls.
type Sums = [u32; 8];

/// The parameters of the rejection probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ThrottleRule {
    pub(super) factor: f64,
    pub(super) floor: f64,
    pub(super) min_calls: u32,
}

impl ThrottleRule {
    /// Returns the probability that a call is rejected.
    pub(super) fn chance(self, requests: u32, accepts: u32) -> f64 {
        if requests < self.min_calls {
            return 0.0;
        }
        let (requests, accepts) = (f64::from(requests), f64::from(accepts));
        let chance = (requests - self.factor * accepts) / (requests + 1.0);
        chance.clamp(0.0, 1.0 - self.floor)
    }
}

/// The counts of one class in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) requests: u32,
    pub(super) accepts: u32,
}

/// A window over counters that are never reset. Notes of their sums are stored as the window advances, and its
/// content is the difference to the oldest note (T155).
#[derive(Debug)]
pub(super) struct Throttle {
    /// When the probabilities are next calculated.
    due: AtomicU64,
    /// Time between two calculations. A clock that is this much behind `due` stepped back.
    period: AtomicU64,
    /// By [`Priority`]. Relaxed, like all here: a call can use slightly older values.
    odds: [AtomicU32; 4],
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    rule: ThrottleRule,
    /// The sums at the start of each bucket, as a ring.
    sums: [Sums; BUCKETS],
    oldest: usize,
    /// Bucket width.
    width: u64,
    /// Start of the next bucket.
    next: u64,
}

impl Throttle {
    /// Creates an empty window. The counters must be zero.
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

    /// Changes the rule and the window. Keeps the calls inside the new window, to the precision of an old bucket.
    pub(super) fn apply(&self, rule: ThrottleRule, window: Duration) {
        let mut notes = self.notes.lock();
        notes.rule = rule;
        notes.resize(width(window));
        self.period.store(period(notes.width), Ordering::Relaxed);
        // Calculate at the next call.
        self.due.store(0, Ordering::Relaxed);
    }

    /// Clears the window.
    pub(super) fn clear<const N: usize>(&self, now: Instant, counters: &Striped<N>, first: usize) {
        let mut notes = self.notes.lock();
        notes.sums = [sums(counters, first); BUCKETS];
        notes.next = now.as_nanos().saturating_add(notes.width);
        self.odds.iter().for_each(|odds| odds.store(0, Ordering::Relaxed));
    }

    /// Whether the probabilities are due to be calculated, so that [`turn`](Self::turn) must be called.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let ahead = self.due.load(Ordering::Relaxed).wrapping_sub(now.as_nanos()).wrapping_sub(1);
        ahead >= self.period.load(Ordering::Relaxed)
    }

    /// Calculates the probabilities from the counters starting at `first`.
    ///
    /// One of several threads does this, and the others do not wait.
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

    /// Whether calls of this class can be rejected now.
    #[inline]
    pub(super) fn sheds(&self, priority: Priority) -> bool {
        self.odds[priority as usize].load(Ordering::Relaxed) > 0
    }

    /// Whether to reject this call, given a random roll.
    pub(super) fn shed(&self, priority: Priority, roll: u64) -> bool {
        meets(roll, self.odds[priority as usize].load(Ordering::Relaxed))
    }

    /// Returns the current content of the window, and the probability that follows from it.
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
        // If the clock stepped back by more than a bucket, the current bucket starts again.
        if self.next.saturating_sub(now) > self.width {
            self.next = now.saturating_add(self.width);
            return;
        }
        if now < self.next {
            return;
        }
        // T12: however many buckets have started, at most all notes are replaced.
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
        // For each start of a new bucket: the note taken at that time, or the last one before it.
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

/// Ten times per bucket, and at least ten times per second.
fn period(width: u64) -> u64 {
    (width / 10).clamp(1, nanos(Duration::from_millis(100)))
}

fn sums<const N: usize>(counters: &Striped<N>, first: usize) -> Sums {
    // Modulo 2^32, as documented at `Sums`.
    #[allow(clippy::cast_possible_truncation)]
    std::array::from_fn(|index| counters.sum(first + index) as u32)
}
