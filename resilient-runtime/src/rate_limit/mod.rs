//! Rate limiting: limits how many calls start in a period of time.
//!
//! | Algorithm | Admits | Use it for |
//! |---|---|---|
//! | `token_bucket` | `burst` calls at once, then one per interval; never more than that in any period | Most cases; 8 bytes, one compare-and-swap |
//! | `sliding_window` | At most the rate in any window; under constant demand at least 10/11 of it, because it counts in tenths of the window | Quotas |
//! | `sliding_log` | Exactly the rate in any window; stores each call | Small quotas |
//! | `leaky_bucket` | One call per interval; other calls wait for their turn | Smooth traffic |
//!
//! - With `max_wait`, calls wait for a token in order of arrival. A call that stops waiting passes its turn to the
//!   next one. A call that cannot get a token in time is rejected at once. A waiting future that is not polled delays
//!   other calls for at most its own `max_wait`. After that the limiter skips it, and its next poll returns a
//!   rejection.
//! - A call that did not run can return its token. The limiter restores only the part of the token that has not been
//!   refilled since. Returned tokens never raise the number of calls above what the algorithm admits.
//! - A call can have a weight greater than 1. A call that weighs more than the limit can never be admitted. It never
//!   waits: it is rejected at once with [`RejectionKind::WeightExceedsLimit`], which is
//!   [`Permanent`](crate::Class::Permanent).
//! - Each key can have its own limit: see [`check_key`](RateLimiter::check_key), or `key = ..` in the attribute. The
//!   number of keys is bounded. Once the table is full, a new key replaces an idle one. If no key is idle, new keys
//!   share limits: some calls are then limited too early, but no call is unlimited.
//! - A clock that steps back does not grant an extra burst. It blocks a bucket for at most one minute, and a sliding
//!   window or log for at most about a window and a minute.
//! - A limiter without a `rate` limits nothing. The first call logs a warning, and
//!   [`Registry::validate`](crate::Registry::validate) reports it every time.
//!
//! ```
//! use std::time::Duration;
//! use resilient_runtime::{Component, Registry, rate_limit::{Algorithm, Config, Rate}};
//!
//! let registry = Registry::new();
//! let set = |name: &str, config: Config| {
//!     let limiter = registry.rate_limiter(name);
//!     limiter.reconfigure(config).unwrap();
//!     limiter
//! };
//! let rate = |text: &str| Config::default().rate(text.parse::<Rate>().unwrap());
//!
//! // A token bucket for each key: two calls at once, then one per second.
//! let login = set("login", rate("60/min").burst(2));
//! assert!((0..2).all(|_| login.check_key("ada").allowed));
//! let refused = login.check_key("ada");
//! assert!(!refused.allowed && refused.retry_after.unwrap() <= Duration::from_secs(1));
//! assert!(login.check_key("bob").allowed);
//!
//! // A sliding window: at most three calls in any hour.
//! let quota = set("quota", rate("3/h").algorithm(Algorithm::SlidingWindow));
//! assert_eq!((0..9).filter(|_| quota.try_acquire().is_ok()).count(), 3);
//!
//! // A leaky bucket: one call every 2 ms. A call that comes early waits for up to a second.
//! let smooth = rate("500/s").algorithm(Algorithm::LeakyBucket).max_wait(Duration::from_secs(1));
//! let smooth = set("smooth", smooth);
//! assert!((0..3).all(|_| smooth.acquire_blocking().is_ok()));
//! ```

mod acquire;
mod admit;
mod call;
mod check;
mod config;
mod decision;
mod keyed;
mod memory;
mod meter;
mod queue;
mod rate;
mod request;
mod rule;
mod shared;
mod state;
mod stats;
mod turn;

use std::hash::RandomState;
use std::sync::{Arc, Weak};

pub use crate::store::rate::{RateAlgorithm, RateRequest, RateRule, RateStore, ReturnedTokens, Taken};
pub use config::{Algorithm, Config, Mode, OnStoreFailure};
pub use decision::{Decision, Token};
pub use memory::MemoryStore;
pub use rate::{InvalidRate, Rate};
pub(crate) use request::{RateKey, Request};
pub use shared::SharedStats;
pub use stats::Stats;
pub(crate) use turn::Turn;

use crate::component::{Component, Core, Create, Kind};
use crate::observe::EventKind;
use crate::ratio::Ratio;
use crate::rejection::RejectionKind;
use crate::settings::ConfigError;
use crate::store::NamedStores;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use once_cell::sync::OnceCell;
use queue::Queue;
use rule::{Rule, SharedRule};
use shared::Shared;
use state::State;
use stats::Counters;

/// Limits how often calls start. See the [module](self).
///
/// ```
/// use resilient_runtime::{RateLimiter, rate_limit::{Config, Rate}};
///
/// let limiter = RateLimiter::new(Config::default().rate("1/h".parse::<Rate>().unwrap()))?;
/// assert_eq!(limiter.call(|| Some("sent")), Some("sent"));
/// assert_eq!(limiter.call(|| Some("sent")), None);
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct RateLimiter {
    core: Core<Config>,
    rule: SharedRule,
    state: State,
    hasher: RandomState,
    /// In nanoseconds; 0 if calls do not wait. Relaxed: a setting.
    max_wait: AtomicU64,
    queue: Queue,
    counters: Counters,
    /// The limiter has no rate and has not logged the warning yet. Relaxed: a hint.
    untold: AtomicBool,
    stores: Arc<NamedStores>,
    /// Whether the limit is shared. Relaxed: a setting.
    is_shared: AtomicBool,
    /// Created when the settings name a store.
    shared: OnceCell<Arc<Shared>>,
}

