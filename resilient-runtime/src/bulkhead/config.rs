//! Settings of a bulkhead and their defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::priority::Priority;
use crate::settings::{ConfigError, settings};

settings! {
    /// Settings of a [`Bulkhead`](crate::Bulkhead).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{bulkhead::Config, settings::Settings};
    ///
    /// let config = Config::default().max_concurrent(8).max_queue(20);
    /// assert!(config.validate().is_err(), "a queue needs `max_wait`");
    /// assert!(config.max_wait(Duration::from_millis(100)).validate().is_ok());
    /// ```
    pub struct Config: bulkhead, check {
        max_concurrent: u32,
        max_queue: u32,
        max_wait: Option<Duration>,
        threads: Option<u32>,
        reserve_critical: u32,
        reserve_high: u32,
        adaptive: bool,
        adaptive_min: u32,
        adaptive_max: u32,
        adaptive_initial: Option<u32>,
        enabled: bool,
    }
}

const MOST: u32 = 1_000_000;
const INITIAL: u32 = 20;

/// The initial value and the range of an adaptive limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) initial: u32,
    pub(super) min: u32,
    pub(super) max: u32,
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        let pooled = self.threads.is_some();
        let waits = !pooled || self.max_wait.is_none();
        let allowed = "it has no effect with `threads`; calls wait for a thread until the timeout expires";
        error.require(waits, "max_wait", self.max_wait, allowed);
        let bounded = self.max_queue == 0 || self.max_wait.is_some() || pooled;
        error.require(
            bounded,
            "max_queue",
            self.max_queue,
            "it needs `max_wait`, because otherwise calls could wait forever",
        );
        let useful = self.max_wait.is_none() || self.max_queue > 0;
        error.require(useful, "max_wait", self.max_wait, "it has no effect without a queue; set `max_queue`");
        let allowed = "a bulkhead with `threads` cannot be disabled, because calls run on its threads";
        error.require(self.enabled || !pooled, "enabled", self.enabled, allowed);
        self.check_reserves(error);
        if self.adaptive {
            let allowed = "`adaptive` and `threads` cannot be combined";
            error.require(self.threads.is_none(), "adaptive", self.adaptive, allowed);
            self.check_adaptive(error);
        }
    }

    fn check_reserves(&self, error: &mut ConfigError) {
        let (of, permits) = if self.adaptive {
            ("adaptive_min", self.adaptive_min)
        } else if self.threads.is_some() {
            ("threads + max_queue", self.admitted())
        } else {
            ("max_concurrent", self.max_concurrent)
        };
        let reserved = u64::from(self.reserve_critical) + u64::from(self.reserve_high);
        let some_left = reserved < u64::from(permits) || permits == 0;
        let allowed = format!(
            "the reserves add up to {reserved}, which leaves none of {of} = {permits} for normal calls"
        );
        let field = if self.reserve_high > 0 { "reserve_high" } else { "reserve_critical" };
        let value = if self.reserve_high > 0 { self.reserve_high } else { self.reserve_critical };
        error.require(some_left, field, value, allowed);
    }

    /// Returns the settings that the gate uses: without limits if the bulkhead is disabled.
    pub(super) fn in_force(self: Arc<Self>) -> Arc<Self> {
        if self.enabled {
            return self;
        }
        let off = Self::clone(&self).max_concurrent(MOST).adaptive(false);
        Arc::new(off.reserve_critical(0).reserve_high(0))
    }

    /// Returns the maximum number of admitted calls of a fixed limit.
    pub(super) fn admitted(&self) -> u32 {
        self.threads.map_or(self.max_concurrent, |threads| threads.saturating_add(self.max_queue))
    }

    /// Returns the maximum number of calls that wait for a permit.
    pub(super) fn gate_queue(&self) -> u32 {
        if self.threads.is_some() { 0 } else { self.max_queue }
    }

    fn check_adaptive(&self, error: &mut ConfigError) {
        let (min, max) = (self.adaptive_min, self.adaptive_max);
        error.require(min <= max, "adaptive_min", min, format!("must be at most adaptive_max = {max}"));
        let begins_within = self.adaptive_initial.is_none_or(|initial| (min..=max).contains(&initial));
        let allowed = format!("must be from adaptive_min = {min} to adaptive_max = {max}");
        error.require(begins_within || min > max, "adaptive_initial", self.adaptive_initial, allowed);
    }

    pub(super) fn bounds(&self) -> Bounds {
        let (min, max) = (self.adaptive_min, self.adaptive_max.max(self.adaptive_min));
        let initial = self.adaptive_initial.unwrap_or_else(|| INITIAL.clamp(min, max));
        Bounds { initial, min, max }
    }

    /// Returns the number of calls in flight below which this class is admitted, given the number of permits.
    pub(super) fn limit_of(&self, permits: u32, priority: Priority) -> u32 {
        let kept = match priority {
            Priority::Critical => 0,
            Priority::High => self.reserve_critical,
            Priority::Normal | Priority::Low => self.reserve_critical.saturating_add(self.reserve_high),
        };
        permits.saturating_sub(kept)
    }
}
