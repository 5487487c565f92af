//! The file of a durable store: its format, and the time when it is opened.

use std::path::Path;

use redb::{ReadableDatabase, TableDefinition};

use crate::idempotency::record::Time;
use crate::store::file::{DatabaseFile, FileFormat, FileId, OpenError};

/// Records by key.
pub(super) const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const NAME: &str = "resilient_idempotency";
/// Metadata of the file.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new(NAME);
/// The latest time at which a record was written.
pub(super) const TIME: &str = "time";

/// Records of format 1 have no operation.
pub(super) const FORMAT: FileFormat = FileFormat {
    words: "idempotency store",
    meta: NAME,
    create: |transaction| transaction.open_table(RECORDS).map(drop).map_err(Into::into),
    oldest: 1,
    latest: 2,
};

/// An open file.
pub(super) struct File {
    pub(super) file: DatabaseFile,
    /// The latest time stored in the file.
    pub(super) time: Time,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = DatabaseFile::open(path, &FORMAT)?;
        let time = || -> Result<_, redb::Error> {
            let meta = file.database.begin_read()?.open_table(META)?;
            Ok(meta.get(TIME)?.map_or(0, |number| number.value()))
        };
        let time = time().map_err(|error| OpenError::new(&FORMAT, path, error))?;
        Ok(Self { file, time })
    }

    /// Identifies the file.
    pub(super) fn id(&self) -> Option<FileId> {
        self.file.id()
    }
}
