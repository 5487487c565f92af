//! The file of a durable store: its format, and the checks when it is opened.

use std::fmt::Display;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableHandle};

use crate::idempotency::record::Time;

/// Records by key.
pub(super) const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Metadata of the file.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("resilient_idempotency");
/// The record format. Records of format 1 have no operation. A file of format 1 is readable and is marked as format 2
/// when it is opened, because the version that wrote it would take new records for damaged ones.
const FORMAT: (&str, u64) = ("format", 2);
const OLDEST: u64 = 1;
/// The latest time at which a record was written.
pub(super) const TIME: &str = "time";

/// Cache size in bytes. Little is read again, and the operating system has its own cache.
const CACHE: usize = 16 << 20;

/// The error when a [`DurableStore`](super::DurableStore) cannot open its file.
///
/// ```
/// use resilient_runtime::idempotency::DurableStore;
///
/// let error = DurableStore::open("/no/such/folder/payments.idempotency").err().unwrap();
/// assert!(error.to_string().starts_with("cannot open idempotency store /no/such/folder/payments.idempotency: "));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot open idempotency store {}: {reason}", path.display())]
pub struct OpenError {
    path: PathBuf,
    reason: String,
}

impl OpenError {
    pub(super) fn new(path: &Path, reason: impl Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }

    /// Returns the path of the file.
    ///
    /// ```
    /// use std::path::Path;
    /// use resilient_runtime::idempotency::DurableStore;
    ///
    /// let error = DurableStore::open("/no/such/folder/records").err().unwrap();
    /// assert_eq!(error.path(), Path::new("/no/such/folder/records"));
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// An open file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) database: Database,
    id: Option<Id>,
    /// The latest time stored in the file.
    pub(super) time: Time,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        // redb panics on some damaged files.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::read(path)));
        let opened = opened.unwrap_or_else(|_| Err("the file is damaged; restore it from a backup".into()));
        let (database, time) = opened.map_err(|reason| OpenError::new(path, reason))?;
        Ok(Self { path: path.to_owned(), database, id: Id::of(path).ok().flatten(), time })
    }

    /// Identifies the file.
    pub(super) fn id(&self) -> Option<Id> {
        self.id
    }

    fn read(path: &Path) -> Result<(Database, Time), String> {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err("it is a directory".into()),
            Ok(found) if found.len() == 0 => {
                return Err("it is empty; remove it to create a new store".into());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => make(path)?,
            _ => {}
        }
        let mut database = Builder::new().set_cache_size(CACHE).open(path).map_err(reason)?;
        // Check the whole file: if a part is damaged, existing records can look missing.
        if !database.check_integrity().map_err(reason)? {
            return Err("the file is damaged; restore it from a backup".into());
        }
        let tables: Vec<String> = {
            let read = database.begin_read().map_err(|error| error.to_string())?;
            let tables = read.list_tables().map_err(|error| error.to_string())?;
            tables.map(|table| table.name().to_owned()).collect()
        };
        if !tables.iter().any(|table| table == META.name()) {
            return Err(format!("it is a database of another program (tables: {})", tables.join(", ")));
        }
        let read = || -> Result<_, redb::Error> {
            let transaction = database.begin_read()?;
            let meta = transaction.open_table(META)?;
            let number =
                |name: &str| Ok::<_, redb::Error>(meta.get(name)?.map_or(0, |number| number.value()));
            Ok((number(FORMAT.0)?, number(TIME)?))
        };
        match read() {
            Ok((format, time)) if format == FORMAT.1 => Ok((database, time)),
            Ok((format, time)) if (OLDEST..FORMAT.1).contains(&format) => {
                upgrade(&database).map_err(|error| {
                    format!("cannot upgrade its format from {format} to {}: {error}", FORMAT.1)
                })?;
                Ok((database, time))
            }
            Ok((format, _)) => Err(format!(
                "it has record format {format}, but this version of resilient reads formats {OLDEST} to {}: open it \
                 with the version that wrote it",
                FORMAT.1
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Identifies a file, to detect another one with the same name. Always `None` on systems other than Unix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u64, u64);

impl Id {
    #[cfg(unix)]
    fn of(path: &Path) -> std::io::Result<Option<Self>> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path)?;
        Ok(Some(Self(found.dev(), found.ino())))
    }

    #[cfg(not(unix))]
    fn of(_: &Path) -> std::io::Result<Option<Self>> {
        Ok(None)
    }

    /// Describes the problem if the file at `path` is no longer the one that was opened.
    pub(super) fn problem(id: Option<Self>, path: &Path) -> Option<String> {
        let what = match (id, Self::of(path)) {
            (Some(id), Ok(Some(found))) if found != id => "replaced",
            (Some(_), Err(error)) if error.kind() == ErrorKind::NotFound => "removed",
            _ => return None,
        };
        Some(format!(
            "it was {what} while it was open: new keys are rejected until the file is restored or the process restarts"
        ))
    }
}

/// Creates the file under a temporary name and then links it to its own, so that a killed process leaves no incomplete
/// file. If several processes do this at the same time, one of their files is used.
fn make(path: &Path) -> Result<(), String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut name = path.file_name().ok_or("the path has no file name")?.to_owned();
    name.push(format!(".new-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
    let new = path.with_file_name(name);
    // Left behind by a killed process with the same process id.
    let _ = std::fs::remove_file(&new);
    let made = found(&new).and_then(|()| {
        let put = std::fs::hard_link(&new, path).or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Ok(()),
            // The file system has no hard links. Do not overwrite a file that was created in the meantime.
            _ if !path.exists() => std::fs::rename(&new, path),
            _ => Ok(()),
        });
        put.and_then(|()| sync_names(path)).map_err(|error| error.to_string())
    });
    let _ = std::fs::remove_file(&new);
    made
}

/// Marks the file as one that can contain records of the current format.
fn upgrade(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(FORMAT.0, FORMAT.1)?;
    transaction.commit()?;
    Ok(())
}

fn found(path: &Path) -> Result<(), String> {
    let database = Builder::new().create(path).map_err(reason)?;
    let write = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(META)?.insert(FORMAT.0, FORMAT.1)?;
        transaction.commit()?;
        Ok(())
    };
    write().map_err(|error| error.to_string())
}

/// A new file name is durable once its directory is synced.
#[cfg(unix)]
fn sync_names(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Other systems cannot sync a directory.
#[cfg(not(unix))]
fn sync_names(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn reason(error: DatabaseError) -> String {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            "it is already open; a file can be used by one store of one process at a time".into()
        }
        DatabaseError::Storage(StorageError::Corrupted(what)) => {
            format!("the file is damaged ({what}); restore it from a backup")
        }
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            "it is not a database, or it is damaged".into()
        }
        error => error.to_string(),
    }
}
