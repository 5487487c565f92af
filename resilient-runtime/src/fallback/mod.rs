//! Fallback: returns a substitute result when a call fails.
//!
//! A fallback is a chain of levels. The levels have fixed names and a fixed order, from the closest to the real result
//! of the call to the farthest: [`Level::Replica`], [`Level::DistributedCache`], [`Level::LocalCache`],
//! [`Level::Backup`], [`Level::Default`]. When the call fails, the levels run in this order until one succeeds. The
//! chain runs once, after retry and all other stages have failed. A successful call does not evaluate it.
//!
//! In the attribute a chain is `fallback(replica = .., default = ..)`. Without the attribute it is a [`Chain`], or an
//! [`AsyncChain`] if the levels are asynchronous:
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
//! # Time limits
//! | level | time limit of an asynchronous level | runs after the total timeout of the call |
//! |---|---|---|
//! | replica, distributed cache, backup | its timeout (`level_timeout`, 1 s, or its own) and the time left of the call | only within `grace`, which is 0 by default |
//! | built-in distributed cache | the same, and the timeout of the store, also in a synchronous call | only within `grace`; values in memory always |
//! | custom local cache | the same | yes, but it is polled only once |
//! | built-in local cache | - | yes |
//! | default | none, because no level follows it | yes |
//!
//! A level never exceeds an inherited deadline, even with `grace`. Calls that a level makes inherit the deadline of the
//! level. A level that times out is dropped, and the next level runs. Synchronous code cannot be cancelled; it is
//! skipped if no time is left. Without a tokio timer a level times out when it is next polled.
//!
//! # Concurrency limit
//! At most `max_concurrent` replicas, distributed caches, custom local caches and backups run at the same time, because
//! a sudden load on a fallback can cause another outage. When the limit is reached, the level is skipped and the next
//! level runs. The idea is from Hystrix.
//!
//! # Panics
//! A panic in a level is counted and propagated.
//!
//! # Built-in local cache
//! `local_cache = "10m"` stores the last good value of each key. It serves the value if the earlier levels fail and the
//! value is not older than 10 minutes. A successful call then hashes the key twice, copies the value and takes one of
//! sixteen locks. That takes about 65 ns for a small key and value, and does not allocate if the key is already stored.
//! A result is not stored if a level returned it, or if the call computed it from degraded results. The same holds for
//! a copy of such a result that another call received through `coalesce`.
//!
//! # Built-in distributed cache
//! `distributed_cache(store = "shared", key = id, max_age = "10m")` keeps the last good value of each key in a
//! [store](crate::store) that several processes share: a [`CacheStore`].
//!
//! - A successful call encodes the value and puts it into the memory of the process. The write to the store happens in
//!   the background. If too many values wait, or more than 64 MiB of them, further ones are dropped and counted. The values
//!   in memory have at most 64 MiB too.
//! - When the call fails, the level reads the store. All concurrent calls for a key share one read. For `reread_after`,
//!   and until `max_age` if the store fails, a value in memory is served. If the store has no value, the value in memory is
//!   removed, unless it waits for its write.
//! - The age of a value counts from the call that made it: the time that it waited for the store, and then the time by the
//!   clock of the store.
//! - A value is served only to the same function, and only if its type has the same name and the same fields. Other
//!   values, and values of a later version, count as missing.
//! - If the store fails or has no value, the next level runs. The call never fails because of the cache.
//! - Results are not stored under the same conditions as in the local cache.
//!
//! # Reporting degraded results
//! - [`stats`](crate::Component::stats) counts results by level.
//! - [`Degradation::scope`] collects the degraded results of a whole request, and [`degraded`] returns those collected
//!   so far.
//! - A function that returns [`Degraded`] reports the level with each result.

mod cache;
mod chain;
mod config;
mod degradation;
mod degraded;
mod distributed;
mod failed;
mod kept;
mod level_permit;
mod memory;
mod replica;
mod stats;

