//! The meters of many keys, of which there is a bounded number.
//!
//! An open-addressing table of groups: a group is four places, and fills a line of the cache. The hash of a key says at
//! which group its window of sixteen groups begins. A new key takes the first free place of its window, or that of a key
//! that has all its calls left, which loses nothing by being forgotten. Where there is neither, the key shares a meter with
//! others like it: active keys are never forgotten, and new ones are never all refused (T90).
//!
//! How much of the table fits into the cache decides what a look costs, so that a large table has room for a third more
//! keys than are told apart, and no more. Seven of eight keys then lie in the first group of their window, beside their
//! meter: the look at a key is as a rule a look at one line, besides that of the lock, and one jump that is foreseen.

use super::meter::Meter;
use crate::sync::Mutex;

/// Places that are looked at together: with the smallest meters, a line of the cache.
const GROUP: usize = 4;
/// Groups in which a key may lie.
const WINDOW: usize = 16;
/// Groups of a shard, at least where there is more than one: with fewer some shards would be full long before others.
const LEAST_GROUPS: usize = 2 * WINDOW;
/// Locks apart from each other.
const MOST_SHARDS: usize = 64;
/// Up to so many keys a table has twice the room that it needs: it fits into the cache anyway.
const FEW_KEYS: usize = 16_384;

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
    groups: Box<[Group<M>]>,
    /// Shared by keys that found no place.
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
            let groups = shard.groups.len();
            *shard = Shard::new(groups);
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
        // As a rule the first that is looked at.
        if let Some(at) = self.groups[first].position(key) {
            return &mut self.groups[first].0[at].meter;
        }
        self.meter_further(key, (first, rest), is_idle)
    }

    /// The numbers of the groups of the window that begins at `first`.
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
            // A place once taken is never free again, so a key lies before the first that is free.
            if let Some(at) = self.groups[group].position(FREE) {
                let place = &mut self.groups[group].0[at];
                place.key = key;
                self.used += 1;
                return &mut place.meter;
            }
        }
        self.reclaimed(key, (first, rest), is_idle)
    }

    /// The place of a key that has all its calls left, or a meter to share.
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
