//! A database file: its format, and the checks when it is opened.

use std::fmt::Display;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableHandle,
    WriteTransaction,
};

/// The kind of a file and its format.
#[doc(hidden)]
#[derive(Debug)]
pub struct FileFormat {
    /// The words for it in errors, such as "idempotency store".
    pub words: &'static str,
    /// The name of the table with the metadata of the file. Its entry `format` is the number of the format.
    pub meta: &'static str,
    /// Creates the other tables.
    pub create: fn(&WriteTransaction) -> Result<(), redb::Error>,
    /// A file of a format between these is readable. It is marked as one of the latest format when it is opened, because the
    /// version that wrote it would take new records for damaged ones.
    pub oldest: u64,
    pub latest: u64,
}

impl FileFormat {
    fn meta(&self) -> TableDefinition<'static, &'static str, u64> {
        TableDefinition::new(self.meta)
    }
}

const FORMAT: &str = "format";

/// Cache size in bytes. Little is read again, and the operating system has its own cache.
const CACHE: usize = 16 << 20;

/// The error when a file cannot be opened.
///
/// ```
/// use resilient_runtime::idempotency::DurableStore;
///
/// let error = DurableStore::open("/no/such/folder/payments.idempotency").err().unwrap();
/// assert!(error.to_string().starts_with("cannot open idempotency store /no/such/folder/payments.idempotency: "));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot open {words} {}: {reason}", path.display())]
pub struct OpenError {
    words: &'static str,
    path: PathBuf,
    reason: String,
}

impl OpenError {
    /// An error of a file of this format.
    #[doc(hidden)]
    pub fn new(format: &FileFormat, path: &Path, reason: impl Display) -> Self {
        Self { words: format.words, path: path.to_owned(), reason: reason.to_string() }
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
#[doc(hidden)]
#[derive(Debug)]
pub struct DatabaseFile {
    pub path: PathBuf,
    pub database: Database,
    id: Option<FileId>,
}

impl DatabaseFile {
    /// Opens the file or creates it.
    ///
    /// # Errors
    /// If it is open elsewhere, cannot be read or written, is damaged, or belongs to another program. Then it is not changed.
    pub fn open(path: &Path, format: &FileFormat) -> Result<Self, OpenError> {
        // redb panics on some damaged files.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::read(path, format)));
        let opened = opened.unwrap_or_else(|_| Err("the file is damaged; restore it from a backup".into()));
        let database = opened.map_err(|reason| OpenError::new(format, path, reason))?;
        Ok(Self { path: path.to_owned(), database, id: FileId::of(path).ok().flatten() })
    }

    /// Identifies the file.
    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    fn read(path: &Path, format: &FileFormat) -> Result<Database, String> {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err("it is a directory".into()),
            Ok(found) if found.len() == 0 => {
                return Err("it is empty; remove it to create a new store".into());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => make(path, format)?,
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
        if !tables.iter().any(|table| table == format.meta) {
            return Err(format!("it is a database of another program (tables: {})", tables.join(", ")));
        }
        let number = || -> Result<u64, redb::Error> {
            let meta = database.begin_read()?.open_table(format.meta())?;
            Ok(meta.get(FORMAT)?.map_or(0, |number| number.value()))
        };
        let number = number().map_err(|error| error.to_string())?;
        let FileFormat { oldest, latest, .. } = *format;
        if (oldest..latest).contains(&number) {
            upgrade(&database, format)
                .map_err(|error| format!("cannot upgrade its format from {number} to {latest}: {error}"))?;
        } else if number != latest {
            return Err(format!(
                "it has record format {number}, but this version of resilient reads formats {oldest} to {latest}: open it \
                 with the version that wrote it"
            ));
        }
        Ok(database)
    }
}

/// Identifies a file, to detect another one with the same name. Always `None` on systems other than Unix.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u64, u64);

impl FileId {
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
    pub fn problem(id: Option<Self>, path: &Path) -> Option<String> {
        let what = match (id, Self::of(path)) {
            (Some(id), Ok(Some(found))) if found != id => "replaced",
            (Some(_), Err(error)) if error.kind() == ErrorKind::NotFound => "removed",
            _ => return None,
        };
        Some(format!(
            "it was {what} while it was open: nothing new is accepted until the file is restored or the process restarts"
        ))
    }
}

/// Creates the file under a temporary name and then links it to its own, so that a killed process leaves no incomplete
/// file. If several processes do this at the same time, one of their files is used.
fn make(path: &Path, format: &FileFormat) -> Result<(), String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut name = path.file_name().ok_or("the path has no file name")?.to_owned();
    name.push(format!(".new-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
    let new = path.with_file_name(name);
    // Left behind by a killed process with the same process id.
    let _ = std::fs::remove_file(&new);
    let made = found(&new, format).and_then(|()| {
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
fn upgrade(database: &Database, format: &FileFormat) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(format.meta())?.insert(FORMAT, format.latest)?;
    transaction.commit()?;
    Ok(())
}

fn found(path: &Path, format: &FileFormat) -> Result<(), String> {
    let database = Builder::new().create(path).map_err(reason)?;
    let write = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        (format.create)(&transaction)?;
        transaction.open_table(format.meta())?.insert(FORMAT, format.latest)?;
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
