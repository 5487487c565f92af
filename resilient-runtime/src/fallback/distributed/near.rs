//! The values in the memory of this process.
//!
//! The memory is bounded in entries and in bytes. The clock algorithm selects the entry to evict, as in the local cache.
//! No user code runs while the lock is held.
//!
//! Each change of an entry has a number, and a read of the store remembers the last number when it began. Therefore the result of
//! a read never replaces a change that was made during the read.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::key::KeyHasher;
use crate::sync::Mutex;

/// Maximum total size of the values. The largest value has 16 MiB.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// The removals of keys are remembered in groups of keys.
const GROUPS: usize = 256;

/// The newest value of each key that this process wrote or read, in its stored form.
#[derive(Debug)]
pub(super) struct Near {
    hasher: KeyHasher,
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    map: HashMap<u128, Entry>,
    /// All keys of `map`. The next candidate for eviction is first.
    order: VecDeque<u128>,
    /// Maximum number of entries.
    limit: usize,
    /// The total size of the values.
    bytes: usize,
    /// The number of the last change.
    changes: u64,
    /// The last removal in each group of keys.
    removals: Box<[u64]>,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    stored: Instant,
    /// The number of the change that stored it.
    change: u64,
    /// Stored again or found since the hand last passed.
    is_used: bool,
}

/// The knowledge about a key.
#[derive(Clone, Debug)]
enum Known {
    Value {
        bytes: Arc<[u8]>,
        /// Its age when it was put here.
        age: Duration,
    },
    /// The store has no value.
    Absent,
}

impl Known {
    fn size(&self) -> usize {
        match self {
            Self::Value { bytes, .. } => bytes.len(),
            Self::Absent => 0,
        }
    }
}

/// A value in memory.
#[derive(Debug)]
pub(super) struct NearValue {
    pub(super) bytes: Arc<[u8]>,
    pub(super) age: Duration,
    /// How long ago it was put into memory, or confirmed by the store.
    pub(super) since: Duration,
    /// The number of the change that put it into memory.
    pub(super) change: u64,
}

/// The answer for a key.
#[derive(Debug)]
pub(super) enum Found {
    Value(NearValue),
    /// It was found this long ago that the store has no value.
    Absent(Duration),
    Nothing,
}

#[allow(clippy::cast_possible_truncation)] // some bits of a hash
fn group(key: u128) -> usize {
    key as usize % GROUPS
}

impl Near {
    pub(super) fn new() -> Self {
        let entries = Entries {
            map: HashMap::new(),
            order: VecDeque::new(),
            limit: 0,
            bytes: 0,
            changes: 0,
            removals: vec![0; GROUPS].into(),
        };
        Self { hasher: KeyHasher::default(), entries: Mutex::new(entries) }
    }

    pub(super) fn resize(&self, max_entries: u32) {
        let mut entries = self.entries.lock();
        entries.limit = max_entries as usize;
        let gone = entries.shrink(None);
        drop(entries);
        drop(gone);
    }

    pub(super) fn hash(&self, key: &str) -> u128 {
        self.hasher.hash(key)
    }

    /// Returns the number of the last change. Later changes have greater numbers.
    pub(super) fn changes(&self) -> u64 {
        self.entries.lock().changes
    }

    /// Returns whether the key, or another one of its group, was removed after this change.
    pub(super) fn is_removed_since(&self, key: u128, change: u64) -> bool {
        self.entries.lock().removals[group(key)] > change
    }

    /// Keeps a new value.
    pub(super) fn keep(&self, key: u128, bytes: &Arc<[u8]>, now: Instant) {
        let value = Known::Value { bytes: Arc::clone(bytes), age: Duration::ZERO };
        let gone = self.entries.lock().store(key, value, now);
        drop(gone);
    }

    /// Keeps a value of a read that began after the change `began`, unless the key was removed during the read, or the value
    /// in memory is newer.
    pub(super) fn keep_read(
        &self,
        key: u128,
        (bytes, age): (&Arc<[u8]>, Duration),
        now: Instant,
        began: u64,
    ) {
        let mut entries = self.entries.lock();
        let is_newer = entries.map.get(&key).is_some_and(|entry| match entry.known {
            Known::Value { age: near, .. } => near.saturating_add(now.since(entry.stored)) < age,
            Known::Absent => false,
        });
        if is_newer || entries.removals[group(key)] > began {
            return;
        }
        let gone = entries.store(key, Known::Value { bytes: Arc::clone(bytes), age }, now);
        drop(entries);
        drop(gone);
    }

