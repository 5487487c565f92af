//! Runs calls through a rate limiter without the attribute.

use super::{RateLimiter, Request};
use crate::classify::Judgement;
use crate::outcome::Reject;

impl RateLimiter {
    /// Runs `work` if the limiter admits the call. Blocks for up to `max_wait`.
    ///
    /// A call that an inner component rejected did not run and returns its token. [`Verdict::of`](crate::Verdict::of)
    /// classifies the outcome.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, Rejection, rate_limit::{Config, Rate}};
    /// # let sms = Registry::new().rate_limiter("sms");
    /// sms.reconfigure(Config::default().rate("1/d".parse::<Rate>().unwrap())).unwrap();
    /// let send = || sms.call(|| Ok::<_, Rejection>("sent"));
    /// assert_eq!(send(), Ok("sent"));
    /// assert!(send().unwrap_err().to_string().starts_with("rate limit `sms` exceeded"));
    /// ```
    pub fn call<R: Reject<Error: 'static>>(&self, work: impl FnOnce() -> R) -> R {
        self.call_judged(work, Judgement::of)
    }

    /// Runs `work` if the limiter admits the call. Waits for up to `max_wait`.
    ///
    /// A call that an inner component rejected did not run and returns its token. [`Verdict::of`](crate::Verdict::of)
    /// classifies the outcome.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let push = Registry::new().rate_limiter("push");
    /// push.reconfigure(Config::default().rate("1/d".parse::<Rate>().unwrap())).unwrap();
    /// assert_eq!(push.call_async(async || Some("pushed")).await, Some("pushed"));
    /// assert_eq!(push.call_async(async || Some("pushed")).await, None);
    /// assert_eq!(push.stats().rejected, 1);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue or drops the work. A token that was already taken is spent.
    pub async fn call_async<R: Reject<Error: 'static>>(&self, work: impl AsyncFnOnce() -> R) -> R {
        self.call_judged_async(work, Judgement::of).await
    }

    /// Like [`call`](Self::call), with a custom judge.
    ///
    /// An example of a judge is [`Verdict::by_class`](crate::Verdict::by_class).
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Rejection, Verdict, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// let (day, hour) = (registry.rate_limiter("a day"), registry.rate_limiter("an hour"));
    /// day.reconfigure(Config::default().rate("5/d".parse::<Rate>().unwrap())).unwrap();
    /// hour.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// let send = || hour.call(|| Ok::<_, Rejection>("sent"));
    /// assert!(day.call_judged(send, Verdict::by_class).is_ok());
    /// assert!(day.call_judged(send, Verdict::by_class).is_err());
    /// assert_eq!(day.stats().remaining, 4);
    /// ```
    pub fn call_judged<R: Reject, J: Into<Judgement>>(
        &self,
        work: impl FnOnce() -> R,
        judge: impl FnOnce(&R) -> J,
    ) -> R {
        match self.acquire_blocking() {
            Ok(token) => {
                let outcome = work();
                token.end(judge(&outcome).into().verdict());
                outcome
            }
            Err(rejection) => R::from_rejection(rejection),
        }
    }

    /// Like [`call_async`](Self::call_async), with a custom judge.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, Rejection, Verdict, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// let (limiter, breaker) = (registry.rate_limiter("api"), registry.circuit_breaker("api"));
    /// limiter.reconfigure(Config::default().rate("5/d".parse::<Rate>().unwrap())).unwrap();
    /// breaker.force_open();
    /// let get = async || breaker.call_async(async || Ok::<_, Rejection>(200)).await;
    /// assert!(limiter.call_judged_async(get, Verdict::by_class).await.is_err());
    /// assert_eq!(limiter.stats().remaining, 5);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`call_async`](Self::call_async).
    pub async fn call_judged_async<R: Reject, J: Into<Judgement>>(
        &self,
        work: impl AsyncFnOnce() -> R,
        judge: impl FnOnce(&R) -> J,
    ) -> R {
        let token = match self.token(Request::ONE).await {
            Ok(token) => token,
            Err(rejection) => return R::from_rejection(rejection),
        };
        let outcome = work().await;
        token.end(judge(&outcome).into().verdict());
        outcome
    }
}
