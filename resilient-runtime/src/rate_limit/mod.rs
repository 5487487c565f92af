//! Bounds how often calls begin.
//!
//! | algorithm | admits | for |
//! |---|---|---|
//! | `token_bucket` | `burst` at once, then one at each interval; never more than that in any time | most; 8 bytes, one compare-and-swap |
//! | `sliding_window` | never more than the rate in any window of its time; at least 10/11 of it, as it counts in tenths | quotas |
//! | `sliding_log` | exactly the rate in any window of its time; remembers each call | small quotas |
//! | `leaky_bucket` | one at each interval; the others wait for their turn | what must be smooth |
//!
//! - With `max_wait` a call waits for its turn, in the order of arrival; who gives up gives its turn to the next. Who
//!   could not have a turn in time is refused at once. A call whose future is kept and not polled holds nobody up for longer
//!   than its own `max_wait`: then it is passed over, and refused when it is polled again.
//! - A call that is not made after all gives its place back: at once all of it, later what time has not made up for. So
//!   what is given back never comes on top of what the algorithm admits.
//! - A call may weigh more than one. One that weighs more than the limit can never be admitted: it is refused at once, with
//!   [`RejectionKind::WeightExceedsLimit`], which is [`Permanent`](crate::Class::Permanent), and never waits (T89).
//! - Each key can have a limit of its own: [`check_key`](RateLimiter::check_key), or `key = ..` in the attribute. The
//!   number of keys is bounded; beyond `max_keys`, a key that is not in use is forgotten, and if there is none, new
//!   keys share limits. In the worst case somebody is limited too early, and nobody is unlimited.
//! - A clock that steps back gives no burst away, and freezes no limit for longer than a minute (T88).
//! - Without a `rate` nothing is limited: the first call says so in the log, and
//!   [`Registry::validate`](crate::Registry::validate) always.
//!
//! ```
//! use resilient_runtime::{Component, Registry, rate_limit::{Algorithm, Config, Rate}};
//! use std::time::Duration;
//!
//! let registry = Registry::new();
//! let set = |name: &str, config: Config| {
//!     let limiter = registry.rate_limiter(name);
//!     limiter.reconfigure(config).unwrap();
//!     limiter
//! };
//! let rate = |text: &str| Config::default().rate(text.parse::<Rate>().unwrap());
//!
//! // A token bucket: two at once, then one at each second. By key.
//! let login = set("login", rate("60/min").burst(2u32));
//! assert!((0..2).all(|_| login.check_key("ada").allowed));
//! let refused = login.check_key("ada");
//! assert!(!refused.allowed && refused.retry_after.unwrap() <= Duration::from_secs(1));
//! assert!(login.check_key("bob").allowed);
//!
//! // A sliding window: whatever the phase, no more than three in an hour.
//! let quota = set("quota", rate("3/h").algorithm(Algorithm::SlidingWindow));
//! assert_eq!((0..9).filter(|_| quota.try_acquire().is_ok()).count(), 3);
//!
//! // A leaky bucket: one each 2 ms, and who comes early waits for its turn, up to a second.
//! let smooth = rate("500/s").algorithm(Algorithm::LeakyBucket).max_wait(Duration::from_secs(1));
//! let smooth = set("smooth", smooth);
//! assert!((0..3).all(|_| smooth.acquire_blocking().is_ok()));
//! ```

mod config;
mod decision;
mod keyed;
mod meter;
mod queue;
mod rate;
mod rule;
mod state;
mod stats;
mod turn;

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

pub use config::{Algorithm, Config};
pub use decision::{Decision, Token};
pub use rate::{InvalidRate, Rate};
pub use stats::Stats;
pub use turn::Turn;

use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::observe::EventKind;
use crate::outcome::{Judgement, Reject};
use crate::ratio::Ratio;
use crate::rejection::{Rejection, RejectionKind};
use crate::scope::Scope;
use crate::settings::{ConfigError, Effective};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use queue::Queue;
use rule::{Rule, SharedRule};
use state::State;
use stats::Counters;

/// Bounds how often calls begin. See the [module](self).
///
/// ```
/// use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
///
/// let limiter = Registry::new().rate_limiter("mail");
/// limiter.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
/// assert_eq!(limiter.call(|| Some("sent")), Some("sent"));
/// assert_eq!(limiter.call(|| Some("sent")), None);
/// ```
#[derive(Debug)]
pub struct RateLimiter {
    core: Core<Config>,
    rule: SharedRule,
    state: State,
    hasher: RandomState,
    /// In nanoseconds, 0 for not at all. Relaxed: a setting.
    max_wait: AtomicU64,
    queue: Queue,
    counters: Counters,
    /// It has no rate, and nobody was told so far. Relaxed: a hint.
    untold: AtomicBool,
}

