//! An attempt timeout that follows the durations of recent attempts.
//!
//! The limit is a percentile of the attempts in the rolling window times a factor, between `min` and `max`. The first
//! attempt that ends after an update is due updates the limit. A call that begins reads one number.
//!
//! An attempt that succeeded is recorded with its duration. An attempt that timed out or was cancelled is recorded as
//! *longer* than the time that it ran ([`survival`]). An attempt that failed is not recorded: a refused connection in
//! an outage says nothing about the duration of the work.
//!
//! If too many attempts time out to compute the percentile, the limit does not fall, and grows by the factor once per
//! window. In an outage of a few minutes it grows little. If work has become permanently slower, it grows to the
//! required limit. It falls again when the slow attempts leave the window.

use std::time::Duration;

use super::config::Config;
use super::stats::AdaptiveTimeoutStats;
use super::survival::{self, Observed};
use crate::clock::{Instant, nanos};
use crate::observe::Latencies;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Up to 39 h.
const POWER: u8 = 47;
/// Updates of the limit in each window.
const LOOKS: u32 = 60;
/// Minimum growth factor when too many attempts time out.
const LEAST_GROWTH: f64 = 1.25;

#[derive(Debug)]
pub(super) struct Adaptive {
    completed: Latencies<POWER>,
    cut_off: Latencies<POWER>,
    /// The time of the next update. Relaxed, like all atomics here: a thread that reads the old time finds the lock
    /// taken, or updates once more.
    due: AtomicU64,
    rule: Mutex<Rule>,
}

#[derive(Debug)]
struct Rule {
    is_on: bool,
    share: f64,
    factor: f64,
    min: u64,
    max: u64,
    window: Duration,
    least: u64,
    /// The last computed limit in nanoseconds. `None` until enough attempts are recorded.
    learned: Option<u64>,
    grown: Option<Instant>,
}

impl Adaptive {
    pub(super) fn new() -> Self {
        let rule = Rule {
            is_on: false,
            share: 0.0,
            factor: 1.0,
            min: 0,
            max: u64::MAX,
            window: Duration::ZERO,
            least: 0,
            learned: None,
            grown: None,
        };
        Self {
            completed: Latencies::new(),
            cut_off: Latencies::new(),
            due: AtomicU64::new(0),
            rule: Mutex::new(rule),
        }
    }

    /// Applies new settings. A learned limit is kept within the new `min` and `max`.
    pub(super) fn apply(&self, config: &Config, limit: &AtomicU64) {
        let mut rule = self.rule.lock();
        rule.is_on = config.adaptive;
        rule.share = config.percentile / 100.0;
        rule.factor = config.factor;
        (rule.min, rule.max) = (nanos(config.min), nanos(config.max));
        rule.window = config.rolling_window();
        rule.least = config.least_samples();
        let initial = || config.attempt.unwrap_or(config.max);
        let fixed = || config.attempt.map_or(u64::MAX, nanos);
        let value =
            if rule.is_on { rule.within(rule.learned.unwrap_or_else(|| nanos(initial()))) } else { fixed() };
        limit.store(value, Ordering::Relaxed);
        self.due.store(0, Ordering::Relaxed);
    }

    /// Records an attempt that succeeded.
    #[inline]
    pub(super) fn completed(&self, span: u64, now: Instant, limit: &AtomicU64) {
        self.completed.record(span);
        self.look_if_due(now, limit);
    }

    /// Records an attempt that ended before its work was done.
    #[cold]
    pub(super) fn cut_off(&self, span: u64, now: Instant, limit: &AtomicU64) {
        self.cut_off.record(span);
        self.look_if_due(now, limit);
    }

    #[inline]
    fn look_if_due(&self, now: Instant, limit: &AtomicU64) {
        if now.as_nanos() >= self.due.load(Ordering::Relaxed) {
            self.look(now, limit);
        }
    }

    #[cold]
    fn look(&self, now: Instant, limit: &AtomicU64) {
        // A concurrent call uses the previous limit.
        let Some(mut rule) = self.rule.try_lock() else { return };
        self.due.store(now.after(rule.window / LOOKS).as_nanos(), Ordering::Relaxed);
        if !rule.is_on {
            return;
        }
        let observed = self.observed(now, rule.window);
        let samples: u64 = observed.iter().map(|at| at.completed + at.cut_off).sum();
        if samples < rule.least {
            return;
        }
        let computed = match survival::quantile(&observed, rule.share) {
            Some(span) => times(span, rule.factor),
            None => match rule.grow(&observed, limit.load(Ordering::Relaxed), now) {
                Some(grown) => grown,
                None => return,
            },
        };
        let value = rule.within(computed);
        rule.learned = Some(value);
        limit.store(value, Ordering::Relaxed);
    }

    fn observed(&self, now: Instant, window: Duration) -> Vec<Observed> {
        let (completed, cut_off) = (self.completed.recent(now, window), self.cut_off.recent(now, window));
        survival::merge(completed.into_iter(), cut_off.into_iter())
    }

    pub(super) fn stats(&self, now: Instant) -> AdaptiveTimeoutStats {
        let (is_learned, window) = {
            let rule = self.rule.lock();
            (rule.learned.is_some(), rule.window)
        };
        let observed = self.observed(now, window);
        let at = |share| survival::quantile(&observed, share).map(Duration::from_nanos);
        AdaptiveTimeoutStats {
            is_learned,
            samples: observed.iter().map(|at| at.completed + at.cut_off).sum(),
            censored: observed.iter().map(|at| at.cut_off).sum(),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
        }
    }

    /// Discards all recorded attempts.
    pub(super) fn forget(&self, config: &Config, limit: &AtomicU64) {
        {
            let mut rule = self.rule.lock();
            (rule.learned, rule.grown) = (None, None);
            self.completed.forget();
            self.cut_off.forget();
        }
        self.apply(config, limit);
    }
}

impl Rule {
    fn within(&self, limit: u64) -> u64 {
        limit.clamp(self.min, self.max)
    }

    /// Returns the limit to try when too many attempts time out to compute the percentile, once per window.
    fn grow(&mut self, observed: &[Observed], current: u64, now: Instant) -> Option<u64> {
        if self.grown.is_some_and(|grown| now.since(grown) < self.window) {
            return None;
        }
        self.grown = Some(now);
        let longest = observed.last().map_or(0, |at| at.span);
        Some(times(longest, self.factor.max(LEAST_GROWTH)).max(current))
    }
}

/// Saturates.
fn times(span: u64, factor: f64) -> u64 {
    // Not negative, and finite, because the factor is.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    {
        (span as f64 * factor) as u64
    }
}