    /// Remembers that a read that began after the change `began` found no value, unless the key was changed during the read.
    pub(super) fn keep_absent(&self, key: u128, now: Instant, began: u64) {
        let mut entries = self.entries.lock();
        if entries.map.get(&key).is_none_or(|entry| entry.change <= began) {
            let gone = entries.store(key, Known::Absent, now);
            drop(entries);
            drop(gone);
        }
    }

    /// Starts the time that the value counts as just read again, unless it was changed after `change`.
    pub(super) fn confirm(&self, key: u128, now: Instant, change: u64) {
        if let Some(entry) = self.entries.lock().map.get_mut(&key).filter(|entry| entry.change == change)
            && let Known::Value { age, .. } = &mut entry.known
        {
            *age = age.saturating_add(now.since(entry.stored));
            entry.stored = now;
        }
    }

    pub(super) fn find(&self, key: u128, now: Instant) -> Found {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.map.get_mut(&key) else { return Found::Nothing };
        entry.is_used = true;
        let (since, change) = (now.since(entry.stored), entry.change);
        match &entry.known {
            Known::Value { bytes, age } => Found::Value(NearValue {
                bytes: Arc::clone(bytes),
                age: age.saturating_add(since),
                since,
                change,
            }),
            Known::Absent => Found::Absent(since),
        }
    }

    /// Removes an entry. A read that is in progress does not put it back.
    pub(super) fn remove(&self, key: u128) {
        let mut entries = self.entries.lock();
        entries.changes += 1;
        let change = entries.changes;
        entries.removals[group(key)] = change;
        let gone = entries.remove(key);
        drop(entries);
        drop(gone);
    }

    /// Removes an entry, unless it was changed after `change`.
    pub(super) fn remove_unchanged(&self, key: u128, change: u64) {
        let mut entries = self.entries.lock();
        if entries.map.get(&key).is_some_and(|entry| entry.change <= change) {
            let gone = entries.remove(key);
            drop(entries);
            drop(gone);
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.lock().map.len() as u64
    }

    pub(super) fn clear(&self) {
        let mut entries = self.entries.lock();
        entries.bytes = 0;
        let gone = (std::mem::take(&mut entries.map), std::mem::take(&mut entries.order));
        drop(entries);
        drop(gone);
    }
}

impl Entries {
    /// Returns the entries that it replaced or evicted. They are dropped after the lock is released.
    fn store(&mut self, key: u128, known: Known, stored: Instant) -> Vec<Entry> {
        self.changes += 1;
        self.bytes += known.size();
        let is_used = self.map.contains_key(&key);
        let entry = Entry { known, stored, change: self.changes, is_used };
        let replaced = self.map.insert(key, entry);
        match &replaced {
            Some(old) => self.bytes -= old.known.size(),
            None => self.order.push_back(key),
        }
        let mut gone = self.shrink(Some(key));
        gone.extend(replaced);
        gone
    }

    fn remove(&mut self, key: u128) -> Option<Entry> {
        let gone = self.map.remove(&key)?;
        self.bytes -= gone.known.size();
        self.order.retain(|other| *other != key);
        Some(gone)
    }

    /// Evicts entries down to the limits, but not the new one. Passes each entry at most twice.
    fn shrink(&mut self, new: Option<u128>) -> Vec<Entry> {
        let (mut gone, mut passes) = (Vec::new(), 2 * self.order.len());
        while (self.map.len() > self.limit || self.bytes > MAX_BYTES) && passes > 0 {
            passes -= 1;
            let Some(key) = self.order.pop_front() else { break };
            match self.map.get_mut(&key) {
                Some(entry) if entry.is_used || new == Some(key) => {
                    entry.is_used = false;
                    self.order.push_back(key);
                }
                _ => {
                    if let Some(entry) = self.map.remove(&key) {
                        self.bytes -= entry.known.size();
                        gone.push(entry);
                    }
                }
            }
        }
        gone
    }
}