use std::any::TypeId;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use crate::level::Level;
pub use crate::outcome::{BoxError, FallbackFailed};
pub(crate) use chain::Hosted;
pub use chain::{AsyncChain, Chain};
pub(crate) use chain::{Levels, look_up, look_up_blocking};
pub use config::Config;
pub use degradation::{
    CollectReasons, Degradation, DegradationScope, MAX_REASONS, Reason, ReasonCollector, Seen, Why, degraded,
};
pub(crate) use degradation::{collect_seen, is_watched, note, saw, shared};
pub use degraded::{Degraded, Mark};
pub use distributed::{DistributedCacheStats, Storable};
pub(crate) use distributed::{DistributedKey, Lookup};
pub use failed::{AllFailed, Unanswered};
pub(crate) use failed::{into_failure, one_of, why};
pub use kept::{Keeps, LastGood};
pub(crate) use level_permit::LevelPermit;
pub use level_permit::NoAnswer;
pub use memory::MemoryCache;
pub use replica::ReplicaSource;
pub use stats::{CacheStats, LevelStats, Stats};

pub use crate::store::cache::{CacheEntry, CacheStore};

use crate::clock::{Clock, Instant, nanos};
use crate::component::{Component, Core, Create, Kind};
use crate::context::Scope;
use crate::observe::{EventKind, LogLimit, log_limited};
use crate::rejection::RejectionKind;
use crate::replay::Replay;
use crate::settings::ConfigError;
use crate::store::{NamedStores, StoreError};
use crate::stored;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use cache::Cache;
use distributed::Distributed;
use kept::Again;
use stats::{Count, Counters};

/// Limits and counts the runs of fallback levels, and stores the last good values. See the [module](self).
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
    /// Levels that are running.
    in_flight: AtomicU32,
    /// Created when the first value is stored.
    cache: OnceLock<Box<Cache>>,
    /// Created when it is first used.
    distributed: OnceLock<Arc<Distributed>>,
    stores: Arc<NamedStores>,
    limits: Limits,
    /// By [`Level`].
    served_log: [LogLimit; Level::ALL.len()],
    failed_log: LogLimit,
}

/// The settings that a call reads. Durations are in nanoseconds.
///
/// Relaxed, because each setting is independent: a call can read the old or the new value.
#[derive(Debug)]
struct Limits {
    timeouts: [AtomicU64; Level::ALL.len()],
    grace: AtomicU64,
    max_concurrent: AtomicU32,
    max_age: AtomicU64,
}

impl Fallback {
    /// Runs `work`. If it fails, builds `chain` and runs its levels until one succeeds.
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
    /// assert_eq!(quote, Some(1.0), "the backup timed out");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work or the running level, and releases the permit of the level.
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

    /// Stores a value for [`last_good`](Self::last_good).
    ///
    /// The key must contain everything that distinguishes one result from another, such as the user whose data it is.
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

    /// Returns the last value stored under this key and its age, unless it is older than `cache_max_age`.
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

    // The built-in distributed cache -----------------------------------------------------------------------

    /// Stores a value in the distributed cache: in memory now, and in the store in the background.
    ///
    /// The key must contain everything that distinguishes one result from another, such as the user whose data it is. It
    /// must be the same in all processes. Without a store in the settings, the value is not stored, which is logged.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, fallback::{AsyncChain, Config, Level, MemoryCache}};
    ///
    /// let registry = Registry::new();
    /// registry.use_store("shared", MemoryCache::new(registry.clock().clone(), 1000));
    /// let fallback = registry.fallback("rates");
    /// fallback.reconfigure(Config::default().distributed_cache_store("shared")).unwrap();
    /// fallback.distribute("EUR", &1.1);
    /// let chain = || AsyncChain::of(Level::Default, |_| async { Some(1.0) }).or_distributed(&fallback, "EUR");
    /// assert_eq!(fallback.call_async(async || None, chain).await, Some(1.1));
    /// # }
    /// ```
    pub fn distribute<V: Storable, K: Hash + ?Sized>(&self, key: &K, value: &V) {
        if let Ok(key) = self.distributed_key::<V, K>("", key) {
            self.write_distributed(&key, value);
        }
    }

