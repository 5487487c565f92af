//! Records in this process's memory: fast, and gone with it.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::record::{Record, Time};
use super::store::{Answer, Claim, Claimed, IdempotencyStore, Owner, StoreError, ready};
use crate::clock::{Clock, nanos};
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// Locks apart from each other; a power of two.
const SHARDS: usize = 16;
/// Records that are over, and are forgotten with each claim at most.
const SWEPT: usize = 8;

/// Keeps records in memory, as many as it is told. When it is full of live ones it refuses new keys: to forget one would
/// be to carry a call out twice.
///
/// ```
/// use std::sync::Arc;
/// use resilient::{Registry, RejectionKind, Rejection, idempotency::{Fingerprint, MemoryStore}};
///
/// let registry = Registry::new();
/// let once = registry.idempotency("charge");
/// once.set_store(Arc::new(MemoryStore::new(registry.clock().clone(), 1)));
/// let charge = |key: &str| once.call(key, Fingerprint::NONE, || Ok::<u32, Rejection>(995));
/// assert!(charge("order 7").is_ok());
/// assert_eq!(charge("order 8").unwrap_err().kind(), RejectionKind::StoreUnavailable, "it is full");
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    limit: usize,
    /// Records in all shards. Relaxed: a bound, that calls at the same time may pass by one each.
    records: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    records: HashMap<Arc<str>, Record>,
    /// When each is over, the soonest first.
    order: BTreeSet<(Time, Arc<str>)>,
}

impl MemoryStore {
    /// An empty store for up to `limit` records, on the clock of the registry that will use it.
    ///
    /// ```
    /// use resilient::{clock::Clock, idempotency::MemoryStore};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 1000).is_empty());
    /// ```
    pub fn new(clock: Clock, limit: usize) -> Self {
        let shards = Default::default();
        Self { clock, shards, hasher: RandomState::new(), limit, records: AtomicUsize::new(0) }
    }

    /// Records that are kept, those included that are over and were not swept yet.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use resilient::{clock::Clock, idempotency::{Claim, Fingerprint, IdempotencyStore, MemoryStore, Owner}};
    ///
    /// let store = MemoryStore::new(Clock::system(), 1000);
    /// # let second = Duration::from_secs(1);
    /// # let (fingerprint, owner) = (Fingerprint::NONE, Owner(1));
    /// let claim = Claim { key: "order 7".into(), fingerprint, owner, lease: second, lost_for: second, takes_over: false };
    /// drop(store.claim(claim));
    /// assert_eq!(store.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient::{Registry, idempotency::{Fingerprint, MemoryStore}};
    ///
    /// let registry = Registry::new();
    /// let store = Arc::new(MemoryStore::new(registry.clock().clone(), 10));
    /// assert!(store.is_empty());
    /// registry.set_idempotency_store("mine", store.clone());
    /// assert!(registry.validate().is_ok(), "told, and not used yet");
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks the shard of a key, and keeps count.
    #[allow(clippy::cast_possible_truncation)] // some bits of a hash
    fn with<R>(&self, key: &str, ask: impl FnOnce(&mut Shard, Time) -> R) -> R {
        let at = self.hasher.hash_one(key) as usize & (SHARDS - 1);
        self.with_shard(&self.shards[at], ask)
    }

    fn with_shard<R>(&self, shard: &Mutex<Shard>, ask: impl FnOnce(&mut Shard, Time) -> R) -> R {
        let mut shard = shard.lock();
        let before = shard.records.len();
        // Read under the lock, so that the time of a shard does not go back.
        let now = self.clock.now().as_nanos();
        let answer = ask(&mut shard, now);
        let after = shard.records.len();
        if after > before {
            self.records.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.records.fetch_sub(before - after, Ordering::Relaxed);
        }
        answer
    }

    /// Whether there is room for another record, once those that are over have made some.
    fn has_room(&self) -> bool {
        if self.len() >= self.limit {
            self.shards.iter().for_each(|shard| self.with_shard(shard, Shard::sweep));
        }
        self.len() < self.limit
    }
}

impl Shard {
    fn sweep(&mut self, now: Time) {
        for _ in 0..SWEPT {
            if self.order.first().is_none_or(|(over, _)| *over > now) {
                return;
            }
            if let Some((_, key)) = self.order.pop_first() {
                self.records.remove(&key);
            }
        }
    }

    fn put(&mut self, key: Arc<str>, record: Record) {
        self.order.insert((record.over, Arc::clone(&key)));
        self.records.insert(key, record);
    }

    fn take(&mut self, key: &str) -> Option<(Arc<str>, Record)> {
        let (key, record) = self.records.remove_entry(key)?;
        self.order.remove(&(record.over, Arc::clone(&key)));
        Some((key, record))
    }

    /// The record that `owner` holds.
    fn take_from(&mut self, key: &str, owner: Owner, now: Time) -> Option<(Arc<str>, Record)> {
        let record = self.records.get(key)?;
        if record.is_over(now) || !record.is_held_by(owner) { None } else { self.take(key) }
    }

    /// Changes the record that `owner` holds; whether it does.
    fn change(&mut self, key: &str, owner: Owner, now: Time, change: impl FnOnce(&mut Record)) -> bool {
        let Some((key, mut record)) = self.take_from(key, owner, now) else { return false };
        change(&mut record);
        if !record.is_over(now) {
            self.put(key, record);
        }
        true
    }

    /// `None` where a new record would be one too many.
    fn claim(&mut self, claim: &Claim, now: Time, has_room: bool) -> Option<Claimed> {
        self.sweep(now);
        let found = self.records.get(&*claim.key);
        let answer =
            found.filter(|record| !record.is_over(now)).map_or(Claimed::Acquired, |it| it.answer(claim, now));
        if answer == Claimed::Acquired {
            if found.is_none() && !has_room {
                return None;
            }
            let key = self.take(&claim.key).map_or_else(|| Arc::from(&*claim.key), |(key, _)| key);
            self.put(key, Record::claimed(claim, now));
        }
        Some(answer)
    }
}

impl IdempotencyStore for MemoryStore {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        let has_room = self.has_room();
        let claimed = self.with(&claim.key, |shard, now| shard.claim(&claim, now, has_room));
        ready(claimed.ok_or_else(|| StoreError::Full { records: self.len() }))
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        let renewed = self
            .with(key, |shard, now| shard.change(key, owner, now, |record| record.renew(now, nanos(lease))));
        ready(Ok(renewed))
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        let completed = self.with(key, |shard, now| {
            shard.change(key, owner, now, |record| record.complete(answer, now, nanos(ttl)))
        });
        ready(Ok(completed))
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        ready(Ok(self.with(key, |shard, now| shard.take_from(key, owner, now).is_some())))
    }
}
