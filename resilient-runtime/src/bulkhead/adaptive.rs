//! The adaptive limit of a bulkhead.

use once_cell::race::OnceBox;

use super::config::{Bounds, Config};
use crate::adaptive::{AdaptiveLimit, AdaptiveLimitStats};
use crate::sync::{AtomicBool, Ordering};

#[derive(Debug)]
pub(super) struct Adaptive {
    on: AtomicBool,
    /// Allocated when it is first turned on. Most bulkheads never do.
    limit: OnceBox<AdaptiveLimit>,
}

impl Adaptive {
    pub(super) fn new(config: &Config) -> Self {
        let adaptive = Self { on: AtomicBool::new(false), limit: OnceBox::new() };
        adaptive.apply(config);
        adaptive
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        // Relaxed: a setting. The `OnceBox` publishes the limit.
        self.on.load(Ordering::Relaxed)
    }

    /// Returns the limit if it is on.
    #[inline]
    pub(super) fn get(&self) -> Option<&AdaptiveLimit> {
        if self.is_on() { self.limit.get() } else { None }
    }

    /// Applies the settings. Turning it on restarts the limit; a limit that stays on is kept.
    pub(super) fn apply(&self, config: &Config) {
        let Bounds { initial, min, max } = config.bounds();
        match self.limit.get() {
            _ if !config.adaptive => {}
            Some(limit) if self.is_on() => limit.set_bounds(min, max),
            Some(limit) => limit.restart(initial, min, max),
            None => {
                self.limit.get_or_init(|| Box::new(AdaptiveLimit::new(initial, min, max)));
            }
        }
        self.on.store(config.adaptive, Ordering::Relaxed);
    }

    /// Restarts the limit.
    pub(super) fn reset(&self, config: &Config) {
        if let Some(limit) = self.get() {
            let Bounds { initial, min, max } = config.bounds();
            limit.restart(initial, min, max);
        }
    }

    /// Returns the maximum number of concurrent calls.
    pub(super) fn permits(&self, config: &Config) -> u32 {
        self.get().map_or_else(|| config.admitted(), AdaptiveLimit::limit)
    }

    pub(super) fn stats(&self) -> Option<AdaptiveLimitStats> {
        self.get().map(AdaptiveLimit::stats)
    }
}