    /// Removes a value of type `V` from the distributed cache: from memory and from the store. Returns whether the store
    /// had one.
    ///
    /// If a write of the value by this process is in progress, the removal waits for it. The store's time limit holds for
    /// both. A read that is in progress does not put the value back into memory. Other processes can still serve the value
    /// from their memory for `reread_after`, and until `max_age` if the store fails. Values of annotated functions have keys
    /// of their own, and are not affected.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Component, Registry, fallback::{Config, MemoryCache}};
    /// # let registry = Registry::new();
    /// # registry.use_store("shared", MemoryCache::new(registry.clock().clone(), 1000));
    /// # let fallback = registry.fallback("rates");
    /// # fallback.reconfigure(Config::default().distributed_cache_store("shared")).unwrap();
    /// fallback.distribute("EUR", &1.1);
    /// fallback.remove_distributed::<f64, _>("EUR").await.unwrap();
    /// assert_eq!(fallback.stats().distributed_cache.unwrap().in_memory, 0);
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the store is not registered, fails or is too slow. The value may then still be in the store.
    ///
    /// # Cancel safety
    /// If the future is dropped, the value may or may not be in the store.
    pub async fn remove_distributed<V: Storable, K: Hash + ?Sized>(
        &self,
        key: &K,
    ) -> Result<bool, StoreError> {
        let Ok(key) = self.distributed_key::<V, K>("", key) else { return Ok(false) };
        self.distributed().remove(&self.core.config(), &key).await
    }

    /// `owner` is the function that returns the values.
    pub(crate) fn distributed_key<V, K: Hash + ?Sized>(
        &self,
        owner: &str,
        key: &K,
    ) -> Result<DistributedKey, NoAnswer> {
        self.distributed().key::<V, K>(owner, key)
    }

    pub(crate) fn write_distributed<V: Storable>(&self, key: &DistributedKey, value: &V) {
        self.distributed().write(&self.core.config(), key, value);
    }

    pub(crate) fn lookup<V: Storable>(&self, key: DistributedKey) -> Lookup<V> {
        Lookup::new(self.distributed(), self.core.config(), key, stored::read::<V>)
    }

    fn lookup_outcome<R: Replay>(&self, key: DistributedKey) -> Lookup<R> {
        let decode = |bytes: &[u8]| stored::read::<R::Value>(bytes).map(R::replay);
        Lookup::new(self.distributed(), self.core.config(), key, decode)
    }

    fn distributed(&self) -> &Arc<Distributed> {
        self.distributed.get_or_init(|| {
            let (environment, stores) = (self.core.environment.clone(), Arc::clone(&self.stores));
            Arc::new(Distributed::new(self.core.name, environment, stores, &self.core.config()))
        })
    }

    /// The problem with the store of the distributed cache, if it is not registered or has no cache.
    pub(crate) fn store_problem(&self) -> Option<String> {
        Distributed::problem(&self.stores, &self.core.config())
    }

    /// The distributed cache misses without a read or an entry.
    pub(crate) fn distributed_missed(&self, none: NoAnswer) {
        self.found_nothing(Level::DistributedCache, none);
    }

    /// A level has no value. It has not failed otherwise.
    #[cold]
    pub(crate) fn found_nothing(&self, level: Level, none: NoAnswer) {
        let (level, why) = (level.as_str(), none.as_str());
        self.core.publish(Self::KIND, EventKind::FallbackMissed { level, why });
    }

    // Used by calls ----------------------------------------------------------------------------------------

