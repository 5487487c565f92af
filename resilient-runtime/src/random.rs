//! Random numbers for jitter. A test can set the seed to repeat them.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::sync::Mutex;

/// A random number generator behind a lock. Do not use it on the success path of a call.
#[derive(Debug)]
pub(crate) struct Random(Mutex<SmallRng>);

impl Random {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.map_or_else(rand::make_rng, SmallRng::seed_from_u64)))
    }

    /// Returns a number in `[0, 1)`.
    pub(crate) fn share(&self) -> f64 {
        self.0.lock().random()
    }

    /// Returns 128 random bits, enough for a unique id.
    pub(crate) fn unique(&self) -> u128 {
        self.0.lock().random()
    }
}
