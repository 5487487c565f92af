//! Records in this process's memory: fast, and gone with it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::record::{Record, Time};
use super::store::{Answer, Claim, Claimed, IdempotencyStore, Owner, StoreError, ready};
use crate::clock::{Clock, nanos};
use crate::sync::Mutex;

/// Locks apart from each other; a power of two.
const SHARDS: usize = 16;
/// Records that are over, and are forgotten with each claim at most.
const SWEPT: usize = 8;

/// Keeps records in memory, as many as it is told. When it is full of live ones it refuses new keys: to forget one would
/// be to carry a call out twice.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: [Mutex<Shard>; SHARDS],
    hasher: std::hash::RandomState,
    limit: usize,
}

#[derive(Debug, Default)]
struct Shard {
    records: HashMap<String, Record>,
    /// When each is over, the soonest first.
    order: BTreeSet<(Time, String)>,
}

impl MemoryStore {
    /// An empty store for up to `limit` records, on the clock of the registry that will use it.
    pub fn new(clock: Clock, limit: usize) -> Self {
        let limit = limit.div_ceil(SHARDS).max(1);
        Self { clock, shards: Default::default(), hasher: std::hash::RandomState::new(), limit }
    }

    /// Records that are kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().records.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[allow(clippy::cast_possible_truncation)] // some bits of a hash
    fn with<R>(&self, key: &str, ask: impl FnOnce(&mut Shard, Time) -> R) -> R {
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, key);
        let mut shard = self.shards[hash as usize & (SHARDS - 1)].lock();
        let now = self.clock.now().as_nanos();
        ask(&mut shard, now)
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

    fn put(&mut self, key: &str, record: Record) {
        self.order.insert((record.over, key.to_owned()));
        if let Some(before) = self.records.insert(key.to_owned(), record)
            && let Some(after) = self.records.get(key)
            && before.over != after.over
        {
            self.order.remove(&(before.over, key.to_owned()));
        }
    }

    fn take(&mut self, key: &str) -> Option<Record> {
        let record = self.records.remove(key)?;
        self.order.remove(&(record.over, key.to_owned()));
        Some(record)
    }

    /// Changes the record that `owner` holds; whether it does.
    fn change(&mut self, key: &str, owner: Owner, now: Time, change: impl FnOnce(&mut Record)) -> bool {
        if !self.records.get(key).is_some_and(|record| record.is_held_by(owner, now)) {
            return false;
        }
        let Some(mut record) = self.take(key) else { return false };
        change(&mut record);
        if !record.is_over(now) {
            self.put(key, record);
        }
        true
    }

    fn claim(&mut self, claim: &Claim, now: Time, limit: usize) -> Result<Claimed, StoreError> {
        self.sweep(now);
        let found = self.records.get(&claim.key).filter(|record| !record.is_over(now));
        let answer = found.map_or(Claimed::Acquired, |record| record.answer(claim, now));
        if answer == Claimed::Acquired {
            if self.records.len() >= limit && !self.records.contains_key(&claim.key) {
                return Err(StoreError::Full { records: self.records.len() });
            }
            self.put(&claim.key, Record::claimed(claim, now));
        }
        Ok(answer)
    }
}

impl IdempotencyStore for MemoryStore {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        ready(self.with(&claim.key, |shard, now| shard.claim(&claim, now, self.limit)))
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
        let abandoned = self.with(key, |shard, now| {
            let is_held = shard.records.get(key).is_some_and(|record| record.is_held_by(owner, now));
            is_held && shard.take(key).is_some()
        });
        ready(Ok(abandoned))
    }
}
