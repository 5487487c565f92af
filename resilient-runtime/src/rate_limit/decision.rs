//! The answer to a check, and what was taken.

use std::time::Duration;

use serde::Serialize;

use super::{RateLimiter, Request};
use crate::clock::Instant;
use crate::observe::{optional_seconds, seconds};

/// How a call stands to a rate; times are in seconds when serialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whether the call may begin; then its place in the rate is taken.
    pub allowed: bool,
    /// Calls that may come at once, or in a window.
    pub limit: u32,
    /// Calls of weight 1 that would be admitted now.
    pub remaining: u32,
    /// When this call would be admitted, if it was not. None: never, it weighs more than the limit.
    #[serde(serialize_with = "optional_seconds")]
    pub retry_after: Option<Duration>,
    /// When all of the limit is there again, if no call comes.
    #[serde(serialize_with = "seconds")]
    pub reset_after: Duration,
}

/// A place in the rate that was taken. Dropped, it is spent.
#[derive(Debug)]
#[must_use = "a token that is dropped is spent; give it back if the call is not made"]
pub struct Token<'a> {
    limiter: &'a RateLimiter,
    request: Request,
    mark: Instant,
}

impl<'a> Token<'a> {
    pub(super) fn new(limiter: &'a RateLimiter, request: Request, mark: Instant) -> Self {
        Self { limiter, request, mark }
    }

    /// The call was not made: the place can be taken by another, as far as it is not past already.
    pub fn give_back(self) {
        self.limiter.give_back(self.request, self.mark);
    }
}
