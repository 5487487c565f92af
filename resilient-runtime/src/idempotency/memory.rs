//! Records in this process's memory: fast, and gone with it.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::clients::{BYTES as OVERHEAD, Clients, Share, bytes_of};
use super::record::{Record, Time};
use super::store::{Answer, Claim, Claimed, ClientId, IdempotencyStore, Owner, StoreError, ready};
use crate::clock::{Clock, nanos};
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// Locks apart from each other; a power of two.
const SHARDS: usize = 16;
/// Records that are over, and are forgotten with each claim at most.
const SWEPT: usize = 8;
/// What all records may take unless it is said otherwise.
const BYTES: usize = 64 << 20;
/// What part of the room one client may take, and how many records and bytes whatever that is.
const PART: usize = 10;
/// The room that a client must have for the answer of a call that begins.
const ANSWER: usize = 64 << 10;
const LEAST: Share = Share { records: 1000, bytes: 128 << 10 };

/// Keeps records in memory, as many as it is told, and 64 MiB of them unless it is [told otherwise](Self::most_bytes).
/// Within its time a record is never dropped to make room: to forget one would be to carry a call out twice. When the
/// store is full of live records it refuses new keys, until some are over.
///
/// Where keys are those of [clients](ClientId), each has at most a tenth of the records and of the bytes (at least 1000
/// records and 128 KiB), and all of them together have nine tenths: the last one is for the program's own calls. A client
/// that has its share is refused new keys, and nobody else is. An answer for which there is no room in the share of its
/// client is not saved: its caller is [told](crate::unsaved), and its record stays as that of a call whose answer is lost.
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::{Registry, RejectionKind, Rejection, idempotency::{Fingerprint, MemoryStore}};
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
    most_bytes: usize,
    /// Records in all shards. Relaxed: a bound, that calls at the same time may pass by one each.
    records: AtomicUsize,
    /// And what they take; likewise.
    bytes: AtomicUsize,
    clients: Arc<Mutex<Clients>>,
}

#[derive(Debug)]
struct Shard {
    records: HashMap<Arc<str>, Record>,
    /// When each is over, the soonest first.
    order: BTreeSet<(Time, Arc<str>)>,
    bytes: usize,
    /// Those of all shards. Locked behind the shard, never before it.
    clients: Arc<Mutex<Clients>>,
}

impl MemoryStore {
    /// An empty store for up to `limit` records, on the clock of the registry that will use it.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, idempotency::MemoryStore};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 1000).is_empty());
    /// ```
    pub fn new(clock: Clock, limit: usize) -> Self {
        let clients = Arc::default();
        let shards = std::array::from_fn(|_| Mutex::new(Shard::new(&clients)));
        let [records, bytes] = [(); 2].map(|()| AtomicUsize::new(0));
        Self { clock, shards, hasher: RandomState::new(), limit, most_bytes: BYTES, records, bytes, clients }
    }

    /// For records of up to so many bytes, keys and answers; 64 MiB where nothing is said. Calls of the program itself
    /// that run when it is full may still add their answers.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, MemoryStore}};
    ///
    /// let registry = Registry::new();
    /// let once = registry.idempotency("thumbnail");
    /// once.set_store(Arc::new(MemoryStore::new(registry.clock().clone(), 1000).most_bytes(4096)));
    /// let draw = |key| once.call(key, Fingerprint::NONE, || Some("x".repeat(4096)));
    /// assert!(draw("a.png").is_some());
    /// assert!(draw("b.png").is_none(), "it is full");
    /// assert!(draw("a.png").is_some(), "and has forgotten nothing");
    /// ```
    #[must_use]
    pub fn most_bytes(self, bytes: usize) -> Self {
        Self { most_bytes: bytes, ..self }
    }

