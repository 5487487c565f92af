//! The tokens of a retry budget: what fills them, what a retry takes, and the debt that it may make.

use std::time::Duration;

use super::Config;
use super::recent::Recent;
use crate::clock::Instant;

/// How many seconds of reserve can be saved up; a new budget starts with as many.
pub(super) const SAVED_SECONDS: f64 = 10.0;

/// Calls are few where ten retries of each are free.
const FEW: u64 = 10;
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// Ten tenths are a token, though their sum in floating point is a little less.
const WHOLE: f64 = 1.0 - 1e-9;

#[derive(Debug)]
pub(super) struct Bucket {
    /// Below 0: a debt, of retries that were made without a token.
    tokens: f64,
    /// How many deposits are in `tokens` already.
    counted: u64,
    /// How many deposits there were when it was new.
    first: u64,
    /// Up to when the reserve is in `tokens` already.
    filled: Instant,
    recent: Recent,
    /// When calls were last many, or a debt was last forgiven.
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

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let is_there = self.tokens >= WHOLE;
        if is_there {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
        is_there
    }

    /// The tokens; 0 while there is a debt.
    pub(super) fn tokens(&self) -> f64 {
        self.tokens.max(0.0)
    }

    /// How many of these deposits came since it was new.
    pub(super) fn calls(&self, deposits: u64) -> u64 {
        deposits.saturating_sub(self.first)
    }

    /// Makes debts for this retry of a call, if calls are few.
    #[cold]
    pub(super) fn borrow(&mut self, config: &Config, now: Instant, deposits: u64, retry: u32) -> bool {
        let calls = self.recent.calls(now, deposits).max(1);
        let free = u64::from(config.free);
        if config.reserve <= 0.0 || calls.saturating_mul(u64::from(retry)) > free {
            return false;
        }
        // A debt is there so that a storm pays for how it began. Calls that stay few are none.
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
        // A clock that steps back must not pay the same second twice.
        self.filled = self.filled.max(now);
    }
}
