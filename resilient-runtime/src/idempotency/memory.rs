//! A store in the memory of the process: fast, but not durable.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::clients::{BYTES as OVERHEAD, Clients, Share, bytes_of};
use super::record::{Record, Time};
use crate::clock::{Clock, nanos};
use crate::store::idempotency::{Claim, Claimed, ClientId, IdempotencyStore, Owner};
use crate::store::{Answer, Backend, StoreError, ready};
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// Number of independent locks; a power of two.
const SHARDS: usize = 16;
/// Maximum number of expired records that one claim removes.
const SWEPT: usize = 8;
/// Default limit for the bytes of all records.
const BYTES: usize = 64 << 20;
/// A client's share is this fraction of the capacity, but at least [`LEAST`].
const PART: usize = 10;
/// Bytes that a client must have free for the result before its call may start.
const ANSWER: usize = 64 << 10;
/// Minimum share of a client.
const LEAST: Share = Share { records: 1000, bytes: 128 << 10 };

/// Stores records in memory, up to a number of records and of bytes.
///
/// The byte limit is 64 MiB unless [set otherwise](Self::most_bytes). A record is never dropped before it expires:
/// without it, its call could be executed twice. When the store is full of live records, it rejects new keys until some
/// expire.
///
/// For keys that belong to [clients](ClientId), each client gets at most a tenth of the records and bytes (at least
/// 1000 records and 128 KiB). All clients together get nine tenths; the rest is reserved for the program's own calls. A
/// client that has used up its share is rejected for new keys; other clients are not affected. A result that does not
/// fit into the share of its client is not stored: [`unsaved`](crate::unsaved) reports it to the caller, and the
/// outcome of the call is recorded as unknown.
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
    /// Number of records in all shards. Relaxed: concurrent calls can exceed the limit by one each.
    records: AtomicUsize,
    /// Bytes of all records. Relaxed for the same reason.
    bytes: AtomicUsize,
    clients: Arc<Mutex<Clients>>,
}

#[derive(Debug)]
struct Shard {
    records: HashMap<Arc<str>, Record>,
    /// Expiry times, earliest first.
    order: BTreeSet<(Time, Arc<str>)>,
    bytes: usize,
    /// Shared by all shards. Locked after the shard, never before it.
    clients: Arc<Mutex<Clients>>,
}

impl MemoryStore {
    /// Creates an empty store for up to `limit` records.
    ///
    /// Pass the clock of the registry that uses the store.
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

    /// Sets the limit for the bytes of all records, keys and results. Default: 64 MiB.
    ///
    /// The program's own calls that are running when the store is full can still store their results.
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
    /// assert!(draw("a.png").is_some(), "existing records are still replayed");
    /// ```
    #[must_use]
    pub fn most_bytes(self, bytes: usize) -> Self {
        Self { most_bytes: bytes, ..self }
    }

    /// Returns the number of records.
    ///
    /// It includes expired records that have not been removed yet.
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

    /// Whether there are no records.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, MemoryStore}};
    ///
    /// let registry = Registry::new();
    /// let store = Arc::new(MemoryStore::new(registry.clock().clone(), 10));
    /// assert!(store.is_empty());
    /// registry.use_store("mine", store.clone());
    /// assert!(registry.validate().is_ok(), "registered, but not used yet");
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cfg(all(test, not(resilient_loom)))]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Runs `ask` on the shard of a key and updates the totals.
    #[allow(clippy::cast_possible_truncation)] // some bits of a hash
    fn with<R>(&self, key: &str, ask: impl FnOnce(&mut Shard, Time) -> R) -> R {
        let at = self.hasher.hash_one(key) as usize & (SHARDS - 1);
        self.with_shard(&self.shards[at], ask)
    }

    fn with_shard<R>(&self, shard: &Mutex<Shard>, ask: impl FnOnce(&mut Shard, Time) -> R) -> R {
        let mut shard = shard.lock();
        let before = (shard.records.len(), shard.bytes);
        // Read under the lock, so that time does not go back within a shard.
        let now = self.clock.now().as_nanos();
        let answer = ask(&mut shard, now);
        // A negative difference wraps around, and so does the addition.
        self.records.fetch_add(shard.records.len().wrapping_sub(before.0), Ordering::Relaxed);
        self.bytes.fetch_add(shard.bytes.wrapping_sub(before.1), Ordering::Relaxed);
        answer
    }

    /// Whether there is capacity for another record.
    fn has_room(&self, client: Option<ClientId>) -> bool {
        let has_space = self.len() < self.limit && self.bytes.load(Ordering::Relaxed) < self.most_bytes;
        has_space && client.is_none_or(|client| self.admits(&self.clients.lock(), client))
    }

    /// Whether a client may start another call. It needs free bytes for a large result.
    fn admits(&self, clients: &Clients, client: ClientId) -> bool {
        self.fits(clients, client, OVERHEAD + ANSWER.min(self.part().bytes / 2))
    }

    fn part(&self) -> Share {
        Share {
            records: (self.limit / PART).max(LEAST.records).min(self.limit),
            bytes: (self.most_bytes / PART).max(LEAST.bytes).min(self.most_bytes),
        }
    }

    /// Whether a client may have another record of `bytes` bytes.
    fn fits(&self, clients: &Clients, client: ClientId, bytes: usize) -> bool {
        let of =
            |share: Share, most: Share| share.records < most.records && share.bytes + bytes <= most.bytes;
        let all = Share {
            records: self.limit - self.limit / PART,
            bytes: self.most_bytes - self.most_bytes / PART,
        };
        of(clients.share(client), self.part()) && of(clients.all(), all)
    }

    /// Removes expired records. Returns whether there were any.
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
        // A client without records is rejected because all clients together have used up their share.
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

    /// Takes out the record if it is claimed by `owner`.
    fn take_from(&mut self, key: &str, owner: Owner, now: Time) -> Option<(Arc<str>, Record)> {
        let record = self.records.get(key)?;
        if record.is_over(now) || !record.is_held_by(owner) { None } else { self.take(key) }
    }

    /// Changes the record if it is claimed by `owner`. Returns whether it is.
    fn change(&mut self, key: &str, owner: Owner, now: Time, change: impl FnOnce(&mut Record)) -> bool {
        let Some((key, mut record)) = self.take_from(key, owner, now) else { return false };
        change(&mut record);
        if !record.is_over(now) {
            self.put(key, record);
        }
        true
    }

    /// Stores a result if its client has capacity for it. Otherwise the claim stays and its lease expires.
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

    /// Returns `None` if a new record is needed and there is no capacity for it.
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

impl Backend for MemoryStore {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn idempotency(&self) -> Option<&dyn IdempotencyStore> {
        Some(self)
    }
}

impl IdempotencyStore for MemoryStore {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        loop {
            let has_room = self.has_room(claim.client);
            match self.with(&claim.key, |shard, now| shard.claim(&claim, now, has_room)) {
                Some(claimed) => return ready(Ok(claimed)),
                // Make room only now: an existing key needs none.
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
        // Unused capacity of the buffer is not counted, so free it.
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
