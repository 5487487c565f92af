//! A member of a replica set in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resilient_runtime::store::{
    Answer, Backend, Expected, ReplicaEntry, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore,
    ReplicaVersion, ReplicaWrite, Written,
};

/// A member of replica sets in the memory of this process: for tests, and as a near copy that is lost at the end.
///
/// ```
/// use resilient_replica::MemoryReplica;
/// use resilient_runtime::store::Backend;
///
/// assert_eq!(MemoryReplica::new().address(), "memory");
/// ```
pub struct MemoryReplica {
    wall: Arc<dyn Fn() -> Duration + Send + Sync>,
    records: Mutex<BTreeMap<(String, u16, String), ReplicaRecord>>,
}

impl Default for MemoryReplica {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryReplica {
    /// Creates an empty member.
    pub fn new() -> Self {
        Self::with_wall_clock(since_epoch)
    }

    /// Creates an empty member with another source of the time since 1970, for tests.
    pub fn with_wall_clock(wall: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { wall: Arc::new(wall), records: Mutex::default() }
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<(String, u16, String), ReplicaRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self, write: ReplicaWrite) -> Written {
        let ahead = write.record.version.since_epoch().saturating_sub((self.wall)());
        if ahead > write.max_ahead {
            return Written::Ahead(ahead);
        }
        let place = place(&write.key);
        let mut records = self.records();
        let found = records.get(&place);
        let version = found.map(|found| found.version);
        if found == Some(&write.record) {
            return Written::Applied;
        }
        let is_met = match write.expected {
            Expected::Older => version.is_none_or(|version| version < write.record.version),
            Expected::Exactly(expected) => version == expected,
        };
        if !is_met {
            return Written::Conflict(found.cloned());
        }
        records.insert(place, write.record);
        Written::Applied
    }
}

/// The time since 1970.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn place(key: &ReplicaKey) -> (String, u16, String) {
    (key.set().to_owned(), key.range(), key.key().to_owned())
}

impl fmt::Debug for MemoryReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReplica").field("records", &self.records().len()).finish_non_exhaustive()
    }
}

impl Backend for MemoryReplica {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        Some(self)
    }
}

impl ReplicaStore for MemoryReplica {
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> {
        let found = self.records().get(&place(&key)).cloned();
        Box::pin(async { Ok(found) })
    }

    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written> {
        let written = self.applied(write);
        Box::pin(async { Ok(written) })
    }

    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool> {
        let (place, mut records) = (place(&key), self.records());
        let is_there =
            records.get(&place).is_some_and(|found| found.version == version && found.value.is_none());
        if is_there {
            records.remove(&place);
        }
        Box::pin(async move { Ok(is_there) })
    }

    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64> {
        let records = self.records();
        let from = (set.to_owned(), range, String::new());
        let of_range = records.range(from..).take_while(|((of, number, _), _)| of == set && *number == range);
        let digest = of_range
            .map(|((_, _, key), record)| record.mark(&ReplicaKey::new(set, key.clone())))
            .fold(0, |digest, mark| digest ^ mark);
        Box::pin(async move { Ok(digest) })
    }

    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage> {
        let records = self.records();
        let start = (set.to_owned(), range, from.unwrap_or_default());
        let of_range =
            records.range(start..).take_while(|((of, number, _), _)| of == set && *number == range);
        let mut entries: Vec<_> = of_range
            .map(|((_, _, key), record)| ReplicaEntry {
                key: key.clone(),
                version: record.version,
                is_removed: record.value.is_none(),
            })
            .take(limit as usize + 1)
            .collect();
        let next = (entries.len() > limit as usize).then(|| entries.pop().map(|entry| entry.key)).flatten();
        Box::pin(async { Ok(ReplicaPage { entries, next }) })
    }
}
