//! Answers where the call could not: a chain of levels, each a worse answer than the one before.
//!
//! The levels have fixed names and a fixed order, from the nearest to the real answer to the farthest:
//! the call itself, then [`Level::Replica`], [`Level::DistributedCache`], [`Level::LocalCache`],
//! [`Level::Backup`], [`Level::Default`]. The chain runs once, after retry and everything else has given up;
//! a call that succeeds evaluates nothing of it.
//!
//! The attribute writes such a chain as `fallback(replica = .., default = ..)`; by hand it is a [`Chain`], or where
//! levels have to wait an [`AsyncChain`]:
//!
//! ```
//! use resilient_runtime::{Registry, fallback::{Chain, Level}};
//!
//! let registry = Registry::new();
//! let fallback = registry.fallback("rates");
//! let rate: Option<f64> = fallback.call(
//!     || None,
//!     || Chain::of(Level::Backup, |_| None).or(Level::Default, |_| Some(1.0)),
//! );
//! assert_eq!(rate, Some(1.0));
//! ```
//!
//! # Bounds
//! | | how long an asynchronous level may take | asked when the total time of the call is over |
//! |---|---|---|
//! | replica, distributed cache, backup | its timeout (`level_timeout`, 1 s, or its own), and what is left of the call's time | only within `grace`, which is 0 |
//! | local cache of your own | likewise | yes: polled once, for what answers at once |
//! | built-in local cache | - | yes |
//! | default | as long as it likes: nothing comes behind it | yes |
//!
//! A deadline of the calls around is never overdrawn, not by the grace either. What a level asks in turn inherits its
//! deadline. A level that is cut off is dropped, then the next is asked. Synchronous code cannot be cut off; it is not
//! asked when the time is over. Of replicas, distributed caches, local caches of your own and backups, no more than
//! `max_concurrent` are asked at once (a storm on a fallback is an outage of its own, as Hystrix taught); beyond that
//! the next level is asked. A level that panics is counted, and the panic travels on. Without a tokio timer a level is
//! cut off when it is polled next.
//!
//! # The built-in local cache
//! `local_cache = "10m"` keeps the last good value of each key, and serves it where the levels before have no answer
//! and it is not older. A success then costs two hashes of the key, a copy of the value and one lock among sixteen: some
//! 65 ns for a small key and value, and no allocation where the key is known (`benches`, *the answer kept*).
//! What was made from degraded answers is not kept, and neither is what a level gave. Of calls that share one by
//! `coalesce`, a copy that was made from degraded answers is known as such, too.
//!
//! # Who is told
//! [`stats`](crate::Component::stats) counts by level; [`Degradation::scope`] collects for a whole request, and
//! [`degraded`] asks it; a function that returns [`Degraded`] has the mark in hand.

mod cache;
mod chain;
mod config;
mod degradation;
mod degraded;
mod failed;
mod kept;
mod level_permit;
mod stats;

use std::any::TypeId;
use std::hash::Hash;
use std::sync::OnceLock;
use std::time::Duration;

pub use crate::level::Level;
pub use crate::outcome::{BoxError, FallbackFailed};
pub(crate) use chain::Hosted;
pub(crate) use chain::Levels;
pub use chain::{AsyncChain, Chain};
pub use config::Config;
pub use degradation::{
    CollectReasons, Degradation, DegradationScope, MAX_REASONS, Reason, ReasonCollector, Seen, Why, degraded,
};
pub(crate) use degradation::{collect_seen, is_watched, note, saw, shared};
pub use degraded::{Degraded, Mark};
pub use failed::{AllFailed, Unanswered};
pub(crate) use failed::{into_failure, one_of, why};
pub use kept::{Keeps, LastGood};
pub(crate) use level_permit::LevelPermit;
pub use level_permit::NoAnswer;
pub use stats::{CacheStats, LevelStats, Stats};

