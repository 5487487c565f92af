//! Bounds how often calls begin.
//!
//! | algorithm | admits | for |
//! |---|---|---|
//! | `token_bucket` | `burst` at once, then one at each interval | most; 8 bytes, one compare-and-swap |
//! | `sliding_window` | never more than the rate in any window of its time, at least 10/11 of it | quotas |
//! | `sliding_log` | exactly the rate in any window of its time; remembers each call | small quotas |
//! | `leaky_bucket` | one at each interval; the others wait for their turn | what must be smooth |
//!
//! - With `max_wait` a call waits for its turn, in the order of arrival; who gives up gives its turn to the next. Who
//!   could not have a turn in time is refused at once.
//! - A call may weigh more than one. One that weighs more than the limit is refused, and never waits (T89).
//! - Each key can have a limit of its own: [`check_key`](RateLimiter::check_key), or `key = ..` in the attribute. The
//!   number of keys is bounded; beyond `max_keys`, a key that is not in use is forgotten, and if there is none, new
//!   keys share limits. In the worst case somebody is limited too early, and nobody is unlimited.
//! - A clock that steps back neither freezes a limit nor gives a burst away (T88).
//! - Without a `rate` nothing is limited.
//!
//! ```
//! use resilient::{Component, Registry, rate_limit::Config};
//!
//! let limiter = Registry::new().rate_limiter("login");
//! limiter.reconfigure(Config::default().rate("3/min".parse::<resilient::rate_limit::Rate>().unwrap())).unwrap();
//! assert!((0..3).all(|_| limiter.check_key("ada").allowed));
//! let refused = limiter.check_key("ada");
//! assert!(!refused.allowed && refused.retry_after.unwrap().as_secs() <= 20);
//! assert!(limiter.check_key("bob").allowed);
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
use crate::observe::Happening;
use crate::outcome::Reject;
use crate::rejection::{Rejection, RejectionKind};
use crate::scope::Scope;
use crate::settings::{ConfigError, Effective};
use crate::sync::{AtomicU64, Ordering};
use queue::Queue;
use rule::{Rule, SharedRule};
use state::State;
use stats::Counters;

