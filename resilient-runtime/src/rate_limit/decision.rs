//! The answer to a check, and what was taken.

use std::time::Duration;

use serde::Serialize;

use super::{RateLimiter, Request};
use crate::classify::{Class, Verdict};
use crate::clock::Instant;
use crate::seconds::{optional_seconds, seconds};

/// How a call stands to a rate; times are in seconds when serialised.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Component, Registry, clock::ManualClock, rate_limit::{Config, Rate}};
///
/// let limiter = Registry::with_clock(ManualClock::new().clock()).rate_limiter("mail");
/// limiter.reconfigure(Config::default().rate("60/min".parse::<Rate>().unwrap()).burst(2)).unwrap();
/// let first = limiter.check();
/// assert!(first.allowed);
/// assert_eq!((first.limit, first.remaining, first.retry_after), (2, 1, None));
/// assert_eq!(first.reset_after, Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
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
///
/// ```
/// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
/// # let mail = Registry::new().rate_limiter("mail");
/// mail.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
/// drop(mail.try_acquire().unwrap());
/// assert!(mail.try_acquire().is_err(), "it is spent");
/// ```
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
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let sms = Registry::new().rate_limiter("sms");
    /// sms.reconfigure(Config::default().rate("2/h".parse::<Rate>().unwrap())).unwrap();
    /// sms.try_acquire_weighted(2).unwrap().give_back();
    /// assert_eq!(sms.check_weighted(0).remaining, 2);
    /// ```
    pub fn give_back(self) {
        self.limiter.give_back(self.request, self.mark);
    }

    /// The call has ended in this way: what was refused further in was not made.
    pub(super) fn end(self, verdict: Verdict) {
        if matches!(verdict, Verdict::Failure(Class::NotExecuted { .. })) {
            self.give_back();
        }
    }
}
