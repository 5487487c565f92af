//! Hints in a file, so that they survive a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use resilient_runtime::store::file::{DatabaseFile, FileFormat, OpenError};
use resilient_runtime::store::{Answer, ReplicaRecord};

use super::{Disk, pack, unpack};
use crate::hint_log::HintLog;
use crate::memory::since_epoch;

/// Hints by the name of the member and the key.
const HINTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("hints");
/// The replica set that the file belongs to.
const SET: TableDefinition<'_, (), &str> = TableDefinition::new("set");

const FORMAT: FileFormat = FileFormat {
    words: "hint file",
    meta: "resilient_replica_hints",
    create: |transaction| {
        transaction.open_table(HINTS)?;
        transaction.open_table(SET)?;
        Ok(())
    },
    oldest: 1,
    latest: 1,
};

/// The hints of one replica set, in a file that only one process uses.
#[derive(Debug)]
pub(crate) struct HintFile {
    disk: Disk,
    /// The names of the members.
    members: Vec<Arc<str>>,
}

/// A hint in the file.
pub(crate) struct StoredHint {
    pub(crate) member: String,
    pub(crate) key: String,
    pub(crate) record: ReplicaRecord,
    /// When the member missed it, in milliseconds since 1970.
    since: u64,
}

impl HintFile {
    /// Opens the file or creates it. Returns all its hints.
    pub(crate) fn open(
        path: &Path,
        set: &str,
        members: Vec<Arc<str>>,
    ) -> Result<(Self, Vec<StoredHint>), OpenError> {
        let file = DatabaseFile::open(path, &FORMAT)?;
        let failed = |problem: String| OpenError::new(&FORMAT, path, problem);
        let owner = owner(&file.database, set).map_err(|error| failed(error.to_string()))?;
        if owner != set {
            return Err(failed(format!(
                "it belongs to the replica set `{owner}`: use a file of its own for each set"
            )));
        }
        let hints = all(&file.database).map_err(|error| failed(error.to_string()))?;
        Ok((Self { disk: Disk::of(file, &FORMAT)?, members }, hints))
    }

    /// The index of a member, or `None` if the set does not have it any more.
    pub(crate) fn member(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| **member == *name)
    }

    /// Removes a hint, also of a member that the set does not have any more.
    pub(crate) fn forget(&self, member: &str, key: &str) {
        let (member, key) = (member.to_owned(), key.to_owned());
        drop(self.disk.change(move |transaction| {
            let is_removed = transaction.open_table(HINTS)?.remove((&*member, &*key))?.is_some();
            Ok((Ok(()), is_removed))
        }));
    }
}

impl HintLog for HintFile {
    fn put(&self, member: usize, key: &str, record: &ReplicaRecord, age: Duration) -> Answer<'static, ()> {
        let (member, key) = (self.members.get(member).cloned(), key.to_owned());
        let since = u64::try_from(since_epoch().saturating_sub(age).as_millis()).unwrap_or(u64::MAX);
        let row = [&since.to_be_bytes()[..], &pack(record)].concat();
        self.disk.change(move |transaction| {
            let Some(member) = member else { return Ok((Ok(()), false)) };
            transaction.open_table(HINTS)?.insert((&*member, &*key), &*row)?;
            Ok((Ok(()), true))
        })
    }

    fn remove(&self, member: usize, key: &str) {
        if let Some(member) = self.members.get(member) {
            self.forget(member, key);
        }
    }
}

impl StoredHint {
    /// How long the hint can still be kept.
    pub(crate) fn left(&self, max_age: Duration) -> Duration {
        max_age.saturating_sub(since_epoch().saturating_sub(Duration::from_millis(self.since)))
    }
}

/// The set that the file belongs to, which is this one if it is new.
fn owner(database: &Database, set: &str) -> Result<String, redb::Error> {
    let transaction = database.begin_write()?;
    let owner = {
        let mut table = transaction.open_table(SET)?;
        let owner = table.get(())?.map(|owner| owner.value().to_owned());
        if owner.is_none() {
            table.insert((), set)?;
        }
        owner
    };
    transaction.commit()?;
    Ok(owner.unwrap_or_else(|| set.to_owned()))
}

fn all(database: &Database) -> Result<Vec<StoredHint>, redb::Error> {
    let mut hints = Vec::new();
    for row in database.begin_read()?.open_table(HINTS)?.iter()? {
        let (place, row) = row?;
        let (member, key) = place.value();
        let damaged = || redb::Error::Corrupted("a hint is not readable".to_owned());
        hints.push(stored(member, key, row.value()).ok_or_else(damaged)?);
    }
    Ok(hints)
}

fn stored(member: &str, key: &str, row: &[u8]) -> Option<StoredHint> {
    let (since, record) = row.split_first_chunk()?;
    let (member, key) = (member.to_owned(), key.to_owned());
    Some(StoredHint { member, key, record: unpack(record)?, since: u64::from_be_bytes(*since) })
}