/// Bounds how often calls begin. See the [module](self).
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
    pub fn check(&self) -> Decision {
        self.decide(Request::ONE)
    }

    /// As [`check`](Self::check), for a call that weighs more than one; 0 only looks.
    pub fn check_weighted(&self, weight: u32) -> Decision {
        self.decide(Request::ONE.with_weight(weight))
    }

    /// As [`check`](Self::check), by the limit of this key alone.
    pub fn check_key<K: Hash + ?Sized>(&self, key: &K) -> Decision {
        self.decide(self.request(key))
    }

    /// As [`check_key`](Self::check_key), for a call that weighs more than one; 0 only looks.
    pub fn check_key_weighted<K: Hash + ?Sized>(&self, key: &K, weight: u32) -> Decision {
        self.decide(self.request(key).with_weight(weight))
    }

    /// A token if there is one now.
    ///
    /// # Errors
    /// When there is none.
    pub fn try_acquire(&self) -> Result<Token<'_>, Rejection> {
        self.admit(Request::ONE, self.core.clock().now()).map(|()| Token::new(self, Request::ONE))
    }

    /// As [`try_acquire`](Self::try_acquire), by the limit of this key alone.
    ///
    /// # Errors
    /// When there is none.
    pub fn try_acquire_key<K: Hash + ?Sized>(&self, key: &K) -> Result<Token<'_>, Rejection> {
        let request = self.request(key);
        self.admit(request, self.core.clock().now()).map(|()| Token::new(self, request))
    }

    /// A token of each, or of none.
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
    /// # Cancel safety
    /// Dropping the future gives the turn to the next.
    ///
    /// # Errors
    /// When it would have to wait too long, or too many wait already.
    pub async fn acquire(&self) -> Result<Token<'_>, Rejection> {
        self.turn(Request::ONE, self.inherited()).await.map(|()| Token::new(self, Request::ONE))
    }

    /// As [`acquire`](Self::acquire), blocking the thread.
    ///
    /// # Errors
    /// As of [`acquire`](Self::acquire).
    pub fn acquire_blocking(&self) -> Result<Token<'_>, Rejection> {
        self.turn(Request::ONE, self.inherited()).block().map(|()| Token::new(self, Request::ONE))
    }

    /// Runs `work` if the rate admits it; blocks up to `max_wait`.
    pub fn call<R: Reject>(&self, work: impl FnOnce() -> R) -> R {
        match self.acquire_blocking() {
            Ok(_spent) => work(),
            Err(rejection) => R::from_rejection(rejection),
        }
    }

    /// Runs `work` if the rate admits it; waits up to `max_wait`.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the turn, or drops the work; a token once taken is spent.
    pub async fn call_async<R: Reject>(&self, work: impl AsyncFnOnce() -> R) -> R {
        if let Err(rejection) = self.turn(Request::ONE, self.inherited()).await {
            return R::from_rejection(rejection);
        }
        work().await
    }

    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    fn decide(&self, request: Request) -> Decision {
        let now = self.core.clock().now();
        let taken = self.try_take(request, now);
        if taken.is_err() {
            self.counters.refused();
        }
        self.state.describe(self.rule.get(), now, request, taken)
    }

    // What the pipeline calls ------------------------------------------------------------------------------

    /// A request by the limit of a key.
    pub(crate) fn request<K: Hash + ?Sized>(&self, key: &K) -> Request {
        Request { key: self.hasher.hash_one(key).max(1), weight: 1 }
    }

    /// Takes a place in the rate if there is one now and nobody waits; counts nothing if not.
    #[inline]
    pub(crate) fn try_enter(&self, request: Request, now: Instant) -> bool {
        self.try_take(request, now).is_ok()
    }

    /// Takes a place in the rate, or refuses; never waits.
    #[inline]
    pub(crate) fn admit(&self, request: Request, now: Instant) -> Result<(), Rejection> {
        self.try_take(request, now).map_err(|wait| self.refuse(wait))
    }

    /// Takes a place in the rate, if need be after waiting until `deadline`: to be awaited, or blocked on.
    pub(crate) fn turn(&self, request: Request, deadline: Instant) -> Turn<'_> {
        Turn::new(self, request, deadline)
    }

    /// The call that had taken a place was not made.
    pub(crate) fn give_back(&self, request: Request) {
        self.state.give_back(self.rule.get(), self.core.clock().now(), request);
    }

    /// The error: how long it would have to wait, where that helps.
    #[inline]
    fn try_take(&self, request: Request, now: Instant) -> Result<(), Option<Duration>> {
        if self.queue.len() == 0 {
            return self.take(request, now);
        }
        self.try_take_behind(request, now)
    }

    /// Nobody overtakes who waits for the same key.
    #[cold]
    fn try_take_behind(&self, request: Request, now: Instant) -> Result<(), Option<Duration>> {
        let ahead = self.queue.weight(request.key);
        if ahead == 0 {
            return self.take(request, now);
        }
        let rule = self.rule.get();
        if request.weight > rule.burst {
            return Err(None);
        }
        let behind = rule.interval.saturating_mul(ahead);
        let wait = self.state.wait(rule, now, request).saturating_add(behind);
        Err(Some(Duration::from_nanos(wait)))
    }

    #[inline]
    fn take(&self, request: Request, now: Instant) -> Result<(), Option<Duration>> {
        let rule = self.rule.get();
        if rule.is_unlimited() || request.weight == 0 {
            return Ok(());
        }
        if request.weight > rule.burst {
            return Err(None);
        }
        self.state.take(rule, now, request).map_err(|wait| Some(Duration::from_nanos(wait)))
    }

    /// Until when a call that arrives now may wait.
    fn patience(&self, now: Instant) -> Instant {
        now.after(Duration::from_nanos(self.max_wait.load(Ordering::Relaxed)))
    }

    #[cold]
    fn refuse(&self, retry_after: Option<Duration>) -> Rejection {
        self.refuse_for(RejectionKind::RateLimited, retry_after.filter(|span| *span != Duration::MAX))
    }

    #[cold]
    fn refuse_for(&self, kind: RejectionKind, retry_after: Option<Duration>) -> Rejection {
        self.counters.refused();
        tracing::debug!(target: "resilient::rate_limit", rate_limit = %self.core.name, kind = kind.as_str(), "refused");
        self.core.publish(Self::KIND, Happening::Rejected { rejection: kind, retry_after });
        Rejection::after(kind, self.core.name, retry_after)
    }

    fn apply(&self, config: &Config) {
        let (before, after) = (self.rule.get(), Rule::of(config));
        self.rule.set(after);
        if before != after {
            self.state.rescale(self.core.clock().now(), before, after);
        }
        self.max_wait.store(config.max_wait.map_or(0, crate::clock::nanos), Ordering::Relaxed);
        self.queue.resize(config.max_queue);
        self.state.tell_apart(config.max_keys);
    }
}

impl Create for RateLimiter {
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
        };
        limiter.apply(&config);
        limiter
    }

    fn core(&self) -> &Core<Config> {
        &self.core
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
            remaining: self.state.describe(rule, now, Request::ONE, Ok(())).remaining,
            queued: u64::from(self.queue.len()),
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
        self.core.publish(Self::KIND, Happening::Reset);
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
