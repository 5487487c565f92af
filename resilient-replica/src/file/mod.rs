//! A member of a replica set in a file.

mod disk;
mod hints;
mod place;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use resilient_runtime::store::file::{FileFormat, OpenError};
use resilient_runtime::store::{
    Answer, Backend, Expected, ReplicaEntry, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore,
    ReplicaVersion, ReplicaWrite, StoreError, Written,
};

use disk::{Disk, Made};
pub(crate) use hints::HintFile;
use place::{key_in, pack, place, range_of, unpack};

/// The largest record that a [`FileReplica`] stores: 16 MiB for its value and its key.
///
/// A replica set has a smaller limit for its values: 1 MiB.
pub const LARGEST_RECORD: usize = 16 << 20;

/// Maximum number of records in a page.
const MOST_ENTRIES: u32 = 1000;

/// Records by set, range and key.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// The digest of a range, by set and range.
const DIGESTS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("digests");

const FORMAT: FileFormat = FileFormat {
    words: "replica file",
    meta: "resilient_replica",
    create: |transaction| {
        transaction.open_table(RECORDS)?;
        transaction.open_table(DIGESTS)?;
        Ok(())
    },
    oldest: 1,
    latest: 1,
};

/// A member of replica sets in a [redb](https://docs.rs/redb) file.
///
/// Only one process at a time can use the file. An accepted write survives a crash of the process or the machine, provided
/// that the disk keeps what it reports as written. Writes that wait at the same time are committed together.
///
/// It has two threads, which end when it is dropped. That waits until all writes are on disk.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use resilient_replica::{FileReplica, MemoryReplica, ReplicaSet, resolve::{Actor, HybridClock}};
/// use resilient_runtime::Registry;
/// # let path = std::env::temp_dir().join(format!("resilient-replica-{}", std::process::id()));
///
/// let registry = Registry::new();
/// registry.use_store("near", FileReplica::open(&path)?);
/// registry.use_store("far", MemoryReplica::new());
/// let clock = HybridClock::new(Actor::named("orders-0"));
/// let names = ReplicaSet::<String>::builder("names", clock).member("near").member("far").build(&registry)?;
/// names.write("user 7", &"Ada".to_owned()).await?;
/// # std::fs::remove_file(&path)?;
/// # Ok(()) }
/// ```
pub struct FileReplica {
    disk: Disk,
    wall: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl FileReplica {
    /// Opens the file at `path` or creates it.
    ///
    /// ```
    /// use resilient_replica::FileReplica;
    ///
    /// let error = FileReplica::open("/no/such/folder/near.replica").err().unwrap();
    /// assert!(error.to_string().starts_with("cannot open replica file /no/such/folder/near.replica: "));
    /// ```
    ///
    /// # Errors
    /// Returns an error if the file is open elsewhere, cannot be read or written, is damaged, or belongs to another program.
    /// In that case the file is not changed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with_wall_clock(path, crate::memory::since_epoch)
    }

    /// Like [`open`](Self::open), with another source of the time since 1970, for tests.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn open_with_wall_clock(
        path: impl AsRef<Path>,
        wall: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        Ok(Self { disk: Disk::open(path.as_ref(), &FORMAT)?, wall: Arc::new(wall) })
    }
}

impl fmt::Debug for FileReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReplica").field("path", &self.disk.path()).finish_non_exhaustive()
    }
}

impl Backend for FileReplica {
    fn address(&self) -> String {
        format!("file {}", self.disk.path().display())
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        Some(self)
    }
}

/// The record that a row has, as the result of an operation if it is not readable.
fn found(bytes: Option<&[u8]>) -> Result<Option<ReplicaRecord>, StoreError> {
    let damaged = || StoreError::Refused("the record of this key is damaged".to_owned());
    bytes.map(|bytes| unpack(bytes).ok_or_else(damaged)).transpose()
}

/// Adds marks to the digest of a range, or removes them, which is the same.
fn mark(transaction: &WriteTransaction, key: &ReplicaKey, marks: u64) -> Result<(), redb::Error> {
    let mut digests = transaction.open_table(DIGESTS)?;
    let range = range_of(key.set(), key.range());
    let digest = digests.get(&*range)?.map_or(0, |digest| digest.value()) ^ marks;
    if digest == 0 {
        digests.remove(&*range)?;
    } else {
        digests.insert(&*range, digest)?;
    }
    Ok(())
}

