//! Admission: permits and waiting calls in one word, and a queue behind a lock that is only used when it is not
//! empty.

use std::task::Waker;
use std::time::Duration;

use super::config::Config;
use super::queue::{Claim, Place, Queue};
use crate::clock::Instant;
use crate::priority::Priority;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};

/// Counts permits in use and waiting calls.
///
/// The low half of the word counts permits in use, the high half counts waiting calls. Both are in one word to make a
/// lost wake-up impossible. A newcomer joins the queue with a compare-and-swap that succeeds only while no permit is
/// free for it. A call that releases a permit reads from the same word, in the same operation, whether calls wait. No
/// interleaving lets the first read "no permit" and the second "no waiting call".
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    /// By [`Priority`]: a call of this class is admitted while fewer calls are in flight.
    limits: [AtomicU32; 4],
    max_queue: AtomicU32,
    queue: Mutex<Queue>,
    /// Number of permits that were granted but not picked up. Written with the queue locked. Relaxed: a hint to look
    /// there.
    unclaimed: AtomicU32,
}

/// How long a granted permit is reserved for a call that does not pick it up. A live task is polled within
/// microseconds.
pub(super) const PICK_UP: Duration = Duration::from_secs(1);

const WAITER: u64 = 1 << 32;

#[allow(clippy::cast_possible_truncation)] // keeps the low half
fn in_use(word: u64) -> u32 {
    word as u32
}

fn waiting(word: u64) -> u64 {
    word >> 32
}

/// The result of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Entered,
    Queued(Place),
    Full,
}

impl Gate {
    pub(super) fn new(config: &Config, permits: u32) -> Self {
        let gate = Self {
            word: AtomicU64::new(0),
            limits: std::array::from_fn(|_| AtomicU32::new(0)),
            max_queue: AtomicU32::new(0),
            queue: Mutex::default(),
            unclaimed: AtomicU32::new(0),
        };
        gate.set_limits(config, permits, 0);
        gate
    }

    fn set_limits(&self, config: &Config, permits: u32, held: u32) {
        for priority in Priority::ALL {
            let limit = config.limit_of(permits, priority).saturating_sub(held);
            self.limits[priority as usize].store(limit, Ordering::Relaxed);
        }
        self.max_queue.store(config.gate_queue(), Ordering::Relaxed);
    }

    /// Takes a permit if one is free and no call waits.
    #[inline]
    pub(super) fn try_enter(&self, priority: Priority) -> bool {
        // Relaxed: a setting. A call can still be admitted with the limit from before a change.
        let limit = self.limits[priority as usize].load(Ordering::Relaxed);
        let mut word = self.word.load(Ordering::Relaxed);
        while waiting(word) == 0 && in_use(word) < limit {
            // Acquire: what the call does must not come before its permit.
            match self.word.compare_exchange_weak(word, word + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        // All waiting calls might be of a lower class than this one.
        waiting(word) > 0 && self.try_enter_past_queue(priority, limit)
    }

    #[cold]
    fn try_enter_past_queue(&self, priority: Priority, limit: u32) -> bool {
        let queue = self.queue.lock();
        queue.first().is_none_or(|first| first < priority) && self.take_permit(limit)
    }

    /// Takes a permit even if calls wait. The queue must be locked.
    fn take_permit(&self, limit: u32) -> bool {
        let take = |word: u64| (in_use(word) < limit).then_some(word + 1);
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }

    /// Releases a permit. Release: orders the work of the call before it.
    #[inline]
    pub(super) fn leave(&self, now: impl FnOnce() -> Instant) {
        let before = self.word.fetch_sub(1, Ordering::Release);
        if waiting(before) > 0 {
            self.admit_waiters(now());
        }
    }

    /// Whether a granted permit has not been picked up yet.
    pub(super) fn is_unclaimed(&self) -> bool {
        self.unclaimed.load(Ordering::Relaxed) > 0
    }

    /// Whether calls can wait in a queue.
    pub(super) fn has_queue(&self) -> bool {
        self.max_queue.load(Ordering::Relaxed) > 0
    }

    /// Takes a permit, or joins the queue until the deadline.
    #[cold]
    pub(super) fn arrive(
        &self,
        priority: Priority,
        waker: Option<&Waker>,
        now: Instant,
        until: Instant,
    ) -> Arrival {
        let mut queue = self.queue.lock();
        let woken = self.settle(&mut queue, now);
        let arrival = self.enter_or_join(&mut queue, priority, waker, until);
        drop(queue);
        woken.into_iter().for_each(Waker::wake);
        arrival
    }

    fn enter_or_join(
        &self,
        queue: &mut Queue,
        priority: Priority,
        waker: Option<&Waker>,
        until: Instant,
    ) -> Arrival {
        let limit = self.limits[priority as usize].load(Ordering::Relaxed);
        let max_queue = u64::from(self.max_queue.load(Ordering::Relaxed));
        let may_pass = queue.first().is_none_or(|first| first < priority);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (next, entered) = if may_pass && in_use(word) < limit {
                (word + 1, true)
            } else if waiting(word) < max_queue {
                (word + WAITER, false)
            } else {
                return Arrival::Full;
            };
            match self.word.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if entered => return Arrival::Entered,
                Ok(_) => return Arrival::Queued(queue.join(priority, waker.cloned(), until)),
                Err(now) => word = now,
            }
        }
    }

