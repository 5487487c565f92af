//! Takes a token and reports the state of the limit.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::rule::Rule;
use super::shared::{LATER, Patience, Shared, Verdict};
use super::state::{self, State};
use super::{Decision, RateLimiter, Request};
use crate::clock::Instant;
use crate::store::wait;

impl RateLimiter {
    /// Takes a token if one is available, and returns the state of the limit.
    ///
    /// If the limit is shared by a store, it can block the thread for up to the `timeout` of the store. In asynchronous
    /// code, use [`check_async`](Self::check_async) then.
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

    /// Like [`check`](Self::check), and waits for the store of a shared limit instead of blocking the thread.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let limiter = Registry::new().rate_limiter("mail");
    /// limiter.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(limiter.check_async().await.allowed);
    /// assert!(!limiter.check_async().await.allowed);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future takes no token, or returns it.
    pub async fn check_async(&self) -> Decision {
        self.decide_async(Request::ONE).await
    }

    /// Like [`check_key`](Self::check_key), and waits for the store of a shared limit instead of blocking the thread.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let login = Registry::new().rate_limiter("login");
    /// login.reconfigure(Config::default().rate("1/min".parse::<Rate>().unwrap())).unwrap();
    /// assert!(login.check_key_async("ada").await.allowed);
    /// assert!(!login.check_key_async("ada").await.allowed);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`check_async`](Self::check_async).
    pub async fn check_key_async<K: Hash + ?Sized>(&self, key: &K) -> Decision {
        self.decide_async(self.request(key)).await
    }

    pub(super) fn decide(&self, request: Request) -> Decision {
        match self.shared() {
            Some(shared) => {
                let shared = Arc::clone(shared);
                wait::blocking(self.decide_with_store(shared, request, wait::Mode::Blocking))
            }
            None => self.decide_by(&self.state, self.rule.get(), self.core.clock().now(), request),
        }
    }

    async fn decide_async(&self, request: Request) -> Decision {
        match self.shared() {
            Some(shared) => self.decide_with_store(Arc::clone(shared), request, wait::Mode::Async).await,
            None => self.decide_by(&self.state, self.rule.get(), self.core.clock().now(), request),
        }
    }

    async fn decide_with_store(&self, shared: Arc<Shared>, request: Request, how: wait::Mode) -> Decision {
        let rule = self.rule.get();
        let refused = |retry_after| state::decision(rule, Err(retry_after), shared.remaining(), 0);
        if request.weight > rule.burst {
            self.counters.refused();
            return refused(None);
        }
        let patience = Patience { max_wait: Duration::ZERO, deadline: Instant::NEVER, how };
        let outcome = Arc::clone(&shared).decide(request, patience).await;
        let decision = match outcome.verdict {
            Verdict::Local => return self.decide_locally(shared.local_request(request)),
            Verdict::Admitted(mark) => state::decision(rule, Ok(mark.as_nanos()), outcome.remaining, 0),
            Verdict::Refused(wait) => state::decision(rule, Err(wait), outcome.remaining, 0),
            Verdict::Unavailable | Verdict::NoTimer => refused(Some(LATER)),
        };
        if !decision.allowed {
            self.counters.refused();
        }
        Decision { reset_after: outcome.reset_after, ..decision }
    }

    /// Decides in this process. The request to a shared limiter is a local one.
    fn decide_locally(&self, request: Request) -> Decision {
        let now = self.core.clock().now();
        let (state, rule) = self.local();
        self.decide_by(state, rule, now, request)
    }

    fn decide_by(&self, state: &State, rule: Rule, now: Instant, request: Request) -> Decision {
        if rule.is_unlimited() {
            self.limits_nothing();
            return state::decision(rule, Ok(0), u32::MAX, 0);
        }
        let ahead = self.queue.weight(request.key, now);
        let decision = if request.weight > rule.burst {
            state.refused(rule, now, request.key, None)
        } else if ahead > 0 && request.weight > 0 {
            let wait = Duration::from_nanos(self.wait_behind(rule, request, now, ahead));
            let looked = state.refused(rule, now, request.key, Some(wait));
            // The available tokens belong to the waiting calls.
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
            Decision { remaining: looked.remaining.saturating_sub(ahead), ..looked }
        } else {
            state.decide(rule, now, request)
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
