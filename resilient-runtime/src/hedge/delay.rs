//! How long to wait for an attempt before another is sent.

use std::time::Duration;

use super::config::Config;
use crate::clock::{Instant, nanos};
use crate::observe::{Latencies, LatencyStats};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// Fewer attempts say nothing about how long they take.
const ENOUGH: u64 = 100;
/// Between two looks at the percentiles.
const STEP: Duration = Duration::from_secs(1);
/// It is not known yet.
const UNKNOWN: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Estimate {
    /// Of the last minute, as far as there are any.
    attempts: Latencies,
    /// In nanoseconds. Relaxed, as all here: each call may see the delay before or after a change.
    delay: AtomicU64,
    is_fixed: AtomicBool,
    /// When to look again; its holder does.
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

    /// The delay for a call that starts now; `None` if it is not known yet.
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
        // Who comes at the same time goes by the delay of before.
        let Some(rule) = self.rule.try_lock() else { return };
        let (share, least) = *rule;
        let (measured, span) = self.attempts.quantile(now, share);
        let delay = if measured < ENOUGH { UNKNOWN } else { nanos(span.max(least)) };
        if !self.is_fixed.load(Ordering::Relaxed) {
            self.delay.store(delay, Ordering::Relaxed);
        }
        self.due.store(now.after(STEP).as_nanos(), Ordering::Relaxed);
    }

    /// Whether it matters how long attempts take.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        !self.is_fixed.load(Ordering::Relaxed)
    }

    /// An attempt took so long, or had run so long when it lost.
    pub(super) fn record(&self, nanos: u64) {
        self.attempts.record(nanos);
    }

    pub(super) fn stats(&self, now: Instant) -> LatencyStats {
        self.attempts.stats(now)
    }
}
