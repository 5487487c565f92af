//! Sums over the calls of a window.

use crate::observe::Striped;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The binary logarithm of a time in nanoseconds, in units of 1/65536. The mean of logarithms is a geometric mean:
/// ten times as long weighs as much as a tenth.
pub(super) type Log = u64;

pub(super) const ONE: u64 = 1 << 16;
/// The largest deviation from the usual time that a single call can contribute.
const MOST_OFF: u64 = 2 * ONE;

/// Returns the logarithm with an error of at most 0.9 % (at most 9 % in its slope), without calling the math
/// library.
#[inline]
pub(super) fn log(nanos: u64) -> Log {
    // The exponent and mantissa of a float are a piecewise linear approximation of its logarithm.
    let bits = (nanos.max(1) as f64).to_bits() >> 36;
    let straight = bits - (1023 << 16);
    let rest = straight & (ONE - 1);
    // A parabola between the powers of two corrects it.
    straight + ((rest * (ONE - rest)) >> 16) * 22_518 / ONE
}

/// Converts a logarithm to a float.
pub(super) fn to_f64(log: Log) -> f64 {
    log as f64 / ONE as f64
}

pub(super) fn from_f64(log: f64) -> Log {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // no NaN, and at most 64 bits of nanoseconds
    let log = (log.clamp(0.0, 64.0) * ONE as f64) as Log;
    log
}

const MEASURED: usize = 0;
const LOGS: usize = 1;
const IN_FLIGHT: usize = 2;
const OVERLOADED: usize = 3;

/// Sums that only grow. The sums of a window are the difference from the sums at its start.
#[derive(Debug)]
pub(super) struct Totals {
    sums: Striped<4>,
    /// The peak number of calls in flight since the last [`take_peak`](Self::take_peak).
    peak: AtomicU32,
    /// The longest call since the last [`take_slowest`](Self::take_slowest).
    slowest: AtomicU64,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self { sums: Striped::new(), peak: AtomicU32::new(0), slowest: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn measured(&self, took: Log, usual: Log, in_flight: u32) {
        let took =
            if usual > 0 { took.clamp(usual.saturating_sub(MOST_OFF), usual + MOST_OFF) } else { took };
        // Update the maximum first, so that the sums never exceed it.
        if took > self.slowest.load(Ordering::Relaxed) {
            self.slowest.fetch_max(took, Ordering::Relaxed);
        }
        self.note(in_flight);
        self.sums.add_all([1, took, u64::from(in_flight), 0]);
    }

    #[inline]
    pub(super) fn overloaded(&self, in_flight: u32) {
        self.sums.add_all([0, 0, 0, 1]);
        self.note(in_flight);
    }

    /// Written a few times per window; otherwise only read.
    #[inline]
    fn note(&self, in_flight: u32) {
        if in_flight > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(in_flight, Ordering::Relaxed);
        }
    }

    pub(super) fn take_peak(&self) -> u32 {
        self.peak.swap(0, Ordering::Relaxed)
    }

    /// Returns the longest call since the last time, after clamping.
    pub(super) fn take_slowest(&self) -> Log {
        self.slowest.swap(0, Ordering::Relaxed)
    }

    pub(super) fn sums(&self) -> Sums {
        Sums(self.sums.sums())
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums([u64; 4]);

impl Sums {
    /// Returns the difference from earlier sums.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index].saturating_sub(before.0[index])))
    }

    pub(super) fn calls(&self) -> u64 {
        self.0[MEASURED] + self.0[OVERLOADED]
    }

    /// Returns the share of overloaded calls.
    pub(super) fn overloaded(&self) -> f64 {
        self.0[OVERLOADED] as f64 / self.calls().max(1) as f64
    }

    /// Removes impossible values. The sums are not read atomically: for a call that ends during the read, the time
    /// can be included but not yet the count. In a window of few calls the mean would exceed all of them.
    pub(super) fn bounded(mut self, peak: u32, slowest: Log) -> Self {
        let count = self.0[MEASURED];
        self.0[LOGS] = self.0[LOGS].min(slowest.saturating_mul(count));
        self.0[IN_FLIGHT] = self.0[IN_FLIGHT].min(u64::from(peak).saturating_mul(count));
        self
    }

    /// Returns the means of the measured calls.
    pub(super) fn reading(&self) -> Option<Reading> {
        let count = self.0[MEASURED];
        (count > 0).then(|| Reading {
            latency: to_f64(self.0[LOGS]) / count as f64,
            in_flight: self.0[IN_FLIGHT] as f64 / count as f64,
        })
    }
}

/// The mean latency and concurrency of calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    /// A logarithm of nanoseconds.
    pub(super) latency: f64,
    pub(super) in_flight: f64,
}
