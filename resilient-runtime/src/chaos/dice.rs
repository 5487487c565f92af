//! Reproducible random numbers: the same seed and number give the same values.

/// Random numbers for one attempt. They depend only on the seed of the fault and on the number of the attempt, so that
/// concurrent attempts do not disturb each other (T141).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn of(seed: u64, attempt: u64) -> Self {
        let mut dice = Self(seed);
        let mixed = dice.next() ^ attempt.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(mixed)
    }

    /// `SplitMix64`, from Steele, Lea and Flood, *Fast splittable pseudorandom number generators* (2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number in `[0, 1)`.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number of the standard normal distribution, by the method of Box and Muller.
    pub(super) fn normal(&mut self) -> f64 {
        // Not 0, whose logarithm is infinite.
        let (radius, angle) = (1.0 - self.share(), self.share());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}
