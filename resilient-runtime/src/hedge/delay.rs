//! The delay before another attempt is sent.

use std::time::Duration;

use super::config::Config;
use crate::clock::{Instant, nanos};
use crate::observe::{Latencies, LatencyStats};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// Number of recorded attempts from which the percentile is used.
const ENOUGH: u64 = 100;
/// Time between two updates of the percentile.
const STEP: Duration = Duration::from_secs(1);
/// The delay is not known yet.
const UNKNOWN: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Estimate {
    /// Durations of the attempts of the last minute.
    attempts: Latencies,
    /// In nanoseconds. Relaxed, like all atomics here: a call can read the delay before or after a change.
    delay: AtomicU64,
    is_fixed: AtomicBool,
    /// The time of the next update. The first call after it updates the delay.
    due: AtomicU64,
    rule: Mutex<(f64, Duration)>,
}

impl Estimate {
    pub(super) fn new(config: &Config) -> Self {
        let estimate = Self {
            attempts: Latencies::new(),
            delay: AtomicU64::new(UNKNOWN),
            is_fixed: AtomicBool::new(false),
            due: AtomicU64::new(0),
            rule: Mutex::new((0.0, Duration::ZERO)),
        };
        estimate.apply(config);
        estimate
    }

    pub(super) fn apply(&self, config: &Config) {
        *self.rule.lock() = (config.percentile / 100.0, config.min_delay);
        self.is_fixed.store(config.after.is_some(), Ordering::Relaxed);
        self.delay.store(config.after.map_or(UNKNOWN, nanos), Ordering::Relaxed);
        self.due.store(0, Ordering::Relaxed);
    }

    /// Returns the delay for a call that starts now, or `None` if it is not known yet.
    pub(super) fn delay(&self, now: Instant) -> Option<Duration> {
        if !self.is_fixed.load(Ordering::Relaxed) && now.as_nanos() >= self.due.load(Ordering::Relaxed) {
            self.look(now);
        }
        match self.delay.load(Ordering::Relaxed) {
            UNKNOWN => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    #[cold]
    fn look(&self, now: Instant) {
        // A concurrent call uses the previous delay.
        let Some(rule) = self.rule.try_lock() else { return };
        let (share, least) = *rule;
        let (measured, span) = self.attempts.quantile(now, share);
        let delay = if measured < ENOUGH { UNKNOWN } else { nanos(span.max(least)) };
        if !self.is_fixed.load(Ordering::Relaxed) {
            self.delay.store(delay, Ordering::Relaxed);
        }
        self.due.store(now.after(STEP).as_nanos(), Ordering::Relaxed);
    }

    /// Whether durations of attempts must be recorded.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        !self.is_fixed.load(Ordering::Relaxed)
    }

    /// Records the duration of an attempt. For one that lost, the time that it ran.
    pub(super) fn record(&self, nanos: u64) {
        self.attempts.record(nanos);
    }

    pub(super) fn stats(&self, now: Instant) -> LatencyStats {
        self.attempts.stats(now)
    }
}
