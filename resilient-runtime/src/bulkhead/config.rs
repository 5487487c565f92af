//! The settings of a bulkhead and their defaults.

use std::time::Duration;

use crate::priority::Priority;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Bulkhead`](crate::Bulkhead).
    pub struct Config {
        /// Calls that may run at once; 1 to 1 000 000.
        pub max_concurrent: u32 = 64,
        /// Calls that may wait for a permit; 0 to 1 000 000. A queue needs `max_wait`.
        pub max_queue: u32 = 0,
        /// How long a call may wait; more than 0, at most 24 h.
        pub max_wait: Option<Duration> = None,
        /// Threads of its own, for the calls that run there; 1 to 1024. It then admits `threads` and `max_queue` calls, of
        /// which those wait that have no thread yet, by priority; `max_concurrent` has no meaning. None: calls run where
        /// they are made.
        pub threads: Option<u32> = None,
        /// Permits that only critical calls may take; less than `max_concurrent`.
        pub reserve_critical: u32 = 0,
        /// Permits that only high and critical calls may take, besides those for critical ones alone.
        pub reserve_high: u32 = 0,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        const MOST: u32 = 1_000_000;
        let permits = (1..=MOST).contains(&self.max_concurrent);
        error.require(permits, "max_concurrent", self.max_concurrent, "1 to 1000000 calls");
        error.require(self.max_queue <= MOST, "max_queue", self.max_queue, "0 to 1000000 calls");
        let wait = self.max_wait.is_none_or(|span| !span.is_zero() && span <= DAY);
        error.require(wait, "max_wait", self.max_wait, "more than 0, at most 24 h");
        let threads = self.threads.is_none_or(|threads| (1..=1024).contains(&threads));
        error.require(threads, "threads", self.threads, "1 to 1024 threads");
        let pooled = self.threads.is_some();
        let waits = !pooled || self.max_wait.is_none();
        let allowed = "calls wait for a thread as long as their timeout lets them: leave it away";
        error.require(waits, "max_wait", self.max_wait, allowed);
        let bounded = self.max_queue == 0 || self.max_wait.is_some() || pooled;
        error.require(
            bounded,
            "max_queue",
            self.max_queue,
            "a queue needs max_wait, or its callers could wait for ever",
        );
        let useful = self.max_wait.is_none() || self.max_queue > 0;
        error.require(useful, "max_wait", self.max_wait, "waiting needs a queue: set max_queue");
        let reserved = u64::from(self.reserve_critical) + u64::from(self.reserve_high);
        let some_left = reserved < u64::from(self.admitted()) || !permits || !threads;
        let allowed =
            format!("all reserves together less than the {} calls that are admitted", self.admitted());
        let field = if self.reserve_high > 0 { "reserve_high" } else { "reserve_critical" };
        let value = if self.reserve_high > 0 { self.reserve_high } else { self.reserve_critical };
        error.require(some_left, field, value, allowed);
    }

    /// The calls that may be in at once.
    pub(super) fn admitted(&self) -> u32 {
        self.threads.map_or(self.max_concurrent, |threads| threads.saturating_add(self.max_queue))
    }

    /// The calls that may wait for a permit.
    pub(super) fn gate_queue(&self) -> u32 {
        if self.threads.is_some() { 0 } else { self.max_queue }
    }

    /// The calls in flight up to which one of this class may enter.
    pub(super) fn limit(&self, priority: Priority) -> u32 {
        let kept = match priority {
            Priority::Critical => 0,
            Priority::High => self.reserve_critical,
            Priority::Normal | Priority::Low => self.reserve_critical.saturating_add(self.reserve_high),
        };
        self.admitted().saturating_sub(kept)
    }
}