    /// Records that are kept, those included that are over and were not swept yet.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use resilient_runtime::{clock::Clock, idempotency::{Claim, Fingerprint, IdempotencyStore, MemoryStore, Owner}};
    ///
    /// let store = MemoryStore::new(Clock::system(), 1000);
    /// # let second = Duration::from_secs(1);
    /// # let (fingerprint, owner) = (Fingerprint::NONE, Owner(1));
    /// let claim = Claim { key: "order 7".into(), fingerprint, operation: "", owner, lease: second, lost_for: second, takes_over: false, client: None };
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
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, MemoryStore}};
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

    #[cfg(all(test, not(resilient_loom)))]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Asks the shard of a key, and keeps count.
    #[allow(clippy::cast_possible_truncation)] // some bits of a hash
    fn with<R>(&self, key: &str, ask: impl FnOnce(&mut Shard, Time) -> R) -> R {
        let at = self.hasher.hash_one(key) as usize & (SHARDS - 1);
        self.with_shard(&self.shards[at], ask)
    }

    fn with_shard<R>(&self, shard: &Mutex<Shard>, ask: impl FnOnce(&mut Shard, Time) -> R) -> R {
        let mut shard = shard.lock();
        let before = (shard.records.len(), shard.bytes);
        // Read under the lock, so that the time of a shard does not go back.
        let now = self.clock.now().as_nanos();
        let answer = ask(&mut shard, now);
        // They wrap around as what is added does.
        self.records.fetch_add(shard.records.len().wrapping_sub(before.0), Ordering::Relaxed);
        self.bytes.fetch_add(shard.bytes.wrapping_sub(before.1), Ordering::Relaxed);
        answer
    }

    /// Whether there is room for another record.
    fn has_room(&self, client: Option<ClientId>) -> bool {
        let has_space = self.len() < self.limit && self.bytes.load(Ordering::Relaxed) < self.most_bytes;
        has_space && client.is_none_or(|client| self.admits(&self.clients.lock(), client))
    }

    /// Whether a client may begin another call: there is room for a large answer, so that it can be saved.
    fn admits(&self, clients: &Clients, client: ClientId) -> bool {
        self.fits(clients, client, OVERHEAD + ANSWER.min(self.part().bytes / 2))
    }

    fn part(&self) -> Share {
        Share {
            records: (self.limit / PART).max(LEAST.records).min(self.limit),
            bytes: (self.most_bytes / PART).max(LEAST.bytes).min(self.most_bytes),
        }
    }

    /// Whether a client may have so many bytes more, in another record.
    fn fits(&self, clients: &Clients, client: ClientId, bytes: usize) -> bool {
        let of =
            |share: Share, most: Share| share.records < most.records && share.bytes + bytes <= most.bytes;
        let all = Share {
            records: self.limit - self.limit / PART,
            bytes: self.most_bytes - self.most_bytes / PART,
        };
        of(clients.share(client), self.part()) && of(clients.all(), all)
    }

    /// Forgets what is over; whether there was something.
    fn make_room(&self) -> bool {
        let before = self.len();
        self.shards.iter().for_each(|shard| self.with_shard(shard, Shard::sweep));
        self.len() < before
    }

    #[cold]
    fn full(&self, client: Option<ClientId>) -> StoreError {
        let clients = self.clients.lock();
        let own = client.filter(|client| !self.admits(&clients, *client));
        let own = own.map(|client| (clients.share(client).records, clients.next(client)));
        drop(clients);
        let soonest = || {
            let firsts = self.shards.iter().filter_map(|shard| Some(shard.lock().order.first()?.0));
            (self.len(), firsts.min())
        };
        // One that has nothing yet is refused because all clients have their part.
        let (records, next) = own.filter(|(records, _)| *records > 0).unwrap_or_else(soonest);
        let now = self.clock.now().as_nanos();
        let retry_after = next.map(|over| Duration::from_nanos(over.saturating_sub(now)));
        StoreError::Full { records, retry_after }
    }
}

impl Shard {
    fn new(clients: &Arc<Mutex<Clients>>) -> Self {
        Self { records: HashMap::new(), order: BTreeSet::new(), bytes: 0, clients: Arc::clone(clients) }
    }

    fn sweep(&mut self, now: Time) {
        for _ in 0..SWEPT {
            let over = self.order.first().filter(|(over, _)| *over <= now);
            let Some((_, key)) = over.cloned() else { return };
            self.take(&key);
        }
    }

    fn put(&mut self, key: Arc<str>, record: Record) {
        self.order.insert((record.over, Arc::clone(&key)));
        self.bytes += bytes_of(&key, &record);
        if record.client.is_some() {
            self.clients.lock().put(&key, &record);
        }
        self.records.insert(key, record);
    }

    fn take(&mut self, key: &str) -> Option<(Arc<str>, Record)> {
        let (key, record) = self.records.remove_entry(key)?;
        self.order.remove(&(record.over, Arc::clone(&key)));
        self.bytes -= bytes_of(&key, &record);
        if record.client.is_some() {
            self.clients.lock().take(&key, &record);
        }
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

    /// Keeps an answer, if its client has room for it; else the claim stays, and its lease is over.
    fn complete(
        &mut self,
        store: &MemoryStore,
        (key, owner): (&str, Owner),
        answer: Vec<u8>,
        (now, ttl): (Time, Time),
    ) -> Result<bool, StoreError> {
        let Some((key, mut record)) = self.take_from(key, owner, now) else { return Ok(false) };
        let fits = record.client.is_none_or(|client| {
            let bytes = bytes_of(&key, &record) + answer.len();
            store.fits(&self.clients.lock(), client, bytes)
        });
        if fits {
            record.complete(answer, now, ttl);
        } else {
            record.lose(now);
        }
        if !record.is_over(now) {
            self.put(key, record);
        }
        if fits { Ok(true) } else { Err(StoreError::Full { records: store.len(), retry_after: None }) }
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
        loop {
            let has_room = self.has_room(claim.client);
            match self.with(&claim.key, |shard, now| shard.claim(&claim, now, has_room)) {
                Some(claimed) => return ready(Ok(claimed)),
                // Only now: who is there already needs none.
                None if self.make_room() => {}
                None => return ready(Err(self.full(claim.client))),
            }
        }
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
        mut answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        // What it has grown to is not counted.
        answer.shrink_to_fit();
        let completed =
            self.with(key, |shard, now| shard.complete(self, (key, owner), answer, (now, nanos(ttl))));
        ready(completed)
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        ready(Ok(self.with(key, |shard, now| shard.take_from(key, owner, now).is_some())))
    }

    fn lose<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        ready(Ok(self.with(key, |shard, now| shard.change(key, owner, now, |record| record.lose(now)))))
    }
}
