//! Records in a file that outlives the process.

mod file;
mod row;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

pub use file::OpenError;

use self::file::File;
use self::writer::{Ask, Reply, Writer};
use super::record::Time;
use super::store::{Answer, Claim, Claimed, IdempotencyStore, Owner, StoreError};
use crate::clock::{Clock, nanos};

/// Records that are kept unless it is said how many.
const RECORDS: u64 = 1_000_000;
/// Questions that wait for the writer at most.
const WAITING: usize = 4096;

/// Keeps records in a file ([redb](https://docs.rs/redb)), for one process at a time. What was acknowledged is there
/// after a crash of the process or of the machine, as far as the disk keeps what it says that it has written.
///
/// One thread writes, and takes all who wait into one commit. It ends with the store, and does not keep the process
/// alive.
///
/// Leases and answers last by the wall clock of the moment in which the file was opened, and from then on by a clock that
/// nobody can set. Time in the file never goes back: with a wall clock that is behind what the file has seen, records are
/// kept longer and not shorter.
///
/// ```no_run
/// use std::sync::Arc;
/// use resilient_runtime::idempotency::DurableStore;
///
/// let store = DurableStore::open("payments.idempotency")?;
/// resilient_runtime::registry().set_idempotency_store("payments", Arc::new(store));
/// // From here on: #[resilient(idempotent(key = &order.id, store = "payments"))]
/// # Ok::<_, resilient_runtime::idempotency::OpenError>(())
/// ```
pub struct DurableStore {
    path: PathBuf,
    /// `None` once it is being dropped.
    asks: Option<SyncSender<Ask>>,
    writer: Option<JoinHandle<()>>,
}

impl DurableStore {
    /// Opens the file at `path`, or makes it, for up to a million records.
    ///
    /// ```
    /// use resilient_runtime::idempotency::DurableStore;
    /// # let path = std::env::temp_dir().join(format!("resilient-open-{}", std::process::id()));
    ///
    /// let store = DurableStore::open(&path)?;
    /// assert!(DurableStore::open(&path).is_err(), "for one at a time");
    /// # drop(store);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<_, resilient_runtime::idempotency::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// When it is open elsewhere, cannot be read and written, is damaged, or is another program's. It is never
    /// overwritten then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_bounded(path, RECORDS)
    }

    /// As [`open`](Self::open), for up to `limit` records. When there are as many live ones, new keys are refused,
    /// whoever has filled it: to forget one would be to carry a call out twice.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, idempotency::{DurableStore, Fingerprint}};
    /// # let path = std::env::temp_dir().join(format!("resilient-bounded-{}", std::process::id()));
    ///
    /// let once = Registry::new().idempotency("charge");
    /// once.set_store(Arc::new(DurableStore::open_bounded(&path, 1)?));
    /// assert_eq!(once.call("order 7", Fingerprint::NONE, || Some(995)), Some(995));
    /// assert_eq!(once.call("order 8", Fingerprint::NONE, || Some(1)), None, "it is full");
    /// # drop(once);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<_, resilient_runtime::idempotency::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_bounded(path: impl AsRef<Path>, limit: u64) -> Result<Self, OpenError> {
        // The one clock that goes on between two processes.
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
        let writer =
            writer.map_err(|error| OpenError::new(path, format!("no thread to write it: {error}")))?;
        Ok(Self { path: path.to_owned(), asks: Some(sender), writer: Some(writer) })
    }

    /// Where the file is.
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

    /// Hands the question over now, so that it is answered though nobody waits.
    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(oneshot::Sender<Reply<T>>) -> Ask) -> Answer<'_, T> {
        let (tell, told) = oneshot::channel();
        let sent = match &self.asks {
            Some(asks) => asks.try_send(ask(tell)),
            None => return self.ended(),
        };
        match sent {
            Ok(()) => Box::pin(async move { told.await.unwrap_or_else(|_| Err(self.has_ended())) }),
            Err(TrySendError::Full(_)) => {
                let problem = format!("{}: {WAITING} questions wait for the disk", self.path.display());
                super::store::ready(Err(StoreError::Unavailable(problem)))
            }
            Err(TrySendError::Disconnected(_)) => self.ended(),
        }
    }

    fn ended<T: Send + 'static>(&self) -> Answer<'_, T> {
        super::store::ready(Err(self.has_ended()))
    }

    fn has_ended(&self) -> StoreError {
        StoreError::Unavailable(format!("{}: its thread has ended", self.path.display()))
    }
}

impl fmt::Debug for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for DurableStore {
    /// Waits until what was asked is written, and the file can be opened again.
    fn drop(&mut self) {
        self.asks = None;
        if let Some(writer) = self.writer.take() {
            // A panic of its was told to all who waited.
            let _ = writer.join();
        }
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
