//! Takes a token and reports the state of the limit.

use std::hash::Hash;
use std::time::Duration;

use super::rule::Rule;
use super::{Decision, RateLimiter, Request, state};
use crate::clock::Instant;

impl RateLimiter {
    /// Takes a token if one is available, and returns the state of the limit.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, clock::ManualClock, rate_limit::{Config, Rate}};
    /// # let (time, rate) = (ManualClock::new(), "60/min".parse::<Rate>().unwrap());
    /// # let limiter = Registry::with_clock(time.clock()).rate_limiter("login");
    /// limiter.reconfigure(Config::default().rate(rate).burst(2)).unwrap();
    /// assert_eq!(limiter.check().remaining, 1);
    /// assert!(limiter.check().allowed);
    /// let refused = limiter.check();
    /// assert!(!refused.allowed);
    /// time.advance(refused.retry_after.unwrap());
    /// assert!(limiter.check().allowed);
    /// ```
    pub fn check(&self) -> Decision {
        self.decide(Request::ONE)
    }

    /// Like [`check`](Self::check), for a call that weighs more than 1.
    ///
    /// A weight of 0 takes no token and only returns the state.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let limiter = Registry::new().rate_limiter("bytes");
    /// limiter.reconfigure(Config::default().rate("100/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(limiter.check_weighted(70).allowed);
    /// assert!(!limiter.check_weighted(70).allowed);
    /// assert_eq!(limiter.check_weighted(0).remaining, 30, "a rejected call takes no token");
    /// ```
    pub fn check_weighted(&self, weight: u32) -> Decision {
        self.decide(Request::ONE.with_weight(weight))
    }

    /// Like [`check`](Self::check), with the limit of this key.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let login = Registry::new().rate_limiter("login");
    /// login.reconfigure(Config::default().rate("1/min".parse::<Rate>().unwrap())).unwrap();
    /// assert!(login.check_key("ada").allowed);
    /// assert!(!login.check_key("ada").allowed);
    /// assert!(login.check_key("bob").allowed, "each key has its own limit");
    /// ```
    pub fn check_key<K: Hash + ?Sized>(&self, key: &K) -> Decision {
        self.decide(self.request(key))
    }

    /// Like [`check_key`](Self::check_key), for a call that weighs more than 1.
    ///
    /// A weight of 0 takes no token and only returns the state.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let upload = Registry::new().rate_limiter("upload");
    /// upload.reconfigure(Config::default().rate("10/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(upload.check_key_weighted("ada", 8).allowed);
    /// assert_eq!(upload.check_key_weighted("ada", 0).remaining, 2);
    /// assert_eq!(upload.check_key_weighted("bob", 0).remaining, 10);
    /// ```
    pub fn check_key_weighted<K: Hash + ?Sized>(&self, key: &K, weight: u32) -> Decision {
        self.decide(self.request(key).with_weight(weight))
    }

    pub(super) fn decide(&self, request: Request) -> Decision {
        let (rule, now) = (self.rule.get(), self.core.clock().now());
        if rule.is_unlimited() {
            self.limits_nothing();
            return state::decision(rule, Ok(0), u32::MAX, 0);
        }
        let ahead = self.queue.weight(request.key, now);
        let decision = if request.weight > rule.burst {
            self.state.refused(rule, now, request.key, None)
        } else if ahead > 0 && request.weight > 0 {
            let wait = Duration::from_nanos(self.wait_behind(rule, request, now, ahead));
            let looked = self.state.refused(rule, now, request.key, Some(wait));
            // The available tokens belong to the waiting calls.
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
            Decision { remaining: looked.remaining.saturating_sub(ahead), ..looked }
        } else {
            self.state.decide(rule, now, request)
        };
        if !decision.allowed {
            self.counters.refused();
        }
        decision
    }

    pub(super) fn remaining(&self, rule: Rule, now: Instant) -> u32 {
        let look = Request::ONE.with_weight(0);
        if rule.is_unlimited() { u32::MAX } else { self.state.decide(rule, now, look).remaining }
    }
}
