//! The table of flights by key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::flight::{Flight, Turn};
use crate::context::{self, Entered};
use crate::sync::{AtomicU32, Mutex, Ordering};

/// Number of independent locks; a power of two.
const SHARDS: usize = 16;

/// Number of flights reused per shard, so that a call without waiters does not allocate.
const SPARE: usize = 16;

/// Aligned to its own cache lines, so that calls with other keys do not contend.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Flights>);

#[derive(Debug, Default)]
struct Flights {
    by_key: HashMap<u128, Arc<Flight>, BuildHasherDefault<Hashed>>,
    spare: Vec<Arc<Flight>>,
    /// Calls that started a flight. Counted here because the lock is held anyway.
    led: u64,
}

/// The key is already a hash. Its low bits select the shard.
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

/// Bounded by the number of running calls and by `max_flights`.
#[derive(Debug)]
pub(super) struct Table {
    shards: [Shard; SHARDS],
    /// Maximum number of flights per shard.
    limit: AtomicU32,
}

/// The result of looking up a key.
#[derive(Debug)]
pub(super) enum Place {
    /// The call starts a new flight.
    First(Arc<Flight>),
    /// The flight exists. Contains what to do next and the number of the waiter.
    Found(Arc<Flight>, Turn, u64),
    /// The call is not coalesced: there are too many flights, or it is inside the flight of its key.
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

    /// Removes the flight of a leader, so that later calls start a new one. Returns it if a call waits for its result.
    pub(super) fn remove(&self, key: u128, flight: Arc<Flight>) -> Option<Arc<Flight>> {
        let mut shard = self.shard(key).0.lock();
        let kept = match shard.by_key.entry(key) {
            Entry::Occupied(kept) if Arc::ptr_eq(kept.get(), &flight) => kept.remove(),
            // The leader was replaced: the key belongs to another flight, or to none.
            _ => return Some(flight),
        };
        // Two references are the table's and the leader's. No other call has one or can still get one.
        if Arc::strong_count(&flight) > 2 {
            return Some(flight);
        }
        if shard.spare.len() < SPARE {
            shard.spare.push(kept);
        }
        None
    }

    /// Removes a flight without a leader and waiters.
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

/// Marks this thread as inside the flight of a key, and the leader's work as being polled.
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
