//! A fast random number generator without a lock, reproducible in tests.
//!
//! `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): a counter
//! that advances by an odd constant, followed by a mix of its bits. Threads share only one atomic addition.

use crate::sync::{AtomicU64, Ordering};

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    /// `seed` is between 0 and 1.
    pub(super) fn new(seed: f64) -> Self {
        Self(AtomicU64::new(seed.to_bits()))
    }

    /// Returns a uniformly distributed number.
    #[inline]
    pub(super) fn roll(&self) -> u64 {
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

/// Whether a roll is below the odds. It uses only the upper half, so that the lower half is free for another use.
#[inline]
pub(super) fn meets(roll: u64, odds: u32) -> bool {
    roll >> 32 < u64::from(odds)
}

/// Converts a probability to the bound for the upper half of a roll.
pub(super) fn odds(chance: f64) -> u32 {
    // Saturates: with a probability of 1, one call in four billion is missed.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let odds = (chance * 4_294_967_296.0) as u32;
    odds
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_hit_rate_matches_the_probability_in_any_subsequence() {
        let dice = Dice::new(0.3);
        for chance in [0.0, 0.1, 0.5, 0.9] {
            let hits: Vec<bool> = (0..100_000).map(|_| meets(dice.roll(), odds(chance))).collect();
            for step in [1, 2, 3, 8] {
                let (of, met) = (100_000 / step, hits.iter().step_by(step).filter(|hit| **hit).count());
                let share = met as f64 / of as f64;
                assert!((share - chance).abs() < 0.015, "{share} instead of {chance} of every {step}th");
            }
        }
    }
}
