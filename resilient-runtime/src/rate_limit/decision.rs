//! The result of a check, and the token that a call takes.

use std::time::Duration;

use serde::Serialize;

use super::{RateLimiter, Request};
use crate::classify::{Class, Verdict};
use crate::clock::Instant;
use crate::seconds::{optional_seconds, seconds};

/// The state of a limit after a check.
///
/// Times are serialized in seconds.
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
    /// Whether the call is admitted. If so, its tokens are taken.
    pub allowed: bool,
    /// Maximum number of calls at once, or in a window.
    pub limit: u32,
    /// Number of calls of weight 1 that would be admitted now.
    pub remaining: u32,
    /// Time until a rejected call would be admitted.
    ///
    /// `None` if the call is admitted, or weighs more than the limit.
    #[serde(serialize_with = "optional_seconds")]
    pub retry_after: Option<Duration>,
    /// Time until the full limit is available again, if no call comes.
    #[serde(serialize_with = "seconds")]
    pub reset_after: Duration,
}

/// A token of a rate limiter. Dropping it spends it.
///
/// ```
/// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
/// # let mail = Registry::new().rate_limiter("mail");
/// mail.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
/// drop(mail.try_acquire().unwrap());
/// assert!(mail.try_acquire().is_err(), "the token is spent");
/// ```
#[derive(Debug)]
#[must_use = "a token that is dropped is spent; return it with `give_back` if the call does not run"]
pub struct Token<'a> {
    limiter: &'a RateLimiter,
    request: Request,
    mark: Instant,
}

impl<'a> Token<'a> {
    pub(super) fn new(limiter: &'a RateLimiter, request: Request, mark: Instant) -> Self {
        Self { limiter, request, mark }
    }

    /// Returns the token because the call did not run.
    ///
    /// The part of the token that has been refilled since is not returned.
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

    /// Ends the call with this verdict. A call that an inner component rejected did not run and returns its token.
    pub(super) fn end(self, verdict: Verdict) {
        if matches!(verdict, Verdict::Failure(Class::NotExecuted { .. })) {
            self.give_back();
        }
    }
}
