//! Assigns small numbers to threads, so that each thread can have exclusive counters.

use crate::sync::{AtomicU32, Ordering};

/// Numbers that each belong to one thread at a time.
#[derive(Debug)]
pub(super) struct Slots {
    /// A bit for each number in use.
    taken: AtomicU32,
    count: u32,
}

impl Slots {
    #[cfg_attr(resilient_loom, allow(dead_code))]
    pub(super) fn new(count: usize) -> Self {
        Self { taken: AtomicU32::new(0), count: u32::try_from(count).unwrap_or(u32::BITS).min(u32::BITS) }
    }

    /// Takes the lowest free number, if there is one.
    pub(super) fn take(&self) -> Option<u32> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let free = taken.trailing_ones();
            if free >= self.count {
                return None;
            }
            let with = taken | 1 << free;
            // Acquire: the values written by the previous owner must be visible, because the new owner adds to
            // them.
            match self.taken.compare_exchange_weak(taken, with, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(free),
                Err(now) => taken = now,
            }
        }
    }

    /// Releases a number. Release pairs with the Acquire in `take`.
    pub(super) fn give_back(&self, number: u32) {
        self.taken.fetch_and(!(1 << number), Ordering::Release);
    }
}

/// The number of threads with an exclusive number: two per core, rounded up to a power of two, from 4 to 32. A
/// program has more threads than cores: for example, a `main` thread that waits for a runtime has counted once too.
#[cfg(not(resilient_loom))]
pub(super) fn count() -> usize {
    static COUNT: std::sync::LazyLock<usize> = std::sync::LazyLock::new(|| {
        let cores = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
        (cores.min(16) * 2).next_power_of_two().clamp(4, 32)
    });
    *COUNT
}

#[cfg(not(resilient_loom))]
mod threads {
    use std::cell::Cell;
    use std::sync::LazyLock;

    use super::Slots;

    /// A thread that has not counted anything yet.
    const NONE: usize = usize::MAX;
    /// A thread that found all numbers in use, or is about to end.
    const SHARED: usize = usize::MAX - 1;

    static SLOTS: LazyLock<Slots> = LazyLock::new(|| Slots::new(super::count()));

    thread_local! {
        /// Separate from its guard, because a thread local without a destructor is accessed without a check.
        static NUMBER: Cell<usize> = const { Cell::new(NONE) };
        static GUARD: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    struct Guard(u32);

    impl Drop for Guard {
        fn drop(&mut self) {
            // Other destructors of the thread can count after this.
            NUMBER.set(SHARED);
            SLOTS.give_back(self.0);
        }
    }

    /// Returns the number of this thread, or a number beyond all slots if it has none.
    #[inline]
    pub(in crate::observe) fn number() -> usize {
        NUMBER.get()
    }

    /// Gives this thread a number on the first call. Returns whether `number` has changed.
    #[cold]
    pub(in crate::observe) fn take_number() -> bool {
        if NUMBER.get() != NONE {
            return false;
        }
        NUMBER.set(SHARED);
        if let Some(slot) = SLOTS.take() {
            // If the thread's destructors have already run, the guard cannot be stored and is dropped.
            let stored = GUARD.try_with(|guard| guard.set(Some(Guard(slot))));
            match stored {
                Ok(()) => NUMBER.set(slot as usize),
                Err(_) => SLOTS.give_back(slot),
            }
        }
        true
    }
}

#[cfg(not(resilient_loom))]
pub(super) use threads::{number, take_number};

/// Models have few threads. They share counters, which is the harder case.
#[cfg(resilient_loom)]
pub(super) fn count() -> usize {
    0
}

#[cfg(resilient_loom)]
pub(super) fn number() -> usize {
    usize::MAX
}

#[cfg(resilient_loom)]
pub(super) fn take_number() -> bool {
    false
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_number_belongs_to_one_thread_at_a_time_and_is_reused() {
        let slots = Slots::new(3);
        assert_eq!(
            [slots.take(), slots.take(), slots.take(), slots.take()],
            [Some(0), Some(1), Some(2), None]
        );
        slots.give_back(1);
        assert_eq!(slots.take(), Some(1));
    }
}

#[cfg(all(test, resilient_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::AtomicU64;

    /// T156: a counter that is only loaded and stored loses nothing when its owner changes.
    #[test]
    fn loom_the_next_owner_continues_where_the_last_one_stopped() {
        loom::model(|| {
            let shared = Arc::new((Slots::new(1), AtomicU64::new(0)));
            let count = |(slots, counter): &(Slots, AtomicU64)| {
                let Some(slot) = slots.take() else { return 0 };
                counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                slots.give_back(slot);
                1
            };
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || count(&shared))
                })
                .collect();
            let here = count(&shared);
            let counted: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(shared.1.load(Ordering::Relaxed), counted + here);
        });
    }
}
