//! Counters that many threads write without waiting for each other.
//!
//! A counter that every thread adds to is a cache line that travels between cores with each call. Here each
//! thread adds to a stripe of its own, on a cache line of its own; whoever reads sums the stripes up. The sum
//! is exact once the writers are done, and never runs backwards for one reader.

use crate::sync::{AtomicU64, Ordering};

/// Two lines, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

/// `N` counters, striped.
#[derive(Debug)]
pub(crate) struct Striped<const N: usize>(Box<[Stripe<N>]>);

impl<const N: usize> Striped<N> {
    pub(crate) fn new() -> Self {
        let stripe = |_| Stripe(std::array::from_fn(|_| AtomicU64::new(0)));
        Self((0..stripes()).map(stripe).collect())
    }

    /// Adds one to the counter `index`.
    #[inline]
    pub(crate) fn add(&self, index: usize) {
        // Relaxed: a count orders nothing.
        self.0[thread_number() & (self.0.len() - 1)].0[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self, index: usize) -> u64 {
        self.0.iter().map(|stripe| stripe.0[index].load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn sums(&self) -> [u64; N] {
        std::array::from_fn(|index| self.sum(index))
    }
}

/// A power of two, at least one for each core up to 16.
#[cfg(not(resilient_loom))]
fn stripes() -> usize {
    static STRIPES: std::sync::LazyLock<usize> = std::sync::LazyLock::new(|| {
        std::thread::available_parallelism().map_or(4, std::num::NonZero::get).next_power_of_two().min(16)
    });
    *STRIPES
}

/// Threads are numbered as they first count something, so that neighbours get different stripes.
#[cfg(not(resilient_loom))]
#[inline]
fn thread_number() -> usize {
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(resilient_loom)]
fn stripes() -> usize {
    1
}

#[cfg(resilient_loom)]
fn thread_number() -> usize {
    0
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
}