use crate::clock::{Clock, Instant, nanos};
use crate::component::{Component, Core, Create, Kind};
use crate::context::Scope;
use crate::observe::{EventKind, LogLimit, log_limited};
use crate::rejection::RejectionKind;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use cache::Cache;
use kept::Again;
use stats::{Count, Counters};

/// Bounds and counts what fallback levels do, and keeps the last good answers. See the [module](self).
///
/// ```
/// use resilient_runtime::{Fallback, fallback::{Chain, Config, Level}};
///
/// let fallback = Fallback::new(Config::default())?;
/// let grey = || Chain::of(Level::Default, |_| Some("grey.png"));
/// assert_eq!(fallback.call(|| Some("ada.png"), grey), Some("ada.png"));
/// assert_eq!(fallback.call(|| None, grey), Some("grey.png"));
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Fallback {
    core: Core<Config>,
    /// By [`Level`].
    levels: [Counters; Level::ALL.len()],
    all_failed: AtomicU64,
    /// Levels that are being asked.
    in_flight: AtomicU32,
    /// Made when something is stored first.
    cache: OnceLock<Box<Cache>>,
    limits: Limits,
    /// By [`Level`].
    served_log: [LogLimit; Level::ALL.len()],
    failed_log: LogLimit,
}

/// What a call needs of the settings; spans in nanoseconds. Relaxed: each may be seen old or new.
#[derive(Debug)]
struct Limits {
    timeouts: [AtomicU64; Level::ALL.len()],
    grace: AtomicU64,
    max_concurrent: AtomicU32,
    max_age: AtomicU64,
}

