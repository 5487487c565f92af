//! Buckets of a log-linear histogram that threads fill without contention.
//!
//! The layout is the same as in the `histogram` crate, so that its histograms can be built from them: 64 buckets
//! for each doubling of the value. As with [`Striped`](super::Striped), the first threads have exclusive buckets
//! and increment them with a load and a store, which takes a third of the time of an atomic increment. Other
//! threads share buckets.

use std::sync::atomic::{AtomicU64, Ordering};

use histogram::Histogram;
use once_cell::sync::OnceCell;

use super::slot;

const GROUPING_POWER: u8 = 6;
/// More stripes would use much memory on large machines with little benefit.
const MOST_STRIPES: usize = 4;

/// Values up to 2^`POWER`. Larger values count as the maximum.
#[derive(Debug)]
pub(super) struct Buckets<const POWER: u8> {
    /// The stripe of each numbered thread. It takes 16 KiB (more for a `POWER` above 36), allocated on its first
    /// write.
    owned: Box<[Stripe]>,
    /// Stripes for all other threads. Several stripes reduce contention.
    shared: Box<[Stripe]>,
}

type Stripe = OnceCell<Box<[AtomicU64]>>;

impl<const POWER: u8> Buckets<POWER> {
    const LARGEST: u64 = (1 << POWER) - 1;
    const COUNT: usize = (POWER as usize - GROUPING_POWER as usize + 1) << GROUPING_POWER;

    pub(super) fn new() -> Self {
        // A power of two.
        let stripes = slot::count().clamp(1, MOST_STRIPES);
        let make = || (0..stripes).map(|_| Stripe::new()).collect();
        Self { owned: make(), shared: make() }
    }

    /// Adds a value `times` times.
    #[inline]
    pub(super) fn add(&self, value: u64, times: u64) {
        let index = Self::index(value);
        let Some(stripe) = self.owned.get(slot::number()) else {
            return self.add_shared(index, times);
        };
        if let Some(bucket) = stripe.get_or_init(Self::stripe).get(index) {
            // Relaxed: a count orders nothing. No other thread writes here.
            bucket.store(bucket.load(Ordering::Relaxed).wrapping_add(times), Ordering::Relaxed);
        }
    }

    #[inline(never)]
    fn add_shared(&self, index: usize, times: u64) {
        let stripe = &self.shared[slot::number() & (self.shared.len() - 1)];
        if let Some(bucket) = stripe.get_or_init(Self::stripe).get(index) {
            bucket.fetch_add(times, Ordering::Relaxed);
        }
    }

    #[cold]
    fn stripe() -> Box<[AtomicU64]> {
        (0..Self::COUNT).map(|_| AtomicU64::new(0)).collect()
    }

    #[inline]
    fn index(value: u64) -> usize {
        let value = value.min(Self::LARGEST);
        // The number of low bits that do not affect the bucket; 0 for a value with an exclusive bucket.
        let below = (u64::BITS - value.leading_zeros()).saturating_sub(u32::from(GROUPING_POWER) + 1);
        #[allow(clippy::cast_possible_truncation)] // less than `COUNT`
        {
            (((u64::from(below)) << GROUPING_POWER) + (value >> below)) as usize
        }
    }

    /// Returns whether nothing was ever added.
    pub(super) fn are_empty(&self) -> bool {
        self.filled().next().is_none()
    }

    fn filled(&self) -> impl Iterator<Item = &[AtomicU64]> {
        self.owned.iter().chain(&self.shared).filter_map(|stripe| stripe.get().map(AsRef::as_ref))
    }

    pub(super) fn sums(&self) -> Option<Histogram> {
        let mut sums = vec![0_u64; Self::COUNT];
        for stripe in self.filled() {
            for (sum, bucket) in sums.iter_mut().zip(stripe) {
                *sum = sum.wrapping_add(bucket.load(Ordering::Relaxed));
            }
        }
        Histogram::from_buckets(GROUPING_POWER, POWER, sums).ok()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_same_buckets_as_in_the_histogram_crate() {
        let scales = (0..47).flat_map(|power: u32| [0, 1, 7, 65].map(|more| (1_u64 << power) + more));
        for value in (0..300).chain(scales).chain([Buckets::<47>::LARGEST]) {
            let mut expected = Histogram::new(GROUPING_POWER, 47).unwrap();
            expected.increment(value).unwrap();
            let buckets = Buckets::<47>::new();
            buckets.add(value, 1);
            assert_eq!(buckets.sums().unwrap(), expected, "{value}");
        }
        assert_eq!(Buckets::<36>::index(u64::MAX), Buckets::<36>::COUNT - 1);
    }

    #[test]
    fn short_lived_threads_lose_nothing() {
        // T156
        let buckets = Buckets::<36>::new();
        for _ in 0..20 {
            std::thread::scope(|scope| {
                for thread in 0..24 {
                    let buckets = &buckets;
                    scope.spawn(move || {
                        // Some threads count elsewhere first, so that they already have a number.
                        if thread % 2 == 0 {
                            slot::take_number();
                        }
                        (0..500).for_each(|_| buckets.add(7, 1));
                    });
                }
            });
        }
        let sums = buckets.sums().unwrap();
        assert_eq!(sums.as_slice().iter().sum::<u64>(), 20 * 24 * 500);
    }
}
