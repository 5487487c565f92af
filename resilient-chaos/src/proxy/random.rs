//! Reproducible random numbers for toxicity, jitter and sizes of slices.

use std::hash::{BuildHasher, RandomState};

/// A generator of random numbers, not for cryptography.
///
/// The algorithm is `SplitMix64`: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that differs in each process.
    pub(super) fn seed() -> u64 {
        // The standard library takes the keys of a hasher from the operating system.
        RandomState::new().hash_one(0)
    }

    /// A generator for one part of what this one is for. Equal parts get equal generators.
    pub(super) fn for_part(&self, part: u64) -> Self {
        let mut own = Self(self.0 ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self(own.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1, without 1.
    pub(super) fn below_one(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn between_minus_one_and_one(&mut self) -> f64 {
        self.below_one().mul_add(2.0, -1.0)
    }

    /// A number in a range that includes both ends.
    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        let width = (most - least) as u128 + 1;
        // The high half of the product is below the width.
        least + usize::try_from((u128::from(self.next()) * width) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_their_range_and_spread() {
        let mut random = Random::new(7);
        let mut hits = [0; 4];
        for _ in 0..4000 {
            let number = random.below_one();
            assert!((0.0..1.0).contains(&number));
            hits[random.between(1, 4) - 1] += 1;
            assert!((-1.0..1.0).contains(&random.between_minus_one_and_one()));
        }
        assert!(hits.iter().all(|hits| (900..1100).contains(hits)), "{hits:?}");
        assert_eq!(random.between(5, 5), 5);
        random.between(0, usize::MAX);
    }

    #[test]
    fn parts_are_reproducible_and_differ() {
        let draw = |seed, part| Random::new(seed).for_part(part).below_one().to_bits();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
        assert_ne!(Random::seed(), Random::seed());
    }
}