impl Fallback {
    /// Runs `work`, and if it failed, the levels of `chain` until one answers. The chain is built only then.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, fallback::{Chain, Level}};
    ///
    /// let fallback = Registry::new().fallback("stock");
    /// let chain = || Chain::of(Level::Replica, |_| None).or(Level::Default, |_| Some(0));
    /// assert_eq!(fallback.call(|| None, chain), Some(0));
    /// let levels = fallback.stats().levels;
    /// assert_eq!((levels[&Level::Replica].served, levels[&Level::Default].served), (0, 1));
    /// ```
    pub fn call<'a, R: AllFailed>(
        &self,
        work: impl FnOnce() -> R,
        chain: impl FnOnce() -> Chain<'a, R>,
    ) -> R {
        let outcome = work();
        if outcome.is_failure() {
            chain().answer(&mut &*self, failed::into_failure(outcome))
        } else {
            outcome
        }
    }

    /// Like [`call`](Self::call) for asynchronous work and levels.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, clock::Clock, fallback::{AsyncChain, Level}};
    ///
    /// let fallback = Registry::with_clock(Clock::tokio()).fallback("quote");
    /// let chain = || {
    ///     let hangs = AsyncChain::of(Level::Backup, |_| std::future::pending());
    ///     hangs.or(Level::Default, |_| async { Some(1.0) })
    /// };
    /// let quote = fallback.call_async(async || None, chain).await;
    /// assert_eq!(quote, Some(1.0), "the backup was cut off");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work, or the level that is being asked; its place is given back.
    pub async fn call_async<'a, R: AllFailed>(
        &self,
        work: impl AsyncFnOnce() -> R,
        chain: impl FnOnce() -> AsyncChain<'a, R>,
    ) -> R {
        let outcome = work().await;
        if outcome.is_failure() {
            chain().answer(&mut &*self, failed::into_failure(outcome)).await
        } else {
            outcome
        }
    }

    // The built-in local cache -----------------------------------------------------------------------------

    /// Keeps the value of a good answer for [`last_good`](Self::last_good). The key must tell apart whatever must not be
    /// served in place of each other, above all the data of different users.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    ///
    /// let fallback = Registry::new().fallback("rates");
    /// fallback.keep("EUR", 1.1);
    /// assert_eq!(fallback.last_good::<f64, _>("EUR").map(|(rate, _age)| rate), Some(1.1));
    /// assert_eq!(fallback.last_good::<f64, _>("USD"), None);
    /// ```
    pub fn keep<V: LastGood, K: Hash + ?Sized>(&self, key: &K, value: V) {
        let key = self.key::<V, K>(key);
        self.store(key, value, self.clock().now());
    }

    /// The last value that was kept under this key, and how old it is; none that is older than `cache_max_age`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let fallback = Registry::with_clock(time.clock()).fallback("weather");
    /// fallback.keep("Oslo", "rain");
    /// time.advance(Duration::from_mins(6));
    /// assert_eq!(fallback.last_good("Oslo"), Some(("rain", Duration::from_mins(6))));
    /// time.advance(Duration::from_mins(6));
    /// assert_eq!(fallback.last_good::<&str, _>("Oslo"), None, "older than 10 min");
    /// ```
    pub fn last_good<V: LastGood, K: Hash + ?Sized>(&self, key: &K) -> Option<(V, Duration)> {
        self.find(self.key::<V, K>(key)).ok()
    }

    fn again<R: Keeps, K: Hash + ?Sized>(&self, key: &K) -> Again<R> {
        self.find(self.key::<R::Value, K>(key)).map(|(value, age)| (R::again(value), age))
    }

    /// The type is part of the key.
    pub(crate) fn key<V: LastGood, K: Hash + ?Sized>(&self, key: &K) -> u128 {
        self.cache().hash(&(TypeId::of::<V>(), key))
    }

    pub(crate) fn store<V: LastGood>(&self, key: u128, value: V, now: Instant) {
        self.cache().store(key, value, now);
    }

    pub(crate) fn find<V: LastGood>(&self, key: u128) -> Again<V> {
        let max_age = Duration::from_nanos(self.limits.max_age.load(Ordering::Relaxed));
        self.cache().last_good(key, self.clock().now(), max_age)
    }

    fn cache(&self) -> &Cache {
        self.cache.get_or_init(|| {
            let cache = Cache::new();
            cache.resize(self.core.config().cache_max_entries);
            Box::new(cache)
        })
    }

    // What a call asks ---------------------------------------------------------------------------------------

    /// Whether a level may be asked, and for how long; `deadline` is that of the call whose time it spends.
    pub(crate) fn enter(&self, level: Level, deadline: Instant) -> Result<LevelPermit<'_>, NoAnswer> {
        if level == Level::Default {
            self.count(level, Count::Asked);
            return Ok(LevelPermit::unbounded(Some(self), level));
        }
        let (clock, limits) = (self.clock(), &self.limits);
        let now = clock.now();
        let span = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        let inherited = Scope::current().deadline_on(clock);
        let end = deadline.max(now.after(span(&limits.grace))).min(inherited);
        if end <= now && level != Level::LocalCache {
            return Err(self.missed(level, Count::Skipped, NoAnswer::OutOfTime));
        }
        let max = limits.max_concurrent.load(Ordering::Relaxed);
        // Relaxed: a count, of which nothing else depends.
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= max {
            self.leave();
            return Err(self.missed(level, Count::Refused, NoAnswer::Refused));
        }
        self.count(level, Count::Asked);
        let own = now.after(span(&limits.timeouts[level as usize]));
        Ok(LevelPermit::bounded(self, level, now, own.min(end)))
    }

    fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn count(&self, level: Level, count: Count) {
        self.levels[level as usize].add(count);
    }

    #[cold]
    fn missed(&self, level: Level, count: Count, none: NoAnswer) -> NoAnswer {
        self.count(level, count);
        let (level, why) = (level.as_str(), none.as_str());
        tracing::debug!(target: "resilient_runtime::fallback", fallback = %self.core.name, level, why, "level missed");
        self.core.publish(Self::KIND, EventKind::FallbackMissed { level, why });
        none
    }

    /// The built-in local cache is about to be looked at.
    pub(crate) fn look(&self, level: Level) {
        self.count(level, Count::Asked);
    }

    pub(crate) fn served(&self, level: Level) {
        self.count(level, Count::Served);
        let log_limit = &self.served_log[level as usize];
        let level = level.as_str();
        log_limited!(
            log_limit, self.clock(), WARN, target: "resilient_runtime::fallback",
            fallback = %self.core.name, level, "degraded answer"
        );
        self.core.publish(Self::KIND, EventKind::FallbackServed { level });
    }

    pub(crate) fn all_failed(&self) {
        self.all_failed.fetch_add(1, Ordering::Relaxed);
        log_limited!(
            self.failed_log, self.clock(), WARN, target: "resilient_runtime::fallback",
            fallback = %self.core.name, "every level failed"
        );
        self.core.publish(Self::KIND, EventKind::FallbackFailed);
    }

    pub(crate) fn name(&self) -> &'static str {
        self.core.name
    }

    fn clock(&self) -> &Clock {
        self.core.clock()
    }
}

