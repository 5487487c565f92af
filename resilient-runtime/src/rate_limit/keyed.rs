//! The meters of many keys, of which there is a bounded number.
//!
//! A table of sets: a key's hash says in which set it is, and a set has sixteen places. There is room for twice as
//! many keys as are told apart, so that hardly a set is full before the table is. A new key takes a free place, or
//! that of a key which has all its calls left, and so loses nothing by being forgotten. Where there is neither, it
//! shares a meter with others of its kind: the active are never forgotten, and the new are never all refused (T90).

use super::meter::Meter;
use super::rule::Rule;
use crate::sync::Mutex;

const WAYS: usize = 16;
/// Locks apart from each other.
const MOST_SHARDS: usize = 64;

/// The hash of a key; never 0, which is a free place.
pub(super) type Key = u64;

#[derive(Debug)]
pub(super) struct Keyed<M> {
    shards: Box<[Mutex<Shard<M>>]>,
}

#[derive(Debug)]
struct Shard<M> {
    /// Apart from the meters, so that a look at a set is a look at two lines.
    keys: Box<[Key]>,
    meters: Box<[M]>,
    /// Shared by keys that found no place.
    overflow: Box<[M]>,
    overflows: u64,
    used: usize,
}

impl<M: Meter> Keyed<M> {
    pub(super) fn new(max_keys: u32) -> Self {
        let sets = (max_keys as usize * 2).div_ceil(WAYS);
        let shards = MOST_SHARDS.min(sets).max(1);
        let sets = sets.div_ceil(shards);
        Self { shards: (0..shards).map(|_| Mutex::new(Shard::new(sets))).collect() }
    }

    /// Shows `ask` the meter of a key.
    pub(super) fn with<R>(&self, rule: Rule, now: u64, key: Key, ask: impl FnOnce(&mut M) -> R) -> R {
        let (place, rest) = split(key, self.shards.len());
        ask(self.shards[place].lock().meter(rule, now, key, rest))
    }

    /// Keys that have a place, and how often a key had none.
    pub(super) fn used(&self) -> (usize, u64) {
        let used = |shard: &Mutex<Shard<M>>| {
            let shard = shard.lock();
            (shard.used, shard.overflows)
        };
        self.shards.iter().map(used).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let sets = shard.keys.len() / WAYS;
            *shard = Shard::new(sets);
        }
    }
}

/// A place among `count`, by the high bits, and the bits that are left.
#[allow(clippy::cast_possible_truncation)] // less than `count`
fn split(hash: u64, count: usize) -> (usize, u64) {
    let product = u128::from(hash) * count as u128;
    ((product >> 64) as usize, product as u64)
}

impl<M: Meter> Shard<M> {
    fn new(sets: usize) -> Self {
        let meters = |count: usize| (0..count).map(|_| M::default()).collect();
        Self {
            keys: vec![0; sets * WAYS].into_boxed_slice(),
            meters: meters(sets * WAYS),
            overflow: meters(sets.next_multiple_of(WAYS)),
            overflows: 0,
            used: 0,
        }
    }

    fn meter(&mut self, rule: Rule, now: u64, key: Key, rest: u64) -> &mut M {
        let (set, rest) = split(rest, self.keys.len() / WAYS);
        let places = set * WAYS..(set + 1) * WAYS;
        let found = places.clone().find(|place| self.keys[*place] == key);
        if let Some(place) = found {
            return &mut self.meters[place];
        }
        let free = places.clone().find(|place| self.keys[*place] == 0);
        self.used += usize::from(free.is_some());
        let idle = || places.clone().find(|place| self.meters[*place].reset_after(rule, now) == 0);
        if let Some(place) = free.or_else(idle) {
            self.keys[place] = key;
            self.meters[place] = M::default();
            return &mut self.meters[place];
        }
        self.overflows += 1;
        let (place, _) = split(rest, self.overflow.len());
        &mut self.overflow[place]
    }
}