fn written(transaction: &WriteTransaction, write: &ReplicaWrite) -> Made<Written> {
    let ReplicaWrite { key, record, expected, .. } = write;
    let (place, mut records) = (place(key), transaction.open_table(RECORDS)?);
    let found = match found(records.get(&*place)?.as_ref().map(redb::AccessGuard::value)) {
        Ok(found) => found,
        Err(error) => return Ok((Err(error), false)),
    };
    if found.as_ref() == Some(record) {
        return Ok((Ok(Written::Applied), false));
    }
    let version = found.as_ref().map(|found| found.version);
    let is_met = match *expected {
        Expected::Older => version.is_none_or(|version| version < record.version),
        Expected::Exactly(expected) => version == expected,
    };
    if !is_met {
        return Ok((Ok(Written::Conflict(found)), false));
    }
    records.insert(&*place, &*pack(record))?;
    mark(transaction, key, found.map_or(0, |found| found.mark(key)) ^ record.mark(key))?;
    Ok((Ok(Written::Applied), true))
}

fn forgotten(transaction: &WriteTransaction, key: &ReplicaKey, version: ReplicaVersion) -> Made<bool> {
    let (place, mut records) = (place(key), transaction.open_table(RECORDS)?);
    let found = match found(records.get(&*place)?.as_ref().map(redb::AccessGuard::value)) {
        Ok(found) => found,
        Err(error) => return Ok((Err(error), false)),
    };
    let Some(tombstone) = found.filter(|found| found.version == version && found.value.is_none()) else {
        return Ok((Ok(false), false));
    };
    records.remove(&*place)?;
    mark(transaction, key, tombstone.mark(key))?;
    Ok((Ok(true), true))
}

impl ReplicaStore for FileReplica {
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> {
        self.disk.read(move |database| {
            let records = database.begin_read()?.open_table(RECORDS)?;
            Ok(found(records.get(&*place(&key))?.as_ref().map(redb::AccessGuard::value)))
        })
    }

    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written> {
        let bytes =
            write.record.value.as_ref().map_or(0, Vec::len) + write.key.key().len() + write.key.set().len();
        if bytes > LARGEST_RECORD {
            let path = self.disk.path().display();
            let problem = format!("{path}: the record has {bytes} bytes, more than {LARGEST_RECORD}");
            return Box::pin(async { Err(StoreError::Refused(problem)) });
        }
        let wall = Arc::clone(&self.wall);
        self.disk.change(move |transaction| {
            let ahead = write.record.version.since_epoch().saturating_sub(wall());
            if ahead > write.max_ahead {
                return Ok((Ok(Written::Ahead(ahead)), false));
            }
            written(transaction, &write)
        })
    }

    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool> {
        self.disk.change(move |transaction| forgotten(transaction, &key, version))
    }

    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64> {
        let range = range_of(set, range);
        self.disk.read(move |database| {
            let digests = database.begin_read()?.open_table(DIGESTS)?;
            Ok(Ok(digests.get(&*range)?.map_or(0, |digest| digest.value())))
        })
    }

    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage> {
        let range = range_of(set, range);
        let limit = limit.clamp(1, MOST_ENTRIES) as usize;
        self.disk.read(move |database| {
            let records = database.begin_read()?.open_table(RECORDS)?;
            let start = [&range, from.unwrap_or_default().as_bytes()].concat();
            let mut page = ReplicaPage::default();
            for row in records.range(&*start..)? {
                let (place, row) = row?;
                let Some(key) = key_in(place.value(), &range) else { break };
                if page.entries.len() == limit {
                    page.next = Some(key);
                    break;
                }
                match found(Some(row.value())) {
                    Ok(Some(ReplicaRecord { version, value })) => {
                        page.entries.push(ReplicaEntry { key, version, is_removed: value.is_none() });
                    }
                    Ok(None) => {}
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(page))
        })
    }
}
