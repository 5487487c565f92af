//! Randomness for jitter, seedable so that a test can repeat it.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::sync::Mutex;

/// Only used off the success path: drawing takes a lock.
#[derive(Debug)]
pub(crate) struct Random(Mutex<SmallRng>);

impl Random {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.map_or_else(rand::make_rng, SmallRng::seed_from_u64)))
    }

    /// A number in `[0, 1)`.
    pub(crate) fn share(&self) -> f64 {
        self.0.lock().random()
    }

    /// A number that nobody else draws.
    pub(crate) fn unique(&self) -> u128 {
        self.0.lock().random()
    }
}
