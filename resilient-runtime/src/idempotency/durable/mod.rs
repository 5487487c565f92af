//! A store in a file, which survives a restart of the process.

mod file;
mod row;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

pub use crate::store::file::OpenError;

use self::file::{FORMAT, File};
use self::writer::{Ask, Reply, Writer};
use super::record::Time;
use crate::clock::{Clock, nanos};
use crate::store::idempotency::{Claim, Claimed, IdempotencyStore, Owner};
use crate::store::{Answer, Backend, StoreError};

/// Default limit for the number of records.
const RECORDS: u64 = 1_000_000;
/// Maximum number of requests that wait for the writer.
const WAITING: usize = 4096;

/// Stores records in a [redb](https://docs.rs/redb) file.
///
/// Only one process at a time can use the file.
///
/// Acknowledged changes survive a crash of the process or the machine, provided that the disk keeps what it reports as
/// written.
///
/// A writer thread commits all waiting changes together. It ends when the store is dropped and does not keep the
/// process alive.
///
/// Leases and results expire by the wall clock at the time the file was opened, advanced by a monotonic clock. Time in
/// the file never goes back: if the wall clock is behind the file, records are stored longer, not shorter.
///
/// ```no_run
/// use std::sync::Arc;
/// use resilient_runtime::idempotency::DurableStore;
///
/// let store = DurableStore::open("payments.idempotency")?;
/// resilient_runtime::registry().use_store("payments", store);
/// // Then use it: #[resilient(idempotent(key = &order.id, store = "payments"))]
/// # Ok::<_, resilient_runtime::idempotency::OpenError>(())
/// ```
pub struct DurableStore {
    path: PathBuf,
    /// `None` while the store is dropped.
    asks: Option<SyncSender<Ask>>,
    writer: Option<JoinHandle<()>>,
}

impl DurableStore {
    /// Opens the file at `path` or creates it, for up to a million records.
    ///
    /// ```
    /// use resilient_runtime::idempotency::DurableStore;
    /// # let path = std::env::temp_dir().join(format!("resilient-open-{}", std::process::id()));
    ///
    /// let store = DurableStore::open(&path)?;
    /// assert!(DurableStore::open(&path).is_err(), "the file is already open");
    /// # drop(store);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<_, resilient_runtime::idempotency::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the file is open elsewhere, cannot be read or written, is damaged, or belongs to another
    /// program. In that case the file is not changed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_bounded(path, RECORDS)
    }

    /// Like [`open`](Self::open), for up to `limit` records.
    ///
    /// When `limit` records are live, new keys are rejected for all clients. A live record is never dropped to make
    /// room: without it, its call could be executed twice.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, idempotency::{DurableStore, Fingerprint}};
    /// # let path = std::env::temp_dir().join(format!("resilient-bounded-{}", std::process::id()));
    ///
    /// let once = Registry::new().idempotency("charge");
    /// once.set_store(Arc::new(DurableStore::open_bounded(&path, 1)?));
    /// assert_eq!(once.call("order 7", Fingerprint::NONE, || Some(995)), Some(995));
    /// assert_eq!(once.call("order 8", Fingerprint::NONE, || Some(1)), None, "the store is full");
    /// # drop(once);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<_, resilient_runtime::idempotency::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn open_bounded(path: impl AsRef<Path>, limit: u64) -> Result<Self, OpenError> {
        // Only the wall clock continues from one process to the next.
        #[allow(clippy::disallowed_methods)]
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::open_at(path.as_ref(), limit, Clock::system(), nanos(wall))
    }

    fn open_at(path: &Path, limit: u64, clock: Clock, wall: Time) -> Result<Self, OpenError> {
        let file = File::open(path)?;
        let (sender, asks) = sync_channel(WAITING);
        let writer = Writer::new(file, limit, clock, wall);
        let name = "resilient-idempotency".to_owned();
        let writer = std::thread::Builder::new().name(name).spawn(move || writer.run(&asks));
        let writer = writer.map_err(|error| {
            OpenError::new(&FORMAT, path, format!("cannot start the writer thread: {error}"))
        })?;
        Ok(Self { path: path.to_owned(), asks: Some(sender), writer: Some(writer) })
    }

    /// Returns the path of the file.
    ///
    /// ```
    /// use resilient_runtime::idempotency::DurableStore;
    /// # let path = std::env::temp_dir().join(format!("resilient-path-{}", std::process::id()));
    ///
    /// let store = DurableStore::open(&path)?;
    /// assert_eq!(store.path(), path);
    /// # drop(store);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<_, resilient_runtime::idempotency::OpenError>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends the request at once, so that it is processed even if the future is dropped.
    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(oneshot::Sender<Reply<T>>) -> Ask) -> Answer<'_, T> {
        let (tell, told) = oneshot::channel();
        let sent = match &self.asks {
            Some(asks) => asks.try_send(ask(tell)),
            None => return self.ended(),
        };
        match sent {
            Ok(()) => Box::pin(async move { told.await.unwrap_or_else(|_| Err(self.has_ended())) }),
            Err(TrySendError::Full(_)) => {
                let problem = format!("{}: {WAITING} requests are waiting for the disk", self.path.display());
                crate::store::ready(Err(StoreError::Unavailable(problem)))
            }
            Err(TrySendError::Disconnected(_)) => self.ended(),
        }
    }

    fn ended<T: Send + 'static>(&self) -> Answer<'_, T> {
        crate::store::ready(Err(self.has_ended()))
    }

    fn has_ended(&self) -> StoreError {
        StoreError::Unavailable(format!("{}: the writer thread has ended", self.path.display()))
    }
}

impl fmt::Debug for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for DurableStore {
    /// Waits until all requests are written and the file is closed.
    fn drop(&mut self) {
        self.asks = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was already reported to the waiting callers.
            let _ = writer.join();
        }
    }
}

impl Backend for DurableStore {
    fn address(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn idempotency(&self) -> Option<&dyn IdempotencyStore> {
        Some(self)
    }
}

impl IdempotencyStore for DurableStore {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        self.ask(|tell| Ask::Claim(claim, tell))
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        self.ask(|tell| Ask::Renew(key.to_owned(), owner, nanos(lease), tell))
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        self.ask(|tell| Ask::Complete(key.to_owned(), owner, answer, nanos(ttl), tell))
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.ask(|tell| Ask::Abandon(key.to_owned(), owner, tell))
    }

    fn lose<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.ask(|tell| Ask::Lose(key.to_owned(), owner, tell))
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
