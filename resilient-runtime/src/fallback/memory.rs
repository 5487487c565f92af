//! A store for the distributed cache in the memory of one process.

use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, SHARDS};
use crate::clock::Clock;
use crate::store::cache::{CacheEntry, CacheStore};
use crate::store::{Answer, Backend, ready};

/// A [`CacheStore`] in the memory of one process, for tests and for a program that runs only once.
///
/// Several registries can share it. If it is full, it removes a value that was not used for long.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::clock::ManualClock;
/// use resilient_runtime::fallback::{CacheEntry, CacheStore, MemoryCache};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let time = ManualClock::new();
/// let cache = MemoryCache::new(time.clock(), 1000);
/// let rate = CacheEntry::new(b"1.1".to_vec(), Duration::ZERO);
/// cache.put("EUR", rate, Duration::from_mins(1)).await.unwrap();
/// time.advance(Duration::from_secs(5));
/// assert_eq!(cache.get("EUR").await.unwrap().unwrap().age, Duration::from_secs(5));
/// time.advance(Duration::from_mins(1));
/// assert_eq!(cache.get("EUR").await, Ok(None));
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryCache {
    clock: Clock,
    values: Cache,
}

#[derive(Clone)]
struct Value {
    bytes: Arc<[u8]>,
    /// Its age when it was stored.
    age: Duration,
    ttl: Duration,
}

impl MemoryCache {
    /// Creates an empty store for `max_entries` values, at least 16.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, fallback::MemoryCache};
    ///
    /// assert!(MemoryCache::new(Clock::system(), 1000).is_empty());
    /// ```
    pub fn new(clock: Clock, max_entries: u32) -> Self {
        let values = Cache::new();
        values.resize(max_entries.max(SHARDS));
        Self { clock, values }
    }

    /// Returns the number of values, with those that have expired and are not removed yet.
    ///
    /// ```
    /// # use resilient_runtime::{clock::Clock, fallback::MemoryCache};
    /// assert_eq!(MemoryCache::new(Clock::system(), 1000).len(), 0);
    /// ```
    pub fn len(&self) -> u64 {
        self.values.stats().entries
    }

    /// Returns whether there is no value.
    ///
    /// ```
    /// # use resilient_runtime::{clock::Clock, fallback::MemoryCache};
    /// assert!(MemoryCache::new(Clock::system(), 1000).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Backend for MemoryCache {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn cache(&self) -> Option<&dyn CacheStore> {
        Some(self)
    }
}

impl CacheStore for MemoryCache {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<CacheEntry>> {
        let found = self.values.last_good::<Value>(self.values.hash(key), self.clock.now(), Duration::MAX);
        let live = found.ok().filter(|(value, since)| *since < value.ttl);
        let entry = |(value, since): (Value, _)| {
            CacheEntry::new(value.bytes.to_vec(), value.age.saturating_add(since))
        };
        ready(Ok(live.map(entry)))
    }

    fn put<'a>(&'a self, key: &'a str, entry: CacheEntry, ttl: Duration) -> Answer<'a, ()> {
        let key = self.values.hash(key);
        if ttl.is_zero() {
            self.values.remove(key);
        } else {
            self.values.store(
                key,
                Value { bytes: entry.value.into(), age: entry.age, ttl },
                self.clock.now(),
            );
        }
        ready(Ok(()))
    }

    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        let key = self.values.hash(key);
        let found = self.values.last_good::<Value>(key, self.clock.now(), Duration::MAX);
        self.values.remove(key);
        ready(Ok(found.is_ok_and(|(value, since)| since < value.ttl)))
    }
}
