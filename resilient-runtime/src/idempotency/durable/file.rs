//! The file: what is in it, and what is refused.

use std::fmt::Display;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableHandle};

use crate::idempotency::record::Time;

/// Records by key.
pub(super) const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Numbers about the file itself.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("resilient_idempotency");
/// The form of the records. Form 1 has no operations in them; it is read, and marked as 2 when it is opened: the version
/// that wrote it would take new records for damaged ones.
const FORMAT: (&str, u64) = ("format", 2);
const OLDEST: u64 = 1;
/// The latest time that any record was written at.
pub(super) const TIME: &str = "time";

/// Of the file in memory: what is read again is small, and the system keeps a copy of its own.
const CACHE: usize = 16 << 20;

/// A file that cannot be used.
///
/// ```
/// use resilient_runtime::idempotency::DurableStore;
///
/// let error = DurableStore::open("/no/such/folder/payments.idempotency").err().unwrap();
/// assert!(error.to_string().starts_with("idempotency records in /no/such/folder/payments.idempotency: "));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("idempotency records in {}: {reason}", path.display())]
pub struct OpenError {
    path: PathBuf,
    reason: String,
}

impl OpenError {
    pub(super) fn new(path: &Path, reason: impl Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }

    /// Where the file is.
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
    /// The latest time in it.
    pub(super) time: Time,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        // What is damaged enough makes the library panic.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::read(path)));
        let opened = opened.unwrap_or_else(|_| Err("it is damaged; restore it from a backup".into()));
        let (database, time) = opened.map_err(|reason| OpenError::new(path, reason))?;
        Ok(Self { path: path.to_owned(), database, id: Id::of(path).ok().flatten(), time })
    }

    /// Which file it is.
    pub(super) fn id(&self) -> Option<Id> {
        self.id
    }

    fn read(path: &Path) -> Result<(Database, Time), String> {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err("it is a directory".into()),
            Ok(found) if found.len() == 0 => return Err("it is empty; remove it to begin anew".into()),
            Err(error) if error.kind() == ErrorKind::NotFound => make(path)?,
            _ => {}
        }
        let mut database = Builder::new().set_cache_size(CACHE).open(path).map_err(reason)?;
        // All of it: in what is damaged, a record may seem never to have been.
        if !database.check_integrity().map_err(reason)? {
            return Err("it is damaged; restore it from a backup".into());
        }
        let tables: Vec<String> = {
            let read = database.begin_read().map_err(|error| error.to_string())?;
            let tables = read.list_tables().map_err(|error| error.to_string())?;
            tables.map(|table| table.name().to_owned()).collect()
        };
        if !tables.iter().any(|table| table == META.name()) {
            return Err(format!(
                "it is a database of another program, with the tables {}",
                tables.join(", ")
            ));
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
                    format!("its form {format} cannot be changed to {}: {error}", FORMAT.1)
                })?;
                Ok((database, time))
            }
            Ok((format, _)) => Err(format!(
                "it has records of form {format}, and this version of resilient reads forms {OLDEST} to {}: open it with \
                 the version that wrote it",
                FORMAT.1
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What tells a file from another one of the same name; nothing where the system does not allow to remove open files.
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

    /// What has become of the file at `path`, if it is not the one that was opened any more.
    pub(super) fn problem(id: Option<Self>, path: &Path) -> Option<String> {
        let what = match (id, Self::of(path)) {
            (Some(id), Ok(Some(found))) if found != id => "replaced",
            (Some(_), Err(error)) if error.kind() == ErrorKind::NotFound => "removed",
            _ => return None,
        };
        Some(format!(
            "it was {what} while it was open: new keys are refused until it is put back or the process is started anew"
        ))
    }
}

/// Makes the file under another name, and gives it its own when it is whole: whoever is killed in between leaves none
/// that is not. Of several who do this at the same time one is heard.
fn make(path: &Path) -> Result<(), String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut name = path.file_name().ok_or("it has no name")?.to_owned();
    name.push(format!(".new-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
    let new = path.with_file_name(name);
    // Of a process that had our number and was killed.
    let _ = std::fs::remove_file(&new);
    let made = found(&new).and_then(|()| {
        let put = std::fs::hard_link(&new, path).or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Ok(()),
            // There are no links in this file system; and none is overwritten that has come meanwhile.
            _ if !path.exists() => std::fs::rename(&new, path),
            _ => Ok(()),
        });
        put.and_then(|()| sync_names(path)).map_err(|error| error.to_string())
    });
    let _ = std::fs::remove_file(&new);
    made
}

/// Says that newer records may be in it.
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

/// A name is on the disk when its directory is.
#[cfg(unix)]
fn sync_names(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Elsewhere directories cannot be synced.
#[cfg(not(unix))]
fn sync_names(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn reason(error: DatabaseError) -> String {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            "it is open already; a file serves one store of one process at a time".into()
        }
        DatabaseError::Storage(StorageError::Corrupted(what)) => {
            format!("it is damaged ({what}); restore it from a backup")
        }
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            "it is no database, or is damaged".into()
        }
        error => error.to_string(),
    }
}
