//! The tokens of a retry budget: how the bucket fills, what a retry takes, and the debt it can make.

use std::time::Duration;

use super::Config;
use super::recent::Recent;
use crate::clock::Instant;

/// How many seconds of reserve the bucket holds. A new budget starts full.
pub(super) const SAVED_SECONDS: f64 = 10.0;

/// Calls are few if ten retries of each are free.
const FEW: u64 = 10;
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// Ten tenths make a token, although their floating-point sum is slightly smaller.
const WHOLE: f64 = 1.0 - 1e-9;

#[derive(Debug)]
pub(super) struct Bucket {
    /// Negative values are a debt from retries without a token.
    tokens: f64,
    /// The number of deposits already included in `tokens`.
    counted: u64,
    /// The number of deposits when the bucket was created.
    first: u64,
    /// The time up to which the reserve is included in `tokens`.
    filled: Instant,
    recent: Recent,
    /// When there last were many calls, or a debt was last forgiven.
    unforgiven: Instant,
}

impl Bucket {
    pub(super) fn new(config: &Config, now: Instant, counted: u64) -> Self {
        let recent = Recent::new(now, counted);
        Self {
            tokens: config.reserve * SAVED_SECONDS,
            counted,
            first: counted,
            filled: now,
            recent,
            unforgiven: now,
        }
    }

    /// Takes a token, if one is available.
    pub(super) fn take(&mut self) -> bool {
        let is_there = self.tokens >= WHOLE;
        if is_there {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
        is_there
    }

    /// Returns the tokens; 0 while there is a debt.
    pub(super) fn tokens(&self) -> f64 {
        self.tokens.max(0.0)
    }

    /// Returns how many of these deposits were made since the bucket was created.
    pub(super) fn calls(&self, deposits: u64) -> u64 {
        deposits.saturating_sub(self.first)
    }

    /// Grants this retry on debt, if calls are few.
    #[cold]
    pub(super) fn borrow(&mut self, config: &Config, now: Instant, deposits: u64, retry: u32) -> bool {
        let calls = self.recent.calls(now, deposits).max(1);
        let free = u64::from(config.free);
        if config.reserve <= 0.0 || calls.saturating_mul(u64::from(retry)) > free {
            return false;
        }
        // The debt makes a storm of calls pay for its start. While calls stay few, the debt is forgiven.
        let are_many = calls.saturating_mul(FEW) > free;
        if are_many || now.since(self.unforgiven) >= FORGIVEN_AFTER {
            self.tokens = if are_many { self.tokens } else { self.tokens.max(0.0) };
            self.unforgiven = now;
        }
        self.tokens = (self.tokens - 1.0).max(-2.0 * f64::from(config.free));
        true
    }

    pub(super) fn fill(&mut self, config: &Config, now: Instant, deposits: u64) {
        let calls = deposits.saturating_sub(self.counted) as f64;
        let seconds = now.since(self.filled).as_secs_f64();
        let tokens = self.tokens + calls * config.ratio.get() + seconds * config.reserve;
        self.tokens = tokens.min(config.capacity());
        self.counted = self.counted.max(deposits);
        // If the clock steps back, the same second is not added twice.
        self.filled = self.filled.max(now);
    }
}