    /// Picks up the permit of the call at `place` if it was granted. If not, `waker` is woken when it is.
    pub(super) fn claim(&self, place: Place, waker: Option<&Waker>) -> Claim {
        let mut queue = self.queue.lock();
        let claim = queue.claim(place, waker);
        self.count_unclaimed(&queue);
        claim
    }

    /// Leaves the queue. A permit that was granted in the meantime passes to the next call.
    pub(super) fn withdraw(&self, place: Place, now: Instant) {
        let claim = {
            let mut queue = self.queue.lock();
            let claim = queue.remove(place);
            if claim == Claim::Waiting {
                self.word.fetch_sub(WAITER, Ordering::Relaxed);
            }
            self.count_unclaimed(&queue);
            claim
        };
        match claim {
            Claim::Granted => self.leave(|| now),
            // The next call might be of a class that can be admitted and was blocked by this one.
            Claim::Waiting => self.admit_waiters(now),
            Claim::Expired => {}
        }
    }

    /// Takes back permits that were not picked up, and grants free permits to waiting calls in order.
    #[cold]
    pub(super) fn admit_waiters(&self, now: Instant) {
        let woken = self.settle(&mut self.queue.lock(), now);
        // After releasing the lock: a woken call might release its permit at once.
        woken.into_iter().for_each(Waker::wake);
    }

    /// See [`admit_waiters`](Self::admit_waiters). Returns the wakers, which must be woken after unlocking the queue.
    fn settle(&self, queue: &mut Queue, now: Instant) -> Vec<Waker> {
        let expired = queue.expire(now);
        self.word.fetch_sub(expired.waiters * WAITER + expired.permits, Ordering::Release);
        let mut woken = expired.wakers;
        while let Some(first) = queue.first() {
            let limit = self.limits[first as usize].load(Ordering::Relaxed);
            // One waiting call less and one permit more, in one step.
            let admit = |word: u64| (in_use(word) < limit).then_some(word - WAITER + 1);
            if self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, admit).is_err() {
                break;
            }
            woken.extend(queue.grant_first(now.after(PICK_UP)));
        }
        self.count_unclaimed(queue);
        woken
    }

    fn count_unclaimed(&self, queue: &Queue) {
        let count = u32::try_from(queue.granted()).unwrap_or(u32::MAX);
        self.unclaimed.store(count, Ordering::Relaxed);
    }

    /// `held` permits are not available to calls.
    pub(super) fn resize(&self, config: &Config, permits: u32, held: u32, now: Instant) {
        self.set_limits(config, permits, held);
        self.admit_waiters(now);
    }

    pub(super) fn in_use(&self) -> u32 {
        in_use(self.word.load(Ordering::Relaxed))
    }

    pub(super) fn waiting(&self) -> u64 {
        waiting(self.word.load(Ordering::Relaxed))
    }
}
