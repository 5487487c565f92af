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
//! // A token bucket: two at once, then one at each second. By key.
//! let login = set("login", rate("60/min").burst(2));
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

mod acquire;
mod admit;
mod call;
mod check;
mod config;
mod decision;
mod keyed;
mod meter;
mod queue;
mod rate;
mod request;
mod rule;
mod state;
mod stats;
mod turn;

use std::hash::RandomState;

pub use config::{Algorithm, Config};
pub use decision::{Decision, Token};
pub use rate::{InvalidRate, Rate};
pub(crate) use request::{RateKey, Request};
pub use stats::Stats;
pub(crate) use turn::Turn;

use crate::component::{Component, Core, Create, Kind};
use crate::observe::EventKind;
use crate::ratio::Ratio;
use crate::rejection::RejectionKind;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use queue::Queue;
use rule::{Rule, SharedRule};
use state::State;
use stats::Counters;

/// Bounds how often calls begin. See the [module](self).
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
    /// In nanoseconds, 0 for not at all. Relaxed: a setting.
    max_wait: AtomicU64,
    queue: Queue,
    counters: Counters,
    /// It has no rate, and nobody was told so far. Relaxed: a hint.
    untold: AtomicBool,
}

impl RateLimiter {}

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

    fn core(&self) -> &Core<Config> {
        &self.core
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
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
