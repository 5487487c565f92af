//! The values in the memory of this process.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::fallback::cache::Cache;

/// The newest value of each key that this process wrote or read, in its stored form.
#[derive(Debug)]
pub(super) struct Near(Cache);

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

/// A value in memory.
#[derive(Debug)]
pub(super) struct NearValue {
    pub(super) bytes: Arc<[u8]>,
    pub(super) age: Duration,
    /// How long it is in memory.
    pub(super) since: Duration,
}

/// The answer for a key.
#[derive(Debug)]
pub(super) enum Found {
    Value(NearValue),
    /// It was found this long ago that the store has no value.
    Absent(Duration),
    Nothing,
}

impl Near {
    pub(super) fn new() -> Self {
        Self(Cache::new())
    }

    pub(super) fn resize(&self, max_entries: u32) {
        self.0.resize(max_entries);
    }

    pub(super) fn hash(&self, key: &str) -> u128 {
        self.0.hash(key)
    }

    pub(super) fn keep(&self, key: u128, bytes: &Arc<[u8]>, age: Duration, now: Instant) {
        self.0.store(key, Known::Value { bytes: Arc::clone(bytes), age }, now);
    }

    pub(super) fn keep_absent(&self, key: u128, now: Instant) {
        self.0.store(key, Known::Absent, now);
    }

    pub(super) fn find(&self, key: u128, now: Instant) -> Found {
        match self.0.last_good::<Known>(key, now, Duration::MAX) {
            Ok((Known::Value { bytes, age }, since)) => {
                Found::Value(NearValue { bytes, age: age.saturating_add(since), since })
            }
            Ok((Known::Absent, since)) => Found::Absent(since),
            Err(_) => Found::Nothing,
        }
    }

    pub(super) fn remove(&self, key: u128) {
        self.0.remove(key);
    }

    pub(super) fn len(&self) -> u64 {
        self.0.stats().entries
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }
}
