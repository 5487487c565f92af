//! Looking at a limit and taking a place in it, with how things stand.

use std::hash::Hash;
use std::time::Duration;

use super::rule::Rule;
use super::{Decision, RateLimiter, Request, state};
use crate::clock::Instant;

impl RateLimiter {
    /// Takes a call's place in the rate, if there is one, and says how things stand.
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

    /// As [`check`](Self::check), for a call that weighs more than one; 0 only looks.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let limiter = Registry::new().rate_limiter("bytes");
    /// limiter.reconfigure(Config::default().rate("100/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(limiter.check_weighted(70).allowed);
    /// assert!(!limiter.check_weighted(70).allowed);
    /// assert_eq!(limiter.check_weighted(0).remaining, 30, "what is refused takes nothing");
    /// ```
    pub fn check_weighted(&self, weight: u32) -> Decision {
        self.decide(Request::ONE.with_weight(weight))
    }

    /// As [`check`](Self::check), by the limit of this key alone.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let login = Registry::new().rate_limiter("login");
    /// login.reconfigure(Config::default().rate("1/min".parse::<Rate>().unwrap())).unwrap();
    /// assert!(login.check_key("ada").allowed);
    /// assert!(!login.check_key("ada").allowed);
    /// assert!(login.check_key("bob").allowed, "another has a limit of their own");
    /// ```
    pub fn check_key<K: Hash + ?Sized>(&self, key: &K) -> Decision {
        self.decide(self.request(key))
    }

    /// As [`check_key`](Self::check_key), for a call that weighs more than one; 0 only looks.
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
            // What is there now is for those who wait.
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
