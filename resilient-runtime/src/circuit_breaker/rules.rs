//! The rules that open a closed circuit.

use std::time::Duration;

use super::config::Config;
use super::window::{Content, Grade, Window};
use crate::clock::nanos;
use crate::outage::OpenReason;
use crate::ratio::Ratio;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The settings that a call needs, readable without a lock.
///
/// All accesses are relaxed: a call that ends while the settings change can be evaluated with a mix of old and new
/// ones.
#[derive(Debug)]
pub(super) struct Rules {
    /// In nanoseconds. [`NEVER_SLOW`] if no call is slow.
    slow_call: AtomicU64,
    /// The bits of the share, or of [`NO_SHARE`] if there is no such rule.
    failure_rate: AtomicU64,
    slow_rate: AtomicU64,
    min_calls: AtomicU32,
    /// 0 if there is no such rule.
    failure_threshold: AtomicU32,
    low_volume_failures: AtomicU32,
    /// Whether the window is a count window.
    counts_calls: AtomicBool,
}

const NEVER_SLOW: u64 = u64::MAX;
const NO_SHARE: f64 = f64::INFINITY;

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        let rules = Self {
            slow_call: AtomicU64::new(0),
            failure_rate: AtomicU64::new(0),
            slow_rate: AtomicU64::new(0),
            min_calls: AtomicU32::new(0),
            failure_threshold: AtomicU32::new(0),
            low_volume_failures: AtomicU32::new(0),
            counts_calls: AtomicBool::new(false),
        };
        rules.apply_limits(config);
        rules
    }

    pub(super) fn apply_limits(&self, config: &Config) {
        let bits = |share: Option<Ratio>| share.map_or(NO_SHARE, Ratio::get).to_bits();
        let classic = config.rate_rule().is_none();
        self.slow_call.store(config.slow_call.map_or(NEVER_SLOW, nanos), Ordering::Relaxed);
        self.failure_rate.store(bits(config.rate_rule()), Ordering::Relaxed);
        self.slow_rate.store(bits(config.slow_rate), Ordering::Relaxed);
        self.min_calls.store(config.fewest_calls(), Ordering::Relaxed);
        self.failure_threshold.store(config.failure_threshold.unwrap_or(0), Ordering::Relaxed);
        let low_volume = if classic { 0 } else { config.low_volume_failures };
        self.low_volume_failures.store(low_volume, Ordering::Relaxed);
    }

    /// One failure opens the circuit, until [`apply_limits`](Self::apply_limits) is called.
    pub(super) fn open_at_first_failure(&self) {
        self.failure_threshold.store(1, Ordering::Relaxed);
    }

    pub(super) fn use_window(&self, window: Window) {
        self.counts_calls.store(matches!(window, Window::Count(_)), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn counts_calls(&self) -> bool {
        self.counts_calls.load(Ordering::Relaxed)
    }

    /// Whether the duration of a call matters.
    #[inline]
    pub(super) fn times_calls(&self) -> bool {
        self.slow_call.load(Ordering::Relaxed) != NEVER_SLOW
    }

    #[inline]
    pub(super) fn is_slow(&self, nanos: u64) -> bool {
        nanos >= self.slow_call.load(Ordering::Relaxed)
    }

    /// Returns the duration from which a call is slow.
    pub(super) fn slow_call(&self) -> Option<Duration> {
        self.times_calls().then(|| Duration::from_nanos(self.slow_call.load(Ordering::Relaxed)))
    }

    /// Whether a call of this grade counts as failed. Slow calls do, unless `slow_rate` is set.
    pub(super) fn is_bad(&self, grade: Grade) -> bool {
        grade.is_failed() || grade.is_slow() && self.slow_is_failed()
    }

    fn slow_is_failed(&self) -> bool {
        self.slow_rate.load(Ordering::Relaxed) == NO_SHARE.to_bits()
    }

    /// Returns why the circuit must open after `row` consecutive bad calls, if it must.
    ///
    /// `content` is called only if needed. A limit is reached when the value is equal or greater (T17).
    pub(super) fn judge(&self, row: u32, content: impl FnOnce() -> Content) -> Option<OpenReason> {
        let reached = |limit: &AtomicU32| {
            let limit = limit.load(Ordering::Relaxed);
            limit > 0 && row >= limit
        };
        let consecutive = OpenReason::Consecutive { failures: row };
        if reached(&self.failure_threshold) {
            return Some(consecutive);
        }
        let content = content();
        if content.calls < self.min_calls() {
            return reached(&self.low_volume_failures).then_some(consecutive);
        }
        self.judge_shares(content)
    }

    fn judge_shares(&self, content: Content) -> Option<OpenReason> {
        let calls = content.calls;
        let failed = if self.slow_is_failed() { content.failed_or_slow } else { content.failed };
        let reached = |rate: &AtomicU64, part: u64| {
            let limit = f64::from_bits(rate.load(Ordering::Relaxed));
            // Divide instead of multiplying: 7 of 100 is exactly the value written 0.07.
            let observed = Ratio::of(part, calls);
            (observed.get() >= limit).then(|| (observed, Ratio::new(limit).unwrap_or(observed)))
        };
        if let Some((observed, limit)) = reached(&self.failure_rate, failed) {
            return Some(OpenReason::FailureRate { observed, limit, calls });
        }
        let (observed, limit) = reached(&self.slow_rate, content.slow)?;
        Some(OpenReason::SlowRate { observed, limit, calls })
    }

    /// Returns why the circuit must open because of `hanging` slow calls in flight.
    ///
    /// It evaluates the window and the row as if these calls had ended.
    pub(super) fn judge_hanging(
        &self,
        hanging: u64,
        row: u32,
        content: impl FnOnce() -> Content,
    ) -> Option<OpenReason> {
        if hanging == 0 {
            return None;
        }
        let reason = OpenReason::SlowInFlight { calls: hanging };
        let threshold = u64::from(self.failure_threshold.load(Ordering::Relaxed));
        if self.slow_is_failed() && threshold > 0 && u64::from(row) + hanging >= threshold {
            return Some(reason);
        }
        let content = content();
        let ended = Content {
            calls: content.calls + hanging,
            slow: content.slow + hanging,
            failed_or_slow: content.failed_or_slow + hanging,
            ..content
        };
        (ended.calls >= self.min_calls() && self.judge_shares(ended).is_some()).then_some(reason)
    }

    fn min_calls(&self) -> u64 {
        u64::from(self.min_calls.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    fn content(calls: u64, failed: u64, slow: u64) -> Content {
        Content { calls, failed, slow, failed_or_slow: failed + slow }
    }

    fn judge(config: &Config, row: u32, content: Content) -> Option<OpenReason> {
        Rules::new(config).judge(row, || content)
    }

    #[test]
    fn a_share_that_is_exactly_reached_opens() {
        // T17
        for (percent, times) in (1..=100_u32).flat_map(|percent| [1, 3, 7].map(|times| (percent, times))) {
            let limit = Ratio::percent(f64::from(percent)).unwrap();
            let config = Config::default().failure_rate(limit).low_volume_failures(0);
            let (failed, calls) = (u64::from(percent * times), u64::from(100 * times));
            assert!(judge(&config, 1, content(calls, failed, 0)).is_some(), "{failed} of {calls}");
            assert!(judge(&config, 1, content(calls, failed - 1, 0)).is_none(), "{failed} - 1 of {calls}");
        }
    }

    #[test]
    fn consecutive_failures_open_only_below_min_calls() {
        let config = Config::default();
        assert_eq!(judge(&config, 5, content(19, 5, 0)), Some(OpenReason::Consecutive { failures: 5 }));
        assert_eq!(judge(&config, 4, content(19, 4, 0)), None);
        assert_eq!(judge(&config, 9, content(20, 9, 0)), None);
        assert_eq!(judge(&config.low_volume_failures(0), 19, content(19, 19, 0)), None);
    }

    #[test]
    fn the_classic_threshold_checks_only_consecutive_failures() {
        let classic = Config::default().failure_threshold(7);
        assert_eq!(judge(&classic, 6, content(100, 100, 0)), None);
        assert_eq!(judge(&classic, 7, content(100, 7, 0)), Some(OpenReason::Consecutive { failures: 7 }));
        let both = classic.failure_rate(Ratio::HALF);
        let (observed, limit) = (Ratio::HALF, Ratio::HALF);
        let reason = OpenReason::FailureRate { observed, limit, calls: 100 };
        assert_eq!(judge(&both, 1, content(100, 50, 0)), Some(reason));
    }

    #[test]
    fn slow_calls_count_as_failed_unless_slow_rate_is_set() {
        let config = Config::default().slow_call(Duration::from_secs(1));
        assert!(matches!(judge(&config, 1, content(20, 4, 6)), Some(OpenReason::FailureRate { .. })));
        let own = config.slow_rate(Ratio::new(0.8).unwrap());
        assert_eq!(judge(&own, 1, content(20, 4, 15)), None);
        assert!(matches!(judge(&own, 1, content(20, 4, 16)), Some(OpenReason::SlowRate { .. })));
        let rules = Rules::new(&own);
        assert!(!rules.is_bad(Grade::Slow) && rules.is_bad(Grade::FailedSlow));
        assert!(rules.is_slow(1_000_000_000) && !rules.is_slow(999_999_999));
    }

    #[test]
    fn hanging_calls_are_evaluated_as_if_they_had_ended() {
        // T22
        let rules = Rules::new(&Config::default().slow_call(Duration::from_secs(1)));
        assert_eq!(rules.judge_hanging(19, 0, Content::default), None);
        assert_eq!(
            rules.judge_hanging(20, 0, Content::default),
            Some(OpenReason::SlowInFlight { calls: 20 })
        );
        assert_eq!(rules.judge_hanging(20, 0, || content(21, 0, 0)), None, "fewer than half of the calls");
        assert_eq!(rules.judge_hanging(0, 0, || content(20, 20, 0)), None, "no call hangs");
    }
}