    /// Admits a level and sets its time limit. `deadline` is the deadline of the call.
    pub(crate) fn enter(&self, level: Level, deadline: Instant) -> Result<LevelPermit<'_>, NoAnswer> {
        if level == Level::Default {
            self.count(level, Count::Asked);
            return Ok(LevelPermit::unbounded(Some(self), level));
        }
        let (now, end) = self.time_of(level, deadline)?;
        let max = self.limits.max_concurrent.load(Ordering::Relaxed);
        // Relaxed: a count that no other data depends on.
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= max {
            self.leave();
            return Err(self.missed(level, Count::Refused, NoAnswer::Refused));
        }
        self.count(level, Count::Asked);
        Ok(LevelPermit::bounded(self, level, now, end))
    }

    /// Like [`enter`](Self::enter), for the built-in distributed cache. The store limits the number of its reads.
    pub(crate) fn enter_distributed(&self, deadline: Instant) -> Result<LevelPermit<'_>, NoAnswer> {
        let level = Level::DistributedCache;
        let (now, end) = self.time_of(level, deadline)?;
        self.count(level, Count::Asked);
        Ok(LevelPermit::timed(self, level, now, end))
    }

    /// Returns the current time and the end of the level's time.
    fn time_of(&self, level: Level, deadline: Instant) -> Result<(Instant, Instant), NoAnswer> {
        let (clock, limits) = (self.clock(), &self.limits);
        let now = clock.now();
        let span = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        let inherited = Scope::current().deadline_on(clock);
        let end = deadline.max(now.after(span(&limits.grace))).min(inherited);
        if end <= now && level != Level::LocalCache {
            return Err(self.missed(level, Count::Skipped, NoAnswer::OutOfTime));
        }
        let own = now.after(span(&limits.timeouts[level as usize]));
        Ok((now, own.min(end)))
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
        tracing::debug!(target: "resilient_runtime::fallback", fallback = %self.core.name, level, why, "fallback level returned no result");
        self.core.publish(Self::KIND, EventKind::FallbackMissed { level, why });
        none
    }

    /// Counts a lookup in the built-in local cache.
    pub(crate) fn look(&self, level: Level) {
        self.count(level, Count::Asked);
    }

    pub(crate) fn served(&self, level: Level) {
        self.count(level, Count::Served);
        let log_limit = &self.served_log[level as usize];
        let level = level.as_str();
        log_limited!(
            log_limit, self.clock(), WARN, target: "resilient_runtime::fallback",
            fallback = %self.core.name, level, "call served by a fallback level"
        );
        self.core.publish(Self::KIND, EventKind::FallbackServed { level });
    }

    pub(crate) fn all_failed(&self) {
        self.all_failed.fetch_add(1, Ordering::Relaxed);
        log_limited!(
            self.failed_log, self.clock(), WARN, target: "resilient_runtime::fallback",
            fallback = %self.core.name, "every fallback level failed"
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

    fn enter_distributed(&mut self) -> Result<LevelPermit<'f>, NoAnswer> {
        Fallback::enter_distributed(self, Scope::current().deadline_on(self.clock()))
    }

    fn look(&mut self, level: Level) {
        Fallback::look(self, level);
    }

    fn missed(&mut self, none: NoAnswer) {
        self.distributed_missed(none);
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
        Some("a fallback cannot be disabled: without it a failed call might have no value to return");
    const REFUSALS: &[RejectionKind] = &[RejectionKind::FallbackFailed];

    fn create(core: Core<Config>) -> Self {
        Self::with_stores(core, Arc::default())
    }

    fn check_standalone(config: &Config, error: &mut ConfigError) {
        let store = &config.distributed_cache_store;
        let allowed = "named stores exist only in a registry: leave it unset";
        error.require(store.is_none(), "distributed_cache_store", store.clone(), allowed);
    }

    fn notes(&self) -> Vec<String> {
        let problem = |problem| format!("the distributed cache is skipped: {problem}");
        self.store_problem().map(problem).into_iter().collect()
    }
}

impl Fallback {
    pub(crate) fn with_stores(core: Core<Config>, stores: Arc<NamedStores>) -> Self {
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
            distributed: OnceLock::new(),
            stores,
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
        if let Some(distributed) = self.distributed.get() {
            distributed.apply(config);
        }
    }

    fn stats(&self) -> Stats {
        let level = |level: Level| (level, self.levels[level as usize].snapshot());
        Stats {
            levels: Level::ALL.into_iter().map(level).collect(),
            all_failed: self.all_failed.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed).into(),
            cache: self.cache.get().map(|cache| cache.stats()).unwrap_or_default(),
            distributed_cache: self.distributed.get().map(|cache| cache.stats()),
        }
    }

    /// Resets the counters, and forgets all cached values in memory. Running levels and the content of a store are not
    /// affected.
    fn reset(&self) {
        self.levels.iter().for_each(Counters::reset);
        self.all_failed.store(0, Ordering::Relaxed);
        if let Some(cache) = self.cache.get() {
            cache.clear();
        }
        if let Some(distributed) = self.distributed.get() {
            distributed.reset();
        }
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
