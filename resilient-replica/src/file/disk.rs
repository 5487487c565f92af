//! A database file and its two threads: one commits the changes that wait together, the other one reads.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, WriteTransaction};
use resilient_runtime::clock::{Clock, Instant};
use resilient_runtime::store::file::{DatabaseFile, FileFormat, FileId, OpenError};
use resilient_runtime::store::{Answer, StoreError};
use tokio::sync::oneshot;

/// Maximum number of changes in one commit.
const BATCH: usize = 256;
/// Maximum number of changes, and of reads, that wait.
const WAITING: usize = 4096;
/// First and longest delay before the next change after a failed commit.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// An open file. Dropping it waits until all changes are written.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    /// `None` while it is dropped.
    changes: Option<SyncSender<Box<dyn Change>>>,
    reads: Option<SyncSender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

type Read = Box<dyn FnOnce(Result<&Database, StoreError>) + Send>;

/// A change that waits for its commit.
trait Change: Send {
    /// Makes the change. Returns whether there is something to commit.
    fn make(&mut self, transaction: &WriteTransaction) -> Result<bool, redb::Error>;

    /// Tells the result after the commit, or after a failure.
    fn end(self: Box<Self>, failure: Option<&StoreError>);
}

/// The result of a change, and whether there is something to commit. An error of the file fails all changes of the commit.
pub(crate) type Made<T> = Result<(Result<T, StoreError>, bool), redb::Error>;

struct One<T, F> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    tell: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F> Change for One<T, F>
where
    F: FnOnce(&WriteTransaction) -> Made<T> + Send,
{
    fn make(&mut self, transaction: &WriteTransaction) -> Result<bool, redb::Error> {
        let Some(work) = self.work.take() else { return Ok(false) };
        let (result, is_change) = work(transaction)?;
        self.result = Some(result);
        Ok(is_change)
    }

    fn end(self: Box<Self>, failure: Option<&StoreError>) {
        let unknown = || StoreError::Unavailable("the change was not written".to_owned());
        let told = match failure {
            Some(failure) => Err(failure.clone()),
            None => self.result.unwrap_or_else(|| Err(unknown())),
        };
        // The receiver may have been dropped.
        drop(self.tell.send(told));
    }
}

impl Disk {
    pub(crate) fn open(path: &Path, format: &'static FileFormat) -> Result<Self, OpenError> {
        Self::of(DatabaseFile::open(path, format)?, format)
    }

    /// Starts the threads of an open file.
    pub(crate) fn of(file: DatabaseFile, format: &'static FileFormat) -> Result<Self, OpenError> {
        let path = &*file.path.clone();
        let (changes, to_write) = sync_channel(WAITING);
        let (reads, to_read) = sync_channel::<Read>(WAITING);
        let source =
            Source { path: path.to_owned(), format, id: file.id(), file: Mutex::new(Some(Arc::new(file))) };
        let source = Arc::new(source);
        let writer = Writer::new(Arc::clone(&source));
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(format!("resilient-replica-{name}")).spawn(work);
            thread.map_err(|error| OpenError::new(format, path, format!("cannot start its thread: {error}")))
        };
        let writer = start("write", Box::new(move || writer.run(&to_write)))?;
        let reader = start("read", Box::new(move || source.read(&to_read)))?;
        Ok(Self {
            path: path.to_owned(),
            changes: Some(changes),
            reads: Some(reads),
            threads: vec![writer, reader],
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a change at once. It is on disk when the future returns, and is made even if the future is dropped.
    pub(crate) fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Made<T> + Send + 'static,
    ) -> Answer<'static, T> {
        let (tell, told) = oneshot::channel();
        let one = One { work: Some(change), result: None, tell };
        self.answered(start(self.changes.as_ref(), Box::new(one)), told)
    }

    /// Reads what is on disk.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<Result<T, StoreError>, redb::Error> + Send + 'static,
    ) -> Answer<'static, T> {
        let (tell, told) = oneshot::channel();
        let path = self.path.clone();
        let read: Read = Box::new(move |database| {
            let found = database.and_then(|database| {
                caught(|| read(database)).unwrap_or_else(|problem| Err(unavailable(&path, problem)))
            });
            drop(tell.send(found));
        });
        self.answered(start(self.reads.as_ref(), read), told)
    }

    fn answered<T: Send + 'static>(
        &self,
        started: Result<(), String>,
        told: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Answer<'static, T> {
        let path = self.path.clone();
        Box::pin(async move {
            started.map_err(|problem| unavailable(&path, problem))?;
            told.await.unwrap_or_else(|_| Err(unavailable(&path, ENDED)))
        })
    }
}