impl RateLimiter {
    pub(crate) fn with_stores(core: Core<Config>, stores: Arc<NamedStores>) -> Self {
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
            stores,
            is_shared: AtomicBool::new(false),
            shared: OnceCell::new(),
        };
        limiter.apply(&config);
        limiter
    }

    /// Returns the shared side, if the settings name a store.
    #[inline]
    fn shared(&self) -> Option<&Arc<Shared>> {
        if self.is_shared.load(Ordering::Relaxed) { self.shared.get() } else { None }
    }

    /// Returns the state and the rule of the limiter in this process.
    fn local(&self) -> (&State, Rule) {
        match self.shared() {
            Some(shared) => (shared.local(), shared.local_rule()),
            None => (&self.state, self.rule.get()),
        }
    }

    fn apply_store(&self, config: &Config) {
        let shared = match &config.store {
            Some(_) => Some(self.shared.get_or_init(|| {
                let shared = Arc::new(Shared::new(&self.core, Arc::clone(&self.stores)));
                let weak: Weak<Shared> = Arc::downgrade(&shared);
                self.stores.when_ready(weak);
                shared
            })),
            None => self.shared.get(),
        };
        if let Some(shared) = shared {
            let is_shared = shared.apply(config);
            self.is_shared.store(is_shared, Ordering::Relaxed);
        }
    }

    /// The problem with the store named in the settings.
    pub(crate) fn store_problem(&self) -> Option<String> {
        self.shared()?.store_problem()
    }

    /// Returns the tokens that were taken from the store in advance, so that other instances can use them.
    ///
    /// Call it before the program ends. A limiter that is dropped, or is idle, returns them by itself. Tokens that were
    /// refilled since they were taken are not returned.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let registry = resilient_runtime::Registry::new();
    /// // ... at the end of `main`:
    /// registry.rate_limiter("api").return_lease().await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future can lose the tokens. Then fewer calls are admitted, and never more.
    pub async fn return_lease(&self) {
        if let Some(shared) = self.shared() {
            shared.end_lease().await;
        }
    }
}

impl Create for RateLimiter {
    const REFUSALS: &[RejectionKind] = &[
        RejectionKind::RateLimited,
        RejectionKind::WeightExceedsLimit,
        RejectionKind::QueueTimeout,
        RejectionKind::NoTimer,
        RejectionKind::StoreUnavailable,
    ];

    fn create(core: Core<Config>) -> Self {
        Self::with_stores(core, Arc::default())
    }

    fn check_standalone(config: &Config, error: &mut ConfigError) {
        let allowed =
            "named stores exist only in a registry: leave it unset, or use `Registry::rate_limiter`";
        error.require(config.store.is_none(), "store", config.store.clone(), allowed);
    }

    fn saturation(&self) -> Option<Ratio> {
        let stats = self.stats();
        // With keys there is no common limit, and a limit of 1 is always either unused or used up.
        let is_common = stats.rate.is_some() && stats.keys == 0 && stats.limit > 1;
        let limit = if is_common { stats.limit } else { 0 };
        Some(Ratio::of(limit.saturating_sub(stats.remaining).into(), limit.into()))
    }
}

impl Component for RateLimiter {
    const KIND: Kind = Kind::RateLimit;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn apply(&self, config: &Config) {
        let (before, after) = (self.rule.get(), Rule::of(config));
        // Before the rule, so that a call with the new rule finds the store.
        self.apply_store(config);
        self.rule.set(after, config.store.is_some());
        if before != after {
            self.state.rescale(self.core.clock().now(), before, after);
        }
        self.max_wait.store(config.max_wait.map_or(0, crate::clock::nanos), Ordering::Relaxed);
        self.untold.store(config.enabled && config.rate.is_none(), Ordering::Relaxed);
        self.queue.resize(config.max_queue);
        self.state.tell_apart(config.max_keys);
        self.queue.wake_all();
    }

    fn stats(&self) -> Stats {
        let (rule, now) = (self.rule.get(), self.core.clock().now());
        let (rejected, waited) = self.counters.read();
        let (keys, overflows) = self.local().0.keys();
        let shared = self.shared();
        Stats {
            rate: self.core.config().rate,
            limit: rule.burst,
            remaining: shared.map_or_else(|| self.remaining(rule, now), |shared| shared.remaining()),
            queued: u64::from(self.queue.waiting(now) + shared.map_or(0, |shared| shared.waiting())),
            waited: waited + shared.map_or(0, |shared| shared.waited()),
            rejected,
            keys: keys as u64,
            overflows,
            shared: shared.and_then(|shared| shared.stats()),
        }
    }

    /// Resets the state of all keys and the counters. Waiting calls keep waiting. State in a store stays.
    fn reset(&self) {
        self.state.reset();
        if let Some(shared) = self.shared.get() {
            shared.reset();
        }
        self.counters.reset();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
