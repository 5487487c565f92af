//! Counters that many threads write without contention.
//!
//! A counter that every thread increments is a cache line that moves between cores on every call, and an atomic
//! increment takes ten times as long as a plain one. Here, each of the first threads has an exclusive stripe on
//! separate cache lines. It increments with a load and a store. Further threads share one stripe. A stripe is
//! allocated on its first write, so that an unused component is small. Readers add up the stripes. The sum is exact
//! once the writers are done, and never decreases for one reader.

use once_cell::race::OnceBox;

use super::slot;
use crate::sync::{AtomicU64, Ordering};

/// Aligned to two cache lines, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

impl<const N: usize> Stripe<N> {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// `N` counters, striped.
#[derive(Debug)]
pub(crate) struct Striped<const N: usize> {
    /// The stripe of each numbered thread, allocated by that thread on its first write.
    owned: Box<[OnceBox<Stripe<N>>]>,
    shared: OnceBox<Stripe<N>>,
}

impl<const N: usize> Striped<N> {
    pub(crate) fn new() -> Self {
        Self { owned: (0..slot::count()).map(|_| OnceBox::new()).collect(), shared: OnceBox::new() }
    }

    /// Adds one to the counter `index`.
    #[inline]
    pub(crate) fn add(&self, index: usize) {
        self.fetch_add(index);
    }

    /// Adds one to the counter `index`. Returns the previous value of its stripe.
    #[inline]
    pub(crate) fn fetch_add(&self, index: usize) -> u64 {
        let Some(stripe) = self.owned.get(slot::number()).and_then(OnceBox::get) else {
            return self.fetch_add_first(index);
        };
        // Relaxed: counts order nothing. No other thread writes this stripe.
        let before = stripe.0[index].load(Ordering::Relaxed);
        stripe.0[index].store(before.wrapping_add(1), Ordering::Relaxed);
        before
    }

    #[cold]
    #[inline(never)]
    fn fetch_add_first(&self, index: usize) -> u64 {
        match self.shared() {
            Some(shared) => shared.0[index].fetch_add(1, Ordering::Relaxed),
            None => self.fetch_add(index),
        }
    }

    /// Returns the stripe for threads without a number, or `None` if this thread has an exclusive stripe from now
    /// on.
    fn shared(&self) -> Option<&Stripe<N>> {
        slot::take_number();
        match self.owned.get(slot::number()) {
            Some(owned) => {
                owned.get_or_init(|| Box::new(Stripe::new()));
                None
            }
            None => Some(self.shared.get_or_init(|| Box::new(Stripe::new()))),
        }
    }

    /// Adds to all counters. They are adjacent, so the stripe is looked up only once.
    #[inline]
    pub(crate) fn add_all(&self, amounts: [u64; N]) {
        let Some(stripe) = self.owned.get(slot::number()).and_then(OnceBox::get) else {
            return self.add_all_first(amounts);
        };
        for (counter, amount) in stripe.0.iter().zip(amounts) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn add_all_first(&self, amounts: [u64; N]) {
        let Some(shared) = self.shared() else { return self.add_all(amounts) };
        for (counter, amount) in shared.0.iter().zip(amounts).filter(|(_, amount)| *amount > 0) {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub(crate) fn sum(&self, index: usize) -> u64 {
        let stripes = self.owned.iter().filter_map(OnceBox::get).chain(self.shared.get());
        stripes.map(|stripe| stripe.0[index].load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn sums(&self) -> [u64; N] {
        std::array::from_fn(|index| self.sum(index))
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_64_threads_is_exact() {
        // T156
        let counters = Striped::<2>::new();
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| (0..1000).for_each(|_| counters.add(1)));
            }
        });
        assert_eq!(counters.sums(), [0, 64_000]);
    }

    #[test]
    fn the_sum_of_amounts_of_64_threads_is_exact() {
        // T156
        let counters = Striped::<2>::new();
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| (0..1000).for_each(|_| counters.add_all([2, 3])));
            }
        });
        assert_eq!(counters.sums(), [128_000, 192_000]);
    }

    #[test]
    fn short_lived_threads_lose_no_counts_and_reuse_stripes() {
        // T156
        let counters = Striped::<1>::new();
        for _ in 0..200 {
            std::thread::scope(|scope| {
                (0..3).for_each(|_| drop(scope.spawn(|| (0..10).for_each(|_| counters.add(0)))));
            });
        }
        assert_eq!(counters.sum(0), 6000);
    }

    #[test]
    fn counts_of_an_ending_thread_are_included() {
        struct Last(std::sync::Arc<Striped<1>>);
        impl Drop for Last {
            fn drop(&mut self) {
                self.0.add(0);
            }
        }
        thread_local! {
            static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
        }
        let counters = std::sync::Arc::new(Striped::<1>::new());
        for counts_first in [true, false] {
            let counters = std::sync::Arc::clone(&counters);
            let thread = std::thread::spawn(move || {
                if counts_first {
                    counters.add(0);
                }
                LAST.with(|last| *last.borrow_mut() = Some(Last(std::sync::Arc::clone(&counters))));
                counters.add(0);
            });
            thread.join().unwrap();
        }
        assert_eq!(counters.sum(0), 5);
    }
}