impl<'f> Levels<'f> for &'f Fallback {
    fn may_tell(&self, why: &Why) -> Why {
        why.as_told(self.core.environment.texts())
    }

    fn enter(&mut self, level: Level) -> Result<LevelPermit<'f>, NoAnswer> {
        Fallback::enter(self, level, Scope::current().deadline_on(self.clock()))
    }

    fn look(&mut self, level: Level) {
        Fallback::look(self, level);
    }

    fn served(&mut self, level: Level, age: Option<Duration>, why: Option<&Why>) {
        Fallback::served(self, level);
        degradation::note(Fallback::name(self), level, age, why);
    }

    fn all_failed(&mut self) {
        Fallback::all_failed(self);
    }

    fn suspend(&mut self, _: bool) {}
}

impl Create for Fallback {
    const ALWAYS_ON: Option<&str> =
        Some("a fallback cannot be switched off: without it a failed call may have nothing to return");
    const REFUSALS: &[RejectionKind] = &[RejectionKind::FallbackFailed];

    fn create(core: Core<Config>) -> Self {
        let zero = || AtomicU64::new(0);
        let config = core.config();
        let limits = Limits {
            timeouts: std::array::from_fn(|_| zero()),
            grace: zero(),
            max_concurrent: AtomicU32::new(0),
            max_age: zero(),
        };
        let fallback = Self {
            core,
            levels: std::array::from_fn(|_| Counters::new()),
            all_failed: zero(),
            in_flight: AtomicU32::new(0),
            cache: OnceLock::new(),
            limits,
            served_log: std::array::from_fn(|_| LogLimit::new()),
            failed_log: LogLimit::new(),
        };
        fallback.apply(&config);
        fallback
    }
}

impl Component for Fallback {
    const KIND: Kind = Kind::Fallback;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn apply(&self, config: &Config) {
        for level in Level::ALL {
            let timeout = config.timeout_of(level).map_or(u64::MAX, nanos);
            self.limits.timeouts[level as usize].store(timeout, Ordering::Relaxed);
        }
        self.limits.grace.store(nanos(config.grace), Ordering::Relaxed);
        self.limits.max_concurrent.store(config.max_concurrent, Ordering::Relaxed);
        self.limits.max_age.store(nanos(config.cache_max_age), Ordering::Relaxed);
        if let Some(cache) = self.cache.get() {
            cache.resize(config.cache_max_entries);
        }
    }

    fn stats(&self) -> Stats {
        let level = |level: Level| (level, self.levels[level as usize].snapshot());
        Stats {
            levels: Level::ALL.into_iter().map(level).collect(),
            all_failed: self.all_failed.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed).into(),
            cache: self.cache.get().map(|cache| cache.stats()).unwrap_or_default(),
        }
    }

    /// Zeroes the counts and forgets the kept answers; levels that are being asked go on.
    fn reset(&self) {
        self.levels.iter().for_each(Counters::reset);
        self.all_failed.store(0, Ordering::Relaxed);
        if let Some(cache) = self.cache.get() {
            cache.clear();
        }
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
