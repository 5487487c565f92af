//! The role of a store that is a member of a replica set.

use std::time::Duration;

use siphasher::sip::SipHasher24;

use super::Answer;

/// Where a record of a replica set is.
///
/// ```
/// use resilient_runtime::store::ReplicaKey;
///
/// let key = ReplicaKey::new("profiles", "user 7");
/// assert_eq!((key.set(), key.key(), key.range()), ("profiles", "user 7", key.range()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaKey {
    set: String,
    key: String,
}

impl ReplicaKey {
    /// Number of ranges into which the records of a set are divided, to compare members with each other.
    pub const RANGES: u16 = 256;

    /// Creates a key of the replica set `set`.
    pub fn new(set: impl Into<String>, key: impl Into<String>) -> Self {
        Self { set: set.into(), key: key.into() }
    }

    /// Returns the name of the replica set.
    pub fn set(&self) -> &str {
        &self.set
    }

    /// Returns the key in the replica set.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the range of the record, below [`RANGES`](Self::RANGES). It depends on the key only.
    pub fn range(&self) -> u16 {
        u16::from(hash(self.key.as_bytes()).to_le_bytes()[0])
    }
}

/// Orders the records of a key: the time in the upper 64 bits, and the number of the writer in the lower ones.
///
/// The time is 48 bits of milliseconds since 1970, and 16 bits of a counter.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::store::ReplicaVersion;
///
/// let version = ReplicaVersion(u128::from(5_000_u64 << 16) << 64 | 7);
/// assert_eq!(version.since_epoch(), Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaVersion(pub u128);

impl ReplicaVersion {
    /// Returns the time since 1970 in whole milliseconds.
    pub fn since_epoch(self) -> Duration {
        Duration::from_millis((self.0 >> 80) as u64)
    }
}

/// A record of a replica set: a value, or the mark that it was removed (a *tombstone*).
///
/// ```
/// use resilient_runtime::store::{ReplicaKey, ReplicaRecord, ReplicaVersion};
///
/// let removed = ReplicaRecord { version: ReplicaVersion(8), value: None };
/// let mark = removed.mark(&ReplicaKey::new("profiles", "user 7"));
/// assert_ne!(mark, removed.mark(&ReplicaKey::new("profiles", "user 8")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRecord {
    /// The version of the record.
    pub version: ReplicaVersion,
    /// The value, or `None` if it was removed.
    pub value: Option<Vec<u8>>,
}

impl ReplicaRecord {
    /// Returns what this record adds to the digest of its range: a hash of its key and version.
    pub fn mark(&self, key: &ReplicaKey) -> u64 {
        let version = self.version.0.to_be_bytes();
        hash(&[&version[..], key.key().as_bytes()].concat())
    }
}

/// `SipHash` with a fixed key, which is equal on every machine.
fn hash(bytes: &[u8]) -> u64 {
    SipHasher24::new().hash(bytes)
}

/// Which record a write may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// None, or one with a lower version.
    Older,
    /// The one with this version, or none.
    Exactly(Option<ReplicaVersion>),
}

/// A write of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaWrite {
    /// Where the record is.
    pub key: ReplicaKey,
    /// The record.
    pub record: ReplicaRecord,
    /// The condition.
    pub expected: Expected,
    /// How far the time of the version may be ahead of the clock of the store.
    pub max_ahead: Duration,
}

/// The result of a [`ReplicaWrite`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The store has the record now, or had it before.
    Applied,
    /// The condition is not met. With the record that the store has.
    Conflict(Option<ReplicaRecord>),
    /// The time of the version is so far ahead of the clock of the store, which is more than `max_ahead`.
    Ahead(Duration),
}

/// A record in a [`ReplicaPage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaEntry {
    /// The key in the set.
    pub key: String,
    /// The version of the record.
    pub version: ReplicaVersion,
    /// Whether the record is a tombstone.
    pub is_removed: bool,
}

/// Some records of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaPage {
    /// The records, in any order. One that is changed at the same time can be missing or occur twice.
    pub entries: Vec<ReplicaEntry>,
    /// Where the next page begins. `None` after the last page.
    pub next: Option<String>,
}

/// Stores the records of replica sets. A replica set has several such stores as its members, and keeps the same records
/// in each of them.
///
/// - Each operation is atomic. A write is as durable as the store is.
/// - A write with [`Expected::Older`] never replaces a record by one with a lower version, so a late write changes nothing.
///   A write of the record that the store has already is [`Written::Applied`], with any condition.
/// - A record whose version is ahead of the clock of the store by more than `max_ahead` is refused. Otherwise an instance
///   with a wrong clock would win against all others until its time has come.
/// - The digest of a range is the exclusive or of [`ReplicaRecord::mark`] of all its records, including tombstones. It is 0
///   for an empty range.
///
/// `MemoryReplica` of the crate `resilient-replica` is an implementation.
pub trait ReplicaStore: Send + Sync + 'static {
    /// Returns the record of a key, also if it is a tombstone.
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>>;

    /// Writes a record under a condition.
    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written>;

    /// Removes a tombstone for good, if the store still has it with this version. Returns whether it did.
    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool>;

    /// Returns the digest of a range of a set.
    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64>;

    /// Returns about `limit` records of a range, from `from` on, which is [`ReplicaPage::next`] of the page before.
    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage>;
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_marks_are_the_same_in_every_release_and_evenly_spread() {
        // A change of these numbers would make members look different that are equal.
        let key = ReplicaKey::new("profiles", "user 7");
        let record = ReplicaRecord { version: ReplicaVersion(8), value: None };
        assert_eq!((key.range(), record.mark(&key)), PINNED);

        let mut counts = vec![0; usize::from(ReplicaKey::RANGES)];
        for number in 0..25_600 {
            counts[usize::from(ReplicaKey::new("profiles", number.to_string()).range())] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }

    const PINNED: (u16, u64) = (29, 335_779_295_962_368_531);
}
