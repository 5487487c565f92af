//! A table of meters with a bounded number of keys.
//!
//! This is an open-addressing table of groups. A group is four slots and fills a cache line. The hash of a key
//! selects the first group of a window of sixteen groups. A new key takes the first free slot of its window. If no
//! slot is free, it replaces a key that has all its calls left, which loses no information. If there is no such key,
//! the new key shares a meter with other keys. Active keys are never forgotten, and new keys are never all rejected
//! (T90).
//!
//! The share of the table that fits into the cache determines the cost of a lookup. A large table therefore has only
//! one third more slots than keys. Seven of eight keys are then in the first group of their window, next to their
//! meter: a lookup usually touches one cache line besides the line of the lock, and one predictable branch.

use super::meter::Meter;
use crate::sync::Mutex;

/// Slots that are compared together. With the smallest meters, they fill a cache line.
const GROUP: usize = 4;
/// Number of groups in which a key can be.
const WINDOW: usize = 16;
/// Minimum number of groups per shard, if there are several shards. With fewer groups, some shards fill up long
/// before others.
const LEAST_GROUPS: usize = 2 * WINDOW;
/// Maximum number of shards, each with its own lock.
const MOST_SHARDS: usize = 64;
/// Up to this number of keys, a table has two slots per key: it fits into the cache anyway.
const FEW_KEYS: usize = 16_384;

/// The hash of a key. Never 0, which marks a free slot.
pub(super) type Key = u64;

const FREE: Key = 0;

#[derive(Debug)]
pub(super) struct Keyed<M> {
    shards: Box<[Padded<M>]>,
}

/// Aligned to separate cache lines, so that access to one shard does not slow down the others.
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

impl<M: Default> Default for Group<M> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Place::default()))
    }
}

impl<M> Group<M> {
    /// Returns the position of the key, or with [`FREE`] of the first free slot.
    ///
    /// It compares all slots: a branch at the first match would be mispredicted every third time and wait for the
    /// line again.
    #[inline]
    fn position(&self, key: Key) -> Option<usize> {
        let found = |at: usize| u32::from(self.0[at].key == key) << at;
        let found = (0..GROUP).fold(0, |all, at| all | found(at));
        (found != 0).then(|| found.trailing_zeros() as usize)
    }
}

#[derive(Debug)]
struct Shard<M> {
    groups: Box<[Group<M>]>,
    /// Shared by keys that have no slot.
    overflow: Box<[M]>,
    overflows: u64,
    used: usize,
}

impl<M: Meter> Keyed<M> {
    pub(super) fn new(max_keys: u32) -> Self {
        let keys = max_keys as usize;
        let places = if keys > FEW_KEYS { keys + keys / 3 } else { keys * 2 };
        let groups = places.div_ceil(GROUP).max(1);
        let shards = (groups / LEAST_GROUPS).clamp(1, MOST_SHARDS);
        let groups = groups.div_ceil(shards);
        Self { shards: (0..shards).map(|_| Padded(Mutex::new(Shard::new(groups)))).collect() }
    }

    /// Calls `ask` with the meter of a key. `is_idle` returns whether a meter has all its calls left.
    #[inline]
    pub(super) fn with<R>(&self, key: Key, is_idle: impl Fn(&M) -> bool, ask: impl FnOnce(&mut M) -> R) -> R {
        let (shard, rest) = split(key, self.shards.len());
        ask(self.shards[shard].0.lock().meter(key, rest, is_idle))
    }

    /// Returns how many keys have a slot, and how often a key had none.
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
            let groups = shard.groups.len();
            *shard = Shard::new(groups);
        }
    }
}

/// Maps the hash to one of `count` slots by its high bits. Also returns the remaining bits.
#[inline]
#[allow(clippy::cast_possible_truncation)] // less than `count`
fn split(hash: u64, count: usize) -> (usize, u64) {
    let product = u128::from(hash) * count as u128;
    ((product >> 64) as usize, product as u64)
}

impl<M: Meter> Shard<M> {
    fn new(groups: usize) -> Self {
        Self {
            groups: (0..groups).map(|_| Group::default()).collect(),
            overflow: (0..groups.div_ceil(GROUP).next_multiple_of(WINDOW)).map(|_| M::default()).collect(),
            overflows: 0,
            used: 0,
        }
    }

    #[inline]
    fn meter(&mut self, key: Key, rest: u64, is_idle: impl Fn(&M) -> bool) -> &mut M {
        let (first, rest) = split(rest, self.groups.len());
        // The common case: the key is in the first group.
        if let Some(at) = self.groups[first].position(key) {
            return &mut self.groups[first].0[at].meter;
        }
        self.meter_further(key, (first, rest), is_idle)
    }

    /// Returns the indices of the groups in the window that begins at `first`.
    fn window(&self, first: usize) -> impl Iterator<Item = usize> + use<M> {
        let count = self.groups.len();
        (first..first + WINDOW.min(count)).map(move |group| if group < count { group } else { group - count })
    }

    #[inline(never)]
    fn meter_further(
        &mut self,
        key: Key,
        (first, rest): (usize, u64),
        is_idle: impl Fn(&M) -> bool,
    ) -> &mut M {
        for group in self.window(first) {
            if let Some(at) = self.groups[group].position(key) {
                return &mut self.groups[group].0[at].meter;
            }
            // A slot never becomes free again, so a key is always before the first free slot.
            if let Some(at) = self.groups[group].position(FREE) {
                let place = &mut self.groups[group].0[at];
                place.key = key;
                self.used += 1;
                return &mut place.meter;
            }
        }
        self.reclaimed(key, (first, rest), is_idle)
    }

    /// Returns the slot of a key that has all its calls left, or a shared meter.
    #[cold]
    fn reclaimed(&mut self, key: Key, (first, rest): (usize, u64), is_idle: impl Fn(&M) -> bool) -> &mut M {
        let idle = |group: usize| {
            let at = self.groups[group].0.iter().position(|place| is_idle(&place.meter));
            at.map(|at| (group, at))
        };
        if let Some((group, at)) = self.window(first).find_map(idle) {
            let place = &mut self.groups[group].0[at];
            *place = Place { key, meter: M::default() };
            return &mut place.meter;
        }
        self.overflows += 1;
        let (place, _) = split(rest, self.overflow.len());
        &mut self.overflow[place]
    }
}
