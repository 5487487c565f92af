//! The flights by key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::flight::{Flight, Turn};
use crate::context::{self, Entered};
use crate::sync::{AtomicU32, Mutex, Ordering};

/// Locks apart from each other; a power of two.
const SHARDS: usize = 16;

/// Flights that are kept for the next calls, so that a call which shares with nobody allocates nothing.
const SPARE: usize = 16;

/// On lines of its own: those who ask by another key are not disturbed.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Flights>);

#[derive(Debug, Default)]
struct Flights {
    by_key: HashMap<u128, Arc<Flight>, BuildHasherDefault<Hashed>>,
    spare: Vec<Arc<Flight>>,
    /// Calls that had a flight of their own: counted here, where the lock is held anyway.
    led: u64,
}

/// The key is a hash already; the low bits of it say in which shard it is.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    #[allow(clippy::cast_possible_truncation)] // half of a hash
    fn write_u128(&mut self, key: u128) {
        self.0 = (key >> 64) as u64;
    }
}

/// Bounded by what is in flight, and by `max_flights`.
#[derive(Debug)]
pub(super) struct Table {
    shards: [Shard; SHARDS],
    /// Most flights of one shard.
    limit: AtomicU32,
}

/// Where a call with a key belongs.
#[derive(Debug)]
pub(super) enum Place {
    /// It is the first.
    First(Arc<Flight>),
    /// There is one; what to do, and the number among those who wait.
    Found(Arc<Flight>, Turn, u64),
    /// There are too many flights, or this thread is inside of the one of this key.
    None,
}

impl Table {
    pub(super) fn new(max_flights: u32) -> Self {
        let table = Self { shards: Default::default(), limit: AtomicU32::new(0) };
        table.resize(max_flights);
        table
    }

    pub(super) fn resize(&self, max_flights: u32) {
        let each = max_flights.div_ceil(u32::try_from(SHARDS).unwrap_or(1));
        self.limit.store(each, Ordering::Relaxed);
    }

    #[allow(clippy::cast_possible_truncation)] // some bits of a hash
    fn shard(&self, key: u128) -> &Shard {
        &self.shards[key as usize & (SHARDS - 1)]
    }

    pub(super) fn find(&self, key: u128) -> Place {
        if context::leads_flight(key) {
            return Place::None;
        }
        let mut shard = self.shard(key).0.lock();
        if let Some(flight) = shard.by_key.get(&key) {
            let (turn, number) = flight.join();
            return Place::Found(Arc::clone(flight), turn, number);
        }
        if shard.by_key.len() >= self.limit.load(Ordering::Relaxed) as usize {
            return Place::None;
        }
        let flight = shard.spare.pop().unwrap_or_default();
        shard.by_key.insert(key, Arc::clone(&flight));
        shard.led += 1;
        Place::First(flight)
    }

    /// Takes the flight of a leader out: whoever asks from now on makes a new one. It is returned if somebody waits
    /// for its answer.
    pub(super) fn remove(&self, key: u128, flight: Arc<Flight>) -> Option<Arc<Flight>> {
        let mut shard = self.shard(key).0.lock();
        let kept = match shard.by_key.entry(key) {
            Entry::Occupied(kept) if Arc::ptr_eq(kept.get(), &flight) => kept.remove(),
            // Its answer comes late: the key belongs to another flight, or to none.
            _ => return Some(flight),
        };
        // The table's and the leader's: nobody else has it, and nobody can come by it any more.
        if Arc::strong_count(&flight) > 2 {
            return Some(flight);
        }
        if shard.spare.len() < SPARE {
            shard.spare.push(kept);
        }
        None
    }

    /// Takes a flight out that nobody leads and nobody waits for.
    pub(super) fn remove_abandoned(&self, key: u128, flight: &Arc<Flight>) {
        let mut shard = self.shard(key).0.lock();
        let is_kept = shard.by_key.get(&key).is_some_and(|kept| Arc::ptr_eq(kept, flight));
        if is_kept && flight.is_abandoned() {
            shard.by_key.remove(&key);
        }
    }

    pub(super) fn led(&self) -> u64 {
        self.shards.iter().map(|shard| shard.0.lock().led).sum()
    }

    pub(super) fn count_anew(&self) {
        self.shards.iter().for_each(|shard| shard.0.lock().led = 0);
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().by_key.len()).sum()
    }
}

/// Marks this thread as inside of the flight of a key, and the work of its leader as being polled.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    flight: Option<&'a Flight>,
    _entered: Entered<context::Flights>,
}

pub(super) fn enter(key: u128, flight: Option<&Flight>) -> Inside<'_> {
    let entered = context::enter_flight(key);
    if let Some(flight) = flight {
        flight.polling();
    }
    Inside { flight, _entered: entered }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight {
            flight.polled();
        }
    }
}
