//! Bounds over all faults of a registry.

use serde::Serialize;

use super::problem::{InvalidFault, Problems};
use crate::sync::{AtomicU64, Ordering};

/// The most faults that can be allowed.
const MOST_FAULTS: u32 = 1024;

/// Bounds over all faults of a registry.
///
/// ```
/// use resilient_runtime::{Registry, chaos::{Fault, Limits}};
///
/// let chaos = Registry::new().chaos();
/// chaos.set_limits(Limits::default().max_faults(1)).unwrap();
/// let _first = chaos.inject(Fault::hang().on("load")).unwrap();
/// let refused = chaos.inject(Fault::hang().on("load")).unwrap_err();
/// assert!(refused.to_string().contains("1 faults are in force, and `max_faults` is 1"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// How many faults can be in force, 1 to 1024. The default is 64.
    pub max_faults: u32,
    /// The largest share of the attempts of affected operations that faults may hit, over 0 and at most 1. The default
    /// is 1.
    ///
    /// Faults that hit the same attempt count once.
    pub max_rate: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_faults: 64, max_rate: 1.0 }
    }
}

impl Limits {
    /// Sets how many faults can be in force.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::chaos::Limits::default().max_faults(3).max_faults, 3);
    /// ```
    pub fn max_faults(self, max_faults: u32) -> Self {
        Self { max_faults, ..self }
    }

    /// Sets the largest share of attempts that faults may hit.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, chaos::{Fault, Limits}};
    ///
    /// let registry = Registry::new();
    /// registry.chaos().set_limits(Limits::default().max_rate(0.2)).unwrap();
    /// let load = registry.pipeline("load").build();
    /// let _fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("load")).unwrap();
    /// let failed = (0..100).filter(|_| load.call(|| Some(7)).is_none()).count();
    /// assert_eq!(failed, 20);
    /// ```
    pub fn max_rate(self, max_rate: f64) -> Self {
        Self { max_rate, ..self }
    }

    pub(super) fn check(self) -> Result<(), InvalidFault> {
        let mut problems = Problems::default();
        problems.require((1..=MOST_FAULTS).contains(&self.max_faults), || {
            format!("`max_faults` = {} is refused: 1 to {MOST_FAULTS}", self.max_faults)
        });
        problems.require(self.max_rate > 0.0 && self.max_rate <= 1.0, || {
            format!("`max_rate` = {} is refused: over 0 and at most 1", self.max_rate)
        });
        problems.finish()
    }
}

/// One attempt in the unit of the credit.
const ATTEMPT: u64 = 1_000_000;
/// Credit is kept for so many attempts, so that a quiet hour does not pay for an outage.
const BURST: u64 = 10;

/// Keeps the share of affected attempts below a maximum: each attempt earns a part of one that may be hit.
#[derive(Debug)]
pub(super) struct Share {
    /// The credit of an attempt. [`ATTEMPT`] turns the limit off.
    earns: AtomicU64,
    credit: AtomicU64,
}

impl Default for Share {
    fn default() -> Self {
        Self { earns: AtomicU64::new(ATTEMPT), credit: AtomicU64::new(0) }
    }
}

impl Share {
    pub(super) fn set(&self, max_rate: f64) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to 1
        let earns = (max_rate.clamp(0.0, 1.0) * ATTEMPT as f64).round() as u64;
        self.earns.store(earns.max(1), Ordering::Relaxed);
        self.credit.store(0, Ordering::Relaxed);
    }

    /// Adds what an attempt earns.
    pub(super) fn attempt(&self) {
        let earns = self.earns.load(Ordering::Relaxed);
        if earns < ATTEMPT {
            let add = |credit: u64| Some((credit + earns).min(BURST * ATTEMPT));
            let _ = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    /// Pays for an attempt that is hit. Returns whether there was credit.
    pub(super) fn take(&self) -> bool {
        if self.earns.load(Ordering::Relaxed) >= ATTEMPT {
            return true;
        }
        let pay = |credit: u64| credit.checked_sub(ATTEMPT);
        self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}
