//! Remembers which keys the store has refused, so that it is not asked again before it can have tokens for them.

use std::time::Duration;

use crate::clock::Instant;
use crate::rate_limit::{RateKey, Request};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Maximum number of keys. A further key replaces another one, which is then asked about once more.
const SLOTS: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Refusal {
    key: RateKey,
    /// Requests of at least this weight are refused.
    weight: u32,
    /// Until when the store is not asked.
    until: Instant,
    /// When the tokens are available.
    free_at: Instant,
}

impl Default for Refusal {
    fn default() -> Self {
        let past = Instant::from_nanos(0);
        Self { key: 0, weight: 0, until: past, free_at: past }
    }
}

#[derive(Debug)]
pub(super) struct Refused {
    slots: Box<[Mutex<Refusal>]>,
    /// The latest end of a refusal in nanoseconds. If it has passed, no lookup is needed.
    latest: AtomicU64,
    /// Until when all calls without a key are refused, in nanoseconds. Relaxed, as `latest`: a call that has not seen the
    /// newest value asks the store once more.
    all: AtomicU64,
}

impl Refused {
    pub(super) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| Mutex::new(Refusal::default())).collect();
        Self { slots, latest: AtomicU64::new(0), all: AtomicU64::new(0) }
    }

    fn slot(&self, key: RateKey) -> &Mutex<Refusal> {
        // The hash of a key is uniform.
        &self.slots[usize::try_from(key % SLOTS as u64).unwrap_or(0)]
    }

    /// Notes that a request was refused at `now`: its tokens are available in `wait`, and it can wait for `patience`.
    pub(super) fn note(&self, request: Request, now: Instant, wait: Duration, patience: Duration) {
        let until = now.after(wait.saturating_sub(patience));
        let refusal = Refusal { key: request.key, weight: request.weight, until, free_at: now.after(wait) };
        *self.slot(request.key).lock() = refusal;
        if request.key == 0 && request.weight == 1 && patience.is_zero() {
            self.all.store(until.as_nanos(), Ordering::Relaxed);
        }
        self.latest.fetch_max(until.as_nanos(), Ordering::Relaxed);
    }

    /// Returns the time until the tokens of a request are available, if the store would refuse it.
    #[inline]
    pub(super) fn wait(&self, request: Request, now: Instant) -> Option<Duration> {
        if request.key == 0 {
            let left = self.all.load(Ordering::Relaxed).saturating_sub(now.as_nanos());
            if left > 0 {
                return Some(Duration::from_nanos(left));
            }
        }
        self.wait_of(request, now)
    }

    fn wait_of(&self, request: Request, now: Instant) -> Option<Duration> {
        if self.latest.load(Ordering::Relaxed) <= now.as_nanos() {
            return None;
        }
        let refusal = *self.slot(request.key).lock();
        let applies = refusal.key == request.key && refusal.weight <= request.weight && now < refusal.until;
        applies.then(|| refusal.free_at.since(now))
    }

    pub(super) fn forget(&self, key: RateKey) {
        if key == 0 {
            self.all.store(0, Ordering::Relaxed);
        }
        let mut refusal = self.slot(key).lock();
        if refusal.key == key {
            *refusal = Refusal::default();
        }
    }

    pub(super) fn clear(&self) {
        self.slots.iter().for_each(|slot| *slot.lock() = Refusal::default());
        self.latest.store(0, Ordering::Relaxed);
        self.all.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_refusal_applies_to_calls_that_weigh_as_much_until_their_tokens_are_available() {
        let (refused, start) = (Refused::new(), Instant::from_nanos(5_000_000_000));
        for key in [0, 7] {
            let of = |weight| Request::of(key, weight);
            assert_eq!(refused.wait(of(1), start), None);
            refused.note(of(3), start, SECOND, Duration::ZERO);
            assert_eq!(refused.wait(of(2), start), None, "a lighter call may have its tokens");
            assert_eq!(refused.wait(of(3), start), Some(SECOND));
            refused.note(of(1), start, SECOND, Duration::ZERO);
            assert_eq!(refused.wait(of(1), start), Some(SECOND));
            assert_eq!(refused.wait(of(2), start.after(SECOND / 4)), Some(SECOND / 4 * 3));
            assert_eq!(refused.wait(of(1), start.after(SECOND)), None);
            assert_eq!(refused.wait(Request::of(key + 1, 1), start), None, "another key");
            refused.forget(key);
            assert_eq!(refused.wait(of(1), start), None);
            // The store can promise the tokens to a call that can wait, and is asked before they are available.
            refused.note(of(1), start, SECOND, SECOND / 2);
            assert_eq!(refused.wait(of(1), start), Some(SECOND));
            assert_eq!(refused.wait(of(1), start.after(SECOND / 2)), None);
            refused.note(of(1), start, SECOND, Duration::ZERO);
            refused.clear();
            assert_eq!(refused.wait(of(1), start), None);
        }
    }
}