/// The hash of a key; 0 for the limit of all.
pub(crate) type RateKey = u64;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    key: RateKey,
    weight: u32,
}

impl Request {
    /// Of weight 1, of no key.
    pub(crate) const ONE: Self = Self { key: 0, weight: 1 };

    pub(crate) const fn of(key: RateKey, weight: u32) -> Self {
        Self { key, weight }
    }

    pub(crate) fn with_weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    pub(crate) const fn key(self) -> RateKey {
        self.key
    }

    pub(crate) const fn weight(self) -> u32 {
        self.weight
    }
}

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

    /// A token if there is one now.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, RejectionKind, rate_limit::{Config, Rate}};
    /// # let mail = Registry::new().rate_limiter("mail");
    /// mail.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// let token = mail.try_acquire().unwrap();
    /// assert_eq!(mail.try_acquire().unwrap_err().kind(), RejectionKind::RateLimited);
    /// token.give_back(); // nothing was sent after all
    /// assert!(mail.try_acquire().is_ok());
    /// ```
    ///
    /// # Errors
    /// When there is none.
    #[inline]
    pub fn try_acquire(&self) -> Result<Token<'_>, Rejection> {
        self.try_token(Request::ONE)
    }

    /// As [`try_acquire`](Self::try_acquire), for a call that weighs more than one.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let rows = Registry::new().rate_limiter("rows");
    /// rows.reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(rows.try_acquire_weighted(400).is_ok());
    /// assert!(rows.try_acquire_weighted(400).is_err());
    /// assert!(rows.try_acquire_weighted(100).is_ok());
    /// ```
    ///
    /// # Errors
    /// When there are not so many.
    pub fn try_acquire_weighted(&self, weight: u32) -> Result<Token<'_>, Rejection> {
        self.try_token(Request::ONE.with_weight(weight))
    }

    /// As [`try_acquire`](Self::try_acquire), by the limit of this key alone.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let search = Registry::new().rate_limiter("search");
    /// search.reconfigure(Config::default().rate("1/min".parse::<Rate>().unwrap())).unwrap();
    /// assert!(search.try_acquire_key(&("tenant", 7)).is_ok());
    /// assert!(search.try_acquire_key(&("tenant", 8)).is_ok());
    /// let refused = search.try_acquire_key(&("tenant", 7)).unwrap_err();
    /// assert!(refused.retry_after().is_some());
    /// ```
    ///
    /// # Errors
    /// When there is none.
    #[inline]
    pub fn try_acquire_key<K: Hash + ?Sized>(&self, key: &K) -> Result<Token<'_>, Rejection> {
        self.try_token(self.request(key))
    }

    /// A token of each, or of none.
    ///
    /// ```
    /// use resilient_runtime::{Component, RateLimiter, Registry, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// let (second, day) = (registry.rate_limiter("second"), registry.rate_limiter("day"));
    /// second.reconfigure(Config::default().rate("9/s".parse::<Rate>().unwrap())).unwrap();
    /// day.reconfigure(Config::default().rate("1/d".parse::<Rate>().unwrap())).unwrap();
    /// assert_eq!(RateLimiter::try_acquire_all(&[&second, &day]).unwrap().len(), 2);
    /// assert_eq!(RateLimiter::try_acquire_all(&[&second, &day]).unwrap_err().component(), "day");
    /// assert_eq!(second.check_weighted(0).remaining, 8, "given back");
    /// ```
    ///
    /// # Errors
    /// The first that has none; what the others gave is given back.
    pub fn try_acquire_all<'a>(limiters: &[&'a Self]) -> Result<Vec<Token<'a>>, Rejection> {
        let mut tokens = Vec::with_capacity(limiters.len());
        for limiter in limiters {
            match limiter.try_acquire() {
                Ok(token) => tokens.push(token),
                Err(rejection) => {
                    tokens.into_iter().for_each(Token::give_back);
                    return Err(rejection);
                }
            }
        }
        Ok(tokens)
    }

    /// A token; waits for it up to `max_wait`, and no longer than a protected call around it may take.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use resilient_runtime::{Component, Registry, clock::Clock, rate_limit::{Config, Rate}};
    /// # let crawl = Registry::with_clock(Clock::tokio()).rate_limiter("crawl");
    /// let rate = Config::default().rate("1/s".parse::<Rate>().unwrap());
    /// crawl.reconfigure(rate.max_wait(Duration::from_secs(1))).unwrap();
    /// let began = tokio::time::Instant::now();
    /// assert!(crawl.acquire().await.is_ok() && crawl.acquire().await.is_ok());
    /// assert!(began.elapsed() >= Duration::from_secs(1), "the second has waited for its turn");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future gives the turn to the next.
    ///
    /// # Errors
    /// When it would have to wait too long, or too many wait already.
    pub async fn acquire(&self) -> Result<Token<'_>, Rejection> {
        self.token(Request::ONE).await
    }

    /// As [`acquire`](Self::acquire), for a call that weighs more than one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let rows = Registry::new().rate_limiter("rows");
    /// rows.reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(rows.acquire_weighted(500).await.is_ok());
    /// assert!(rows.acquire_weighted(501).await.is_err(), "more than there ever will be");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// As of [`acquire`](Self::acquire); at once where it weighs more than the limit.
    pub async fn acquire_weighted(&self, weight: u32) -> Result<Token<'_>, Rejection> {
        self.token(Request::ONE.with_weight(weight)).await
    }

    /// As [`acquire`](Self::acquire), by the limit of this key alone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let export = Registry::new().rate_limiter("export");
    /// export.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// assert!(export.acquire_key("ada").await.is_ok());
    /// assert!(export.acquire_key("ada").await.is_err(), "without `max_wait` nobody waits");
    /// assert!(export.acquire_key("bob").await.is_ok());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// As of [`acquire`](Self::acquire).
    pub async fn acquire_key<K: Hash + ?Sized>(&self, key: &K) -> Result<Token<'_>, Rejection> {
        self.token(self.request(key)).await
    }

    /// As [`acquire`](Self::acquire), blocking the thread.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// # let poll = Registry::new().rate_limiter("poll");
    /// let rate = Config::default().rate("500/s".parse::<Rate>().unwrap()).burst(1);
    /// poll.reconfigure(rate.max_wait(Duration::from_secs(9))).unwrap();
    /// let began = std::time::Instant::now();
    /// assert!((0..3).all(|_| poll.acquire_blocking().is_ok()));
    /// assert!(began.elapsed() >= Duration::from_millis(3), "2 ms between any two");
    /// ```
    ///
    /// # Errors
    /// As of [`acquire`](Self::acquire).
    pub fn acquire_blocking(&self) -> Result<Token<'_>, Rejection> {
        self.token_blocking(Request::ONE)
    }

    /// Runs `work` if the rate admits it; blocks up to `max_wait`. A call that was refused further in, judged by
    /// [`Verdict::of`](crate::Verdict::of), was not made, and costs no token.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, Rejection, rate_limit::{Config, Rate}};
    /// # let sms = Registry::new().rate_limiter("sms");
    /// sms.reconfigure(Config::default().rate("1/d".parse::<Rate>().unwrap())).unwrap();
    /// let send = || sms.call(|| Ok::<_, Rejection>("sent"));
    /// assert_eq!(send(), Ok("sent"));
    /// assert!(send().unwrap_err().to_string().starts_with("rate limit `sms` is reached"));
    /// ```
    pub fn call<R: Reject<Error: 'static>>(&self, work: impl FnOnce() -> R) -> R {
        self.call_judged(work, Judgement::of)
    }

    /// Runs `work` if the rate admits it; waits up to `max_wait`. A call that was refused further in, judged by
    /// [`Verdict::of`](crate::Verdict::of), was not made, and costs no token.
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
    /// Dropping the future gives up the turn, or drops the work; a token once taken is spent.
    pub async fn call_async<R: Reject<Error: 'static>>(&self, work: impl AsyncFnOnce() -> R) -> R {
        self.call_judged_async(work, Judgement::of).await
    }

    /// Like [`call`](Self::call), with a judge of your own, such as [`Verdict::by_class`](crate::Verdict::by_class).
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

    /// Like [`call_async`](Self::call_async), with a judge of your own.
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
    /// As of [`call_async`](Self::call_async).
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

    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    #[inline]
    fn try_token(&self, request: Request) -> Result<Token<'_>, Rejection> {
        let mark =
            self.try_take(request, self.core.clock().now()).map_err(|wait| self.refuse(request, wait))?;
        Ok(Token::new(self, request, mark))
    }

    async fn token(&self, request: Request) -> Result<Token<'_>, Rejection> {
        let mark = match self.try_take(request, self.core.clock().now()) {
            Ok(mark) => mark,
            Err(wait) if self.never_waits() => return Err(self.refuse(request, wait)),
            Err(_) => self.turn(request, self.inherited()).await?,
        };
        Ok(Token::new(self, request, mark))
    }

    fn token_blocking(&self, request: Request) -> Result<Token<'_>, Rejection> {
        let mark = match self.try_take(request, self.core.clock().now()) {
            Ok(mark) => mark,
            Err(wait) if self.never_waits() => return Err(self.refuse(request, wait)),
            Err(_) => {
                let mut turn = self.turn(request, self.inherited());
                let taken = turn.block();
                if turn.has_waited() {
                    self.core.clock().warn_of_blocking(self.core.name);
                }
                taken?
            }
        };
        Ok(Token::new(self, request, mark))
    }

    fn never_waits(&self) -> bool {
        self.max_wait.load(Ordering::Relaxed) == 0
    }

    fn decide(&self, request: Request) -> Decision {
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

    // What the pipeline calls ------------------------------------------------------------------------------

    /// A request by the limit of a key.
    pub(crate) fn request<K: Hash + ?Sized>(&self, key: &K) -> Request {
        Request { key: self.hasher.hash_one(key).max(1), weight: 1 }
    }

    /// Takes a place in the rate if there is one now and nobody waits; counts nothing if not. What is returned is to be
    /// kept for [`give_back`](Self::give_back).
    #[inline]
    pub(crate) fn try_enter(&self, request: Request, now: Instant) -> Option<Instant> {
        self.try_take(request, now).ok()
    }

    /// Takes a place in the rate, if need be after waiting until `deadline`: to be awaited, or blocked on.
    pub(crate) fn turn(&self, request: Request, deadline: Instant) -> Turn<'_> {
        Turn::new(self, request, deadline)
    }

    /// The call that had taken a place, with this mark, was not made.
    #[cold]
    pub(crate) fn give_back(&self, request: Request, mark: Instant) {
        let now = self.core.clock().now();
        self.state.give_back(self.rule.get(), now, request, mark.as_nanos());
        self.queue.wake(request.key, now);
    }

    /// The error: how long it would have to wait, where that helps.
    #[inline]
    fn try_take(&self, request: Request, now: Instant) -> Result<Instant, Option<Duration>> {
        if self.queue.len() == 0 {
            return self.take(request, now);
        }
        self.try_take_behind(request, now)
    }

    /// Nobody overtakes who waits for the same key.
    #[cold]
    fn try_take_behind(&self, request: Request, now: Instant) -> Result<Instant, Option<Duration>> {
        let ahead = self.queue.weight(request.key, now);
        if ahead == 0 {
            return self.take(request, now);
        }
        let rule = self.rule.get();
        if request.weight > rule.burst {
            return Err(None);
        }
        Err(Some(Duration::from_nanos(self.wait_behind(rule, request, now, ahead))))
    }

    /// How long a call would have to wait behind those who do.
    fn wait_behind(&self, rule: Rule, request: Request, now: Instant, ahead: u64) -> u64 {
        self.state.wait(rule, now, request).saturating_add(rule.interval.saturating_mul(ahead))
    }

    #[inline]
    fn take(&self, request: Request, now: Instant) -> Result<Instant, Option<Duration>> {
        if request.weight == 1
            && let Some(pace) = self.rule.pace()
        {
            let taken = match request.key {
                0 => self.state.take_cell(pace, now, pace.interval).map(|_| now.as_nanos()),
                key => self.state.take_keyed_cell(pace, now, key),
            };
            return taken.map(Instant::from_nanos).map_err(|wait| Some(Duration::from_nanos(wait)));
        }
        self.take_by_rule(request, now)
    }

    #[inline(never)]
    fn take_by_rule(&self, request: Request, now: Instant) -> Result<Instant, Option<Duration>> {
        let rule = self.rule.get();
        if rule.is_unlimited() {
            self.limits_nothing();
            return Ok(now);
        }
        if request.weight == 0 {
            return Ok(now);
        }
        if request.weight > rule.burst {
            return Err(None);
        }
        let taken = self.state.take(rule, now, request);
        taken.map(Instant::from_nanos).map_err(|wait| Some(Duration::from_nanos(wait)))
    }

    fn remaining(&self, rule: Rule, now: Instant) -> u32 {
        let look = Request::ONE.with_weight(0);
        if rule.is_unlimited() { u32::MAX } else { self.state.decide(rule, now, look).remaining }
    }

    /// Until when a call that arrives now may wait.
    fn patience(&self, now: Instant) -> Instant {
        now.after(Duration::from_nanos(self.max_wait.load(Ordering::Relaxed)))
    }

    fn limits_nothing(&self) {
        if self.untold.load(Ordering::Relaxed) {
            self.warn();
        }
    }

    /// A2: a limiter without a rate, once.
    #[cold]
    fn warn(&self) {
        if self.untold.swap(false, Ordering::Relaxed) {
            let name = self.core.name;
            tracing::warn!(
                target: "resilient_runtime::rate_limit",
                rate_limit = %name,
                "it has no rate and limits nothing; give it one, as in `rate_limit(\"{name}\", rate = \"100/s\")` or in the \
                 settings file"
            );
        }
    }

    /// Whether it limits nothing because it was never given a rate.
    pub(crate) fn lacks_rate(&self) -> bool {
        let config = self.core.config();
        config.enabled && config.rate.is_none()
    }

    /// A `retry_after` of more than the limit there ever is says nothing.
    #[cold]
    fn refuse(&self, request: Request, retry_after: Option<Duration>) -> Rejection {
        let rule = self.rule.get();
        if !rule.is_unlimited() && request.weight > rule.burst {
            let refused = self.refuse_for(RejectionKind::WeightExceedsLimit, None);
            return refused.weighing(request.weight, rule.burst);
        }
        self.refuse_for(RejectionKind::RateLimited, retry_after.filter(|span| *span != Duration::MAX))
    }

    #[cold]
    fn refuse_for(&self, kind: RejectionKind, retry_after: Option<Duration>) -> Rejection {
        self.counters.refused();
        tracing::debug!(target: "resilient_runtime::rate_limit", rate_limit = %self.core.name, kind = kind.as_str(), "refused");
        self.core.publish_made(Self::KIND, || EventKind::Rejected { rejection: kind, retry_after });
        Rejection::after(kind, self.core.name, retry_after)
    }

    fn apply(&self, config: &Config) {
        let (before, after) = (self.rule.get(), Rule::of(config));
        self.rule.set(after);
        if before != after {
            self.state.rescale(self.core.clock().now(), before, after);
        }
        self.max_wait.store(config.max_wait.map_or(0, crate::clock::nanos), Ordering::Relaxed);
        self.untold.store(config.enabled && config.rate.is_none(), Ordering::Relaxed);
        self.queue.resize(config.max_queue);
        self.state.tell_apart(config.max_keys);
        self.queue.wake_all();
    }
}

