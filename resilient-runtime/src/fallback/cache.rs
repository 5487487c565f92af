//! The built-in local cache: stores the last good value of each key.
//!
//! The cache has sixteen shards. Each has its own lock and holds a sixteenth of the entries. No user code runs while a
//! lock is held.
//!
//! The clock algorithm selects the entry to evict: the oldest one that has not been stored again or served since the
//! hand last passed it (F. Corbató, *A paging experiment with the Multics system*, 1968).

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::level_permit::NoAnswer;
use super::stats::CacheStats;
use crate::clock::Instant;
use crate::key::KeyHasher;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};

pub(super) const SHARDS: u32 = 16;

type CachedValue = Arc<dyn Any + Send + Sync>;

#[derive(Debug)]
pub(super) struct Cache {
    hasher: KeyHasher,
    shards: [Mutex<Shard>; SHARDS as usize],
    /// Maximum number of entries in one shard.
    limit: AtomicU32,
    stored: AtomicU64,
    evicted: AtomicU64,
    stale: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<u128, Entry, BuildHasherDefault<AlreadyHashed>>,
    /// All keys of `entries`. The next candidate for eviction is first.
    order: VecDeque<u128>,
}

#[derive(Debug)]
struct Entry {
    value: CachedValue,
    stored: Instant,
    /// Stored again or served since the hand last passed.
    is_used: bool,
}

/// A hasher that returns the upper half of a key, which is already a hash. The lower half selects the shard.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    #[allow(clippy::cast_possible_truncation)] // the upper half
    fn write_u128(&mut self, key: u128) {
        self.0 = (key >> 64) as u64;
    }

    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            hasher: KeyHasher::default(),
            shards: std::array::from_fn(|_| Mutex::default()),
            limit: AtomicU32::new(0),
            stored: zero(),
            evicted: zero(),
            stale: zero(),
        }
    }

    pub(super) fn hash<K: Hash + ?Sized>(&self, key: &K) -> u128 {
        self.hasher.hash(key)
    }

    #[allow(clippy::cast_possible_truncation)] // some bits of a hash
    fn shard(&self, key: u128) -> &Mutex<Shard> {
        &self.shards[key as usize % SHARDS as usize]
    }

    pub(super) fn resize(&self, max_entries: u32) {
        let limit = max_entries / SHARDS;
        self.limit.store(limit, Ordering::Relaxed);
        for shard in &self.shards {
            let gone = shard.lock().shrink(limit as usize);
            self.evicted.fetch_add(gone.len() as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn store<V: Any + Send + Sync>(&self, key: u128, value: V, now: Instant) {
        self.stored.fetch_add(1, Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed) as usize;
        let mut shard = self.shard(key).lock();
        // Evict first: the new entry is not marked as used, and would be evicted itself.
        let is_full = shard.entries.len() >= limit && !shard.entries.contains_key(&key);
        let gone = if is_full { shard.shrink(limit.saturating_sub(1)) } else { Vec::new() };
        let replaced = shard.store(key, value, now);
        drop(shard);
        self.evicted.fetch_add(gone.len() as u64, Ordering::Relaxed);
        drop(replaced);
    }

    /// Returns the last stored value, unless it is older than `max_age`.
    pub(super) fn last_good<V: Any + Clone>(
        &self,
        key: u128,
        now: Instant,
        max_age: Duration,
    ) -> Result<(V, Duration), NoAnswer> {
        let mut shard = self.shard(key).lock();
        let Some(entry) = shard.entries.get_mut(&key) else { return Err(NoAnswer::Empty) };
        let age = now.since(entry.stored);
        if age > max_age {
            // The entry is evicted when the hand next passes.
            let old = std::mem::replace(&mut entry.value, Arc::new(()));
            entry.is_used = false;
            drop(shard);
            drop(old);
            self.stale.fetch_add(1, Ordering::Relaxed);
            return Err(NoAnswer::Stale);
        }
        entry.is_used = true;
        let kept = Arc::clone(&entry.value);
        drop(shard);
        kept.downcast_ref::<V>().map(|value| (value.clone(), age)).ok_or(NoAnswer::Empty)
    }

    pub(super) fn remove(&self, key: u128) {
        let mut shard = self.shard(key).lock();
        let gone = shard.entries.remove(&key);
        if gone.is_some() {
            shard.order.retain(|other| *other != key);
        }
        drop(shard);
        drop(gone);
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            // Drop the values after the lock is released.
            let gone = std::mem::take(&mut *shard.lock());
            drop(gone);
        }
        for counter in [&self.stored, &self.evicted, &self.stale] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            entries: self.shards.iter().map(|shard| shard.lock().entries.len() as u64).sum(),
            stored: read(&self.stored),
            evicted: read(&self.evicted),
            stale: read(&self.stale),
        }
    }
}

/// The replaced value, which is dropped after the lock is released.
enum Replaced<V> {
    Value(#[allow(dead_code)] V),
    CachedValue(#[allow(dead_code)] CachedValue),
    Nothing,
}

impl Shard {
    fn store<V: Any + Send + Sync>(&mut self, key: u128, value: V, now: Instant) -> Replaced<V> {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.stored = now;
            entry.is_used = true;
            // Replace it in place if no reader holds it. This does not allocate.
            return match Arc::get_mut(&mut entry.value).and_then(|kept| kept.downcast_mut::<V>()) {
                Some(place) => Replaced::Value(std::mem::replace(place, value)),
                None => Replaced::CachedValue(std::mem::replace(&mut entry.value, Arc::new(value))),
            };
        }
        self.entries.insert(key, Entry { value: Arc::new(value), stored: now, is_used: false });
        self.order.push_back(key);
        Replaced::Nothing
    }

    /// Evicts entries down to `limit` and returns their values. Passes each entry at most twice.
    fn shrink(&mut self, limit: usize) -> Vec<CachedValue> {
        let mut gone = Vec::new();
        while self.entries.len() > limit {
            let Some(key) = self.order.pop_front() else { break };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.is_used && self.order.len() >= limit.max(1) => {
                    entry.is_used = false;
                    self.order.push_back(key);
                }
                _ => gone.extend(self.entries.remove(&key).map(|entry| entry.value)),
            }
        }
        gone
    }
}
