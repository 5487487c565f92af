//! The meters of many keys, of which there is a bounded number.
//!
//! A table of sets: a key's hash says in which set it is, and a set has sixteen places. There is room for twice as
//! many keys as are told apart, so that hardly a set is full before the table is. A new key takes a free place, or
//! that of a key which has all its calls left, and so loses nothing by being forgotten. Where there is neither, it
//! shares a meter with others of its kind: the active are never forgotten, and the new are never all refused (T90).
//!
//! The hash also says at which group of four places to begin to look, and a key lies beside its meter: the look at a key
//! is as a rule a look at one line of the cache, besides that of the lock, and one jump that is foreseen.

use super::meter::Meter;
use crate::sync::Mutex;

const WAYS: usize = 16;
/// Places that are looked at together: of the smallest meters a line of the cache.
const GROUP: usize = 4;
const GROUPS: usize = WAYS / GROUP;
/// Locks apart from each other.
const MOST_SHARDS: usize = 64;

/// The hash of a key; never 0, which is a free place.
pub(super) type Key = u64;

const FREE: Key = 0;

#[derive(Debug)]
pub(super) struct Keyed<M> {
    shards: Box<[Padded<M>]>,
}

/// On lines of its own: those who want another shard are not disturbed.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<M>(Mutex<Shard<M>>);

#[derive(Clone, Debug, Default)]
struct Place<M> {
    key: Key,
    meter: M,
}

#[derive(Debug)]
#[repr(align(64))]
struct Group<M>([Place<M>; GROUP]);

type Set<M> = [Group<M>; GROUPS];

impl<M: Default> Default for Group<M> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Place::default()))
    }
}

impl<M> Group<M> {
    /// Where the key is, or with [`FREE`] the first place that is. All are compared: to jump at the first that is equal would be to be
    /// wrong each third time, and to wait for the line again.
    #[inline]
    fn position(&self, key: Key) -> Option<usize> {
        let found = |at: usize| u32::from(self.0[at].key == key) << at;
        let found = (0..GROUP).fold(0, |all, at| all | found(at));
        (found != 0).then(|| found.trailing_zeros() as usize)
    }
}

#[derive(Debug)]
struct Shard<M> {
    sets: Box<[Set<M>]>,
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
        Self { shards: (0..shards).map(|_| Padded(Mutex::new(Shard::new(sets)))).collect() }
    }

    /// Shows `ask` the meter of a key; `is_idle` says of a meter whether it has all its calls left.
    #[inline]
    pub(super) fn with<R>(&self, key: Key, is_idle: impl Fn(&M) -> bool, ask: impl FnOnce(&mut M) -> R) -> R {
        let (shard, rest) = split(key, self.shards.len());
        ask(self.shards[shard].0.lock().meter(key, rest, is_idle))
    }

    /// Keys that have a place, and how often a key had none.
    pub(super) fn used(&self) -> (usize, u64) {
        let used = |shard: &Padded<M>| {
            let shard = shard.0.lock();
            (shard.used, shard.overflows)
        };
        self.shards.iter().map(used).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.0.lock();
            let sets = shard.sets.len();
            *shard = Shard::new(sets);
        }
    }
}

/// A place among `count`, by the high bits, and the bits that are left.
#[inline]
#[allow(clippy::cast_possible_truncation)] // less than `count`
fn split(hash: u64, count: usize) -> (usize, u64) {
    let product = u128::from(hash) * count as u128;
    ((product >> 64) as usize, product as u64)
}

impl<M: Meter> Shard<M> {
    fn new(sets: usize) -> Self {
        Self {
            sets: (0..sets).map(|_| Set::<M>::default()).collect(),
            overflow: (0..sets.next_multiple_of(WAYS)).map(|_| M::default()).collect(),
            overflows: 0,
            used: 0,
        }
    }

    #[inline]
    fn meter(&mut self, key: Key, rest: u64, is_idle: impl Fn(&M) -> bool) -> &mut M {
        let (number, rest) = split(rest, self.sets.len());
        let (first, rest) = split(rest, GROUPS);
        // As a rule the first that is looked at.
        if let Some(at) = self.sets[number][first].position(key) {
            return &mut self.sets[number][first].0[at].meter;
        }
        self.meter_further(key, (number, first, rest), is_idle)
    }

    #[inline(never)]
    fn meter_further(
        &mut self,
        key: Key,
        (number, first, rest): (usize, usize, u64),
        is_idle: impl Fn(&M) -> bool,
    ) -> &mut M {
        for group in (first..first + GROUPS).map(|group| group % GROUPS) {
            if let Some(at) = self.sets[number][group].position(key) {
                return &mut self.sets[number][group].0[at].meter;
            }
            // A place once taken is never free again, so a key lies before the first that is free.
            if let Some(at) = self.sets[number][group].position(FREE) {
                let place = &mut self.sets[number][group].0[at];
                place.key = key;
                self.used += 1;
                return &mut place.meter;
            }
        }
        self.reclaimed(key, number, rest, is_idle)
    }

    /// The place of a key that has all its calls left, or a meter to share.
    #[cold]
    fn reclaimed(&mut self, key: Key, set: usize, rest: u64, is_idle: impl Fn(&M) -> bool) -> &mut M {
        let at = self.sets[set].iter().flat_map(|group| &group.0).position(|place| is_idle(&place.meter));
        if let Some(at) = at {
            let place = &mut self.sets[set][at / GROUP].0[at % GROUP];
            *place = Place { key, meter: M::default() };
            return &mut place.meter;
        }
        self.overflows += 1;
        let (place, _) = split(rest, self.overflow.len());
        &mut self.overflow[place]
    }
}