impl Create for RateLimiter {
    const REFUSALS: &[RejectionKind] = &[
        RejectionKind::RateLimited,
        RejectionKind::WeightExceedsLimit,
        RejectionKind::QueueTimeout,
        RejectionKind::NoTimer,
    ];

    fn create(core: Core<Config>) -> Self {
        let config = core.config();
        let limiter = Self {
            core,
            rule: SharedRule::new(Rule::of(&config)),
            state: State::default(),
            hasher: RandomState::new(),
            max_wait: AtomicU64::new(0),
            queue: Queue::new(config.max_queue),
            counters: Counters::default(),
            untold: AtomicBool::new(false),
        };
        limiter.apply(&config);
        limiter
    }

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn saturation(&self) -> Option<Ratio> {
        let stats = self.stats();
        // By key nobody has a limit in common, and one call at a time is always either none or all.
        let is_common = stats.rate.is_some() && stats.keys == 0 && stats.limit > 1;
        let limit = if is_common { stats.limit } else { 0 };
        Some(Ratio::of(limit.saturating_sub(stats.remaining).into(), limit.into()))
    }
}

impl Component for RateLimiter {
    const KIND: Kind = Kind::RateLimit;
    type Config = Config;
    type Stats = Stats;

    fn name(&self) -> &str {
        self.core.name
    }

    fn stats(&self) -> Stats {
        let (rule, now) = (self.rule.get(), self.core.clock().now());
        let (rejected, waited) = self.counters.read();
        let (keys, overflows) = self.state.keys();
        Stats {
            rate: self.core.config().rate,
            limit: rule.burst,
            remaining: self.remaining(rule, now),
            queued: u64::from(self.queue.waiting(now)),
            waited,
            rejected,
            keys: keys as u64,
            overflows,
        }
    }

    /// Forgets the calls that came, of all keys; those who wait stay.
    fn reset(&self) {
        self.state.reset();
        self.counters.reset();
        self.core.publish(Self::KIND, EventKind::Reset);
    }

    fn config(&self) -> Arc<Config> {
        self.core.config()
    }

    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        self.core.reconfigure(Self::KIND, config, |config| self.apply(config))
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
