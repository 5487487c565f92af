//! A small number for each thread, for as long as it lives, so that it can have counters that no other writes.

use crate::sync::{AtomicU32, Ordering};

/// Numbers that are given to one thread at a time.
#[derive(Debug)]
pub(super) struct Slots {
    /// A bit for each number that is taken.
    taken: AtomicU32,
    count: u32,
}

impl Slots {
    #[cfg_attr(resilient_loom, allow(dead_code))]
    pub(super) fn new(count: usize) -> Self {
        Self { taken: AtomicU32::new(0), count: u32::try_from(count).unwrap_or(u32::BITS).min(u32::BITS) }
    }

    /// The lowest free number, if there is any.
    pub(super) fn take(&self) -> Option<u32> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let free = taken.trailing_ones();
            if free >= self.count {
                return None;
            }
            let with = taken | 1 << free;
            // Acquire: what the thread that had it before has written must be there, to be added to.
            match self.taken.compare_exchange_weak(taken, with, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(free),
                Err(now) => taken = now,
            }
        }
    }

    /// Gives a number back; release, for the Acquire in `take`.
    pub(super) fn give_back(&self, number: u32) {
        self.taken.fetch_and(!(1 << number), Ordering::Release);
    }
}

/// How many threads have a number of their own: a power of two, two for each core, from 4 to 32. There are more threads than
/// cores: a `main` that waits for a runtime has once counted, too.
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
    /// A thread that came when all numbers were taken, or is about to end.
    const SHARED: usize = usize::MAX - 1;

    static SLOTS: LazyLock<Slots> = LazyLock::new(|| Slots::new(super::count()));

    thread_local! {
        /// Apart from its guard, because what has no destructor is found without a check.
        static NUMBER: Cell<usize> = const { Cell::new(NONE) };
        static GUARD: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    struct Guard(u32);

    impl Drop for Guard {
        fn drop(&mut self) {
            // Other destructors of the thread may count after this.
            NUMBER.set(SHARED);
            SLOTS.give_back(self.0);
        }
    }

    /// The number of this thread; a number beyond all slots if it has none.
    #[inline]
    pub(in crate::observe) fn number() -> usize {
        NUMBER.get()
    }

    /// Gives this thread a number if it was never asked before; then `number` has changed.
    #[cold]
    pub(in crate::observe) fn take_number() -> bool {
        if NUMBER.get() != NONE {
            return false;
        }
        NUMBER.set(SHARED);
        if let Some(slot) = SLOTS.take() {
            // Where the thread's destructors have run already, the guard cannot be kept, and is dropped at once.
            let kept = GUARD.try_with(|guard| guard.set(Some(Guard(slot))));
            match kept {
                Ok(()) => NUMBER.set(slot as usize),
                Err(_) => SLOTS.give_back(slot),
            }
        }
        true
    }
}

#[cfg(not(resilient_loom))]
pub(super) use threads::{number, take_number};

/// A model has few threads; they share, and what they share is the harder case.
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
    fn a_number_is_had_by_one_thread_at_a_time_and_comes_back() {
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
    fn loom_the_next_owner_goes_on_where_the_last_one_stopped() {
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
