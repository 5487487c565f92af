//! Chance for calls that come by the million: no lock, and a test can repeat it.
//!
//! `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): a counter that
//! is stepped by an odd constant, and a mixing of its bits. One atomic addition is all that threads share.

use crate::sync::{AtomicU64, Ordering};

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    /// `seed` from 0 to 1.
    pub(super) fn new(seed: f64) -> Self {
        Self(AtomicU64::new(seed.to_bits()))
    }

    /// A number, each as likely as every other.
    #[inline]
    pub(super) fn roll(&self) -> u64 {
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

/// Whether a roll meets a chance; by its upper half, so that the lower one is good for something else.
#[inline]
pub(super) fn meets(roll: u64, odds: u32) -> bool {
    roll >> 32 < u64::from(odds)
}

/// A chance as what the upper half of a roll must be below.
pub(super) fn odds(chance: f64) -> u32 {
    // Saturates: of a chance of one, one call in four thousand million is not met.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let odds = (chance * 4_294_967_296.0) as u32;
    odds
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_chance_is_met_as_often_as_it_says_and_on_no_kind_of_call_more() {
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