const ENDED: &str = "its thread has ended";

fn start<M>(thread: Option<&SyncSender<M>>, message: M) -> Result<(), String> {
    match thread.map(|thread| thread.try_send(message)) {
        Some(Ok(())) => Ok(()),
        Some(Err(TrySendError::Full(_))) => Err(format!("{WAITING} requests are waiting for the disk")),
        Some(Err(TrySendError::Disconnected(_))) | None => Err(ENDED.to_owned()),
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        (self.changes, self.reads) = (None, None);
        for thread in self.threads.drain(..) {
            // A panic was already reported to the callers that wait.
            let _ = thread.join();
        }
    }
}

fn unavailable(path: &Path, problem: impl Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {problem}", path.display()))
}

/// Catches panics of redb, which a file that is damaged while it is open can cause.
fn caught<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the file is damaged; restore it from a backup".to_owned()),
    }
}

/// The file, which both threads use.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    format: &'static FileFormat,
    /// The file that was opened first. It is never replaced by another one.
    id: Option<FileId>,
    /// `None` if it must be opened again.
    file: Mutex<Option<Arc<DatabaseFile>>>,
}

impl Source {
    fn file(&self) -> MutexGuard<'_, Option<Arc<DatabaseFile>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file. Opens it again after a failure.
    fn opened(&self) -> Result<Arc<DatabaseFile>, String> {
        let mut file = self.file();
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        // A missing file is not created: that would forget all records.
        self.is_same()?;
        let opened = DatabaseFile::open(&self.path, self.format).map_err(|error| error.to_string())?;
        Ok(Arc::clone(file.insert(Arc::new(opened))))
    }

    /// An error if the file was removed or replaced, because changes would be lost when the process ends.
    fn is_same(&self) -> Result<(), String> {
        FileId::problem(self.id, &self.path).map_or(Ok(()), Err)
    }

    fn read(&self, reads: &Receiver<Read>) {
        while let Ok(read) = reads.recv() {
            match self.opened() {
                Ok(file) => read(Ok(&file.database)),
                Err(problem) => read(Err(unavailable(&self.path, problem))),
            }
        }
    }
}

struct Writer {
    source: Arc<Source>,
    clock: Clock,
    /// When to write again after a failure, and the next delay.
    again_at: Instant,
    again: Duration,
}

impl Writer {
    fn new(source: Arc<Source>) -> Self {
        let clock = Clock::system();
        Self { source, again_at: clock.now(), clock, again: AGAIN.0 }
    }

    fn run(mut self, changes: &Receiver<Box<dyn Change>>) {
        while let Ok(first) = changes.recv() {
            let mut batch: Vec<_> = std::iter::once(first).chain(changes.try_iter()).take(BATCH).collect();
            let failure = self.write(&mut batch).err();
            let failure = failure.map(|problem| unavailable(&self.source.path, problem));
            batch.into_iter().for_each(|change| change.end(failure.as_ref()));
        }
    }

    fn write(&mut self, batch: &mut [Box<dyn Change>]) -> Result<(), String> {
        if self.clock.now() < self.again_at {
            return Err("the last write failed; it is retried shortly".to_owned());
        }
        self.source.is_same()?;
        let written = self.source.opened().and_then(|file| caught(|| commit(&file.database, batch)));
        if written.is_ok() {
            self.again = AGAIN.0;
        } else {
            // The changes may be in the file or not. Opened again, it shows its real state.
            *self.source.file() = None;
            self.again_at = self.clock.now().after(self.again);
            self.again = (self.again * 2).min(AGAIN.1);
        }
        written
    }
}

/// Makes the changes in one transaction and waits until it is on disk.
fn commit(database: &Database, batch: &mut [Box<dyn Change>]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut is_changed = false;
    for change in batch {
        is_changed |= change.make(&transaction)?;
    }
    if is_changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(())
}
