//! Who is in and who waits: one word, and a queue behind a lock that is touched only when it is not empty.

use std::task::Waker;
use std::time::Duration;

use super::config::Config;
use super::queue::{Claim, Place, Queue};
use crate::clock::Instant;
use crate::priority::Priority;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};

/// Permits in use are the low half of the word, waiters the high half.
///
/// That both are in one word is what makes a lost wake-up impossible. A newcomer joins the queue by a
/// compare-and-swap that succeeds only while there is no permit for it; whoever gives a permit back
/// learns from the very same word, in the same instant, whether anybody waits. There is no moment in which
/// the one could see "no permit" and the other "no waiter".
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    /// By [`Priority`]: the calls in flight up to which one of this class may enter.
    limits: [AtomicU32; 4],
    max_queue: AtomicU32,
    queue: Mutex<Queue>,
    /// Permits that were granted and not picked up yet. Written with the queue locked; relaxed, a hint to look there.
    unclaimed: AtomicU32,
}

/// How long a granted permit is kept for a call that does not pick it up. A task that is alive is polled within microseconds.
pub(super) const PICK_UP: Duration = Duration::from_secs(1);

const WAITER: u64 = 1 << 32;

#[allow(clippy::cast_possible_truncation)] // the low half is meant
fn in_use(word: u64) -> u32 {
    word as u32
}

fn waiting(word: u64) -> u64 {
    word >> 32
}

/// What became of a newcomer.
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
        gate.set_limits(config, permits);
        gate
    }

    fn set_limits(&self, config: &Config, permits: u32) {
        for priority in Priority::ALL {
            self.limits[priority as usize].store(config.limit_of(permits, priority), Ordering::Relaxed);
        }
        self.max_queue.store(config.gate_queue(), Ordering::Relaxed);
    }

    /// A permit, if one is free and nobody waits.
    #[inline]
    pub(super) fn try_enter(&self, priority: Priority) -> bool {
        // Relaxed: a setting. A call may still be admitted by the limit before the change.
        let limit = self.limits[priority as usize].load(Ordering::Relaxed);
        let mut word = self.word.load(Ordering::Relaxed);
        while waiting(word) == 0 && in_use(word) < limit {
            // Acquire: what the call does must not come before its permit.
            match self.word.compare_exchange_weak(word, word + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        // Those who wait may all be of a lower class than this one.
        waiting(word) > 0 && self.try_enter_past_queue(priority, limit)
    }

    #[cold]
    fn try_enter_past_queue(&self, priority: Priority, limit: u32) -> bool {
        let queue = self.queue.lock();
        queue.first().is_none_or(|first| first < priority) && self.take_permit(limit)
    }

    /// Takes a permit whoever waits; with the queue locked.
    fn take_permit(&self, limit: u32) -> bool {
        let take = |word: u64| (in_use(word) < limit).then_some(word + 1);
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }

    /// Gives a permit back; release: what the call did comes before.
    #[inline]
    pub(super) fn leave(&self, now: impl FnOnce() -> Instant) {
        let before = self.word.fetch_sub(1, Ordering::Release);
        if waiting(before) > 0 {
            self.admit_waiters(now());
        }
    }

    /// Whether a permit waits to be picked up by a call that may never come.
    pub(super) fn is_unclaimed(&self) -> bool {
        self.unclaimed.load(Ordering::Relaxed) > 0
    }

    /// Whether there is a queue to wait in.
    pub(super) fn has_queue(&self) -> bool {
        self.max_queue.load(Ordering::Relaxed) > 0
    }

    /// Enters, or joins the queue until then.
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

    /// Hands over the permit of the waiter at `place`, if it has been given one; else `waker` is woken when it is.
    pub(super) fn claim(&self, place: Place, waker: Option<&Waker>) -> Claim {
        let mut queue = self.queue.lock();
        let claim = queue.claim(place, waker);
        self.count_unclaimed(&queue);
        claim
    }

    /// The waiter gives up. What it may have been granted in the meantime goes to the next.
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
            // The one behind may be of a class that could enter and was held back by this one.
            Claim::Waiting => self.admit_waiters(now),
            Claim::Expired => {}
        }
    }

    /// Takes back what nobody picks up, and hands free permits to those who wait, in their order.
    #[cold]
    pub(super) fn admit_waiters(&self, now: Instant) {
        let woken = self.settle(&mut self.queue.lock(), now);
        // Outside the lock: a woken call may leave at once.
        woken.into_iter().for_each(Waker::wake);
    }

    /// See [`admit_waiters`](Self::admit_waiters). Returns the wakers; wake them after unlocking the queue.
    fn settle(&self, queue: &mut Queue, now: Instant) -> Vec<Waker> {
        let expired = queue.expire(now);
        self.word.fetch_sub(expired.waiters * WAITER + expired.permits, Ordering::Release);
        let mut woken = expired.wakers;
        while let Some(first) = queue.first() {
            let limit = self.limits[first as usize].load(Ordering::Relaxed);
            // One waiter less, one permit more, in one step.
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

    pub(super) fn resize(&self, config: &Config, permits: u32, now: Instant) {
        self.set_limits(config, permits);
        self.admit_waiters(now);
    }

    pub(super) fn in_use(&self) -> u32 {
        in_use(self.word.load(Ordering::Relaxed))
    }

    pub(super) fn waiting(&self) -> u64 {
        waiting(self.word.load(Ordering::Relaxed))
    }
}
