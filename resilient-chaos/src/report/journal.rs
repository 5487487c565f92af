//! The journal of an experiment: kept in memory, and written line by line.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Entry, EntryKind};

/// The largest number of entries in memory: of probes and circuits, which are frequent, and of all kinds except the
/// beginning and the end. A file has no limit.
const MOST_FREQUENT: usize = 50_000;
const MOST: usize = 2 * MOST_FREQUENT;
/// The largest number of entries that a follower receives at once.
const AT_ONCE: usize = 1_000;

/// A journal. Clones refer to the same one.
///
/// Each entry is written at once, so that the file is complete up to the moment at which a process dies.
///
/// ```
/// use resilient_chaos::report::Journal;
///
/// let journal = Journal::new();
/// journal.note("ada", "the pager rang");
/// assert_eq!(journal.entries().len(), 1);
/// ```
#[derive(Clone, Default)]
pub struct Journal(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// Wakes the task that follows the journal.
    added: Notify,
    /// Wakes the followers after each entry, and at the end.
    grown: Notify,
}

#[derive(Default)]
struct Inner {
    sink: Option<Box<dyn Write + Send>>,
    entries: Vec<Entry>,
    /// The time of the next entry.
    now: Duration,
    /// Why the file cannot be written.
    problem: Option<String>,
    /// Whether entries were left out of memory.
    is_full: bool,
    has_ended: bool,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("entries", &self.lock().entries.len()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Creates a journal in memory.
    ///
    /// ```
    /// assert!(resilient_chaos::report::Journal::new().entries().is_empty());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a journal that is also written to a file. An existing file is replaced.
    ///
    /// ```
    /// use resilient_chaos::report::{Journal, Report};
    /// # let path = std::env::temp_dir().join(format!("resilient-journal-{}.jsonl", std::process::id()));
    ///
    /// let journal = Journal::create(&path)?;
    /// journal.note("ada", "the pager rang");
    /// assert!(std::fs::read_to_string(&path)?.contains("the pager rang"), "written at once");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let journal = Self::default();
        journal.write_to(path.as_ref())?;
        Ok(journal)
    }

    /// Writes the entries that follow to a file. An existing file is replaced.
    pub(crate) fn write_to(&self, path: &Path) -> io::Result<()> {
        let file = std::fs::File::create(path).map_err(|error| {
            let what = format!("the journal `{}` cannot be created: {error}", path.display());
            io::Error::new(error.kind(), what)
        })?;
        self.lock().sink = Some(Box::new(file));
        Ok(())
    }

    /// Creates a journal that is also written to `sink`, one line per entry.
    ///
    /// ```
    /// let journal = resilient_chaos::report::Journal::to(std::io::sink());
    /// journal.note("ada", "the pager rang");
    /// assert_eq!(journal.problem(), None);
    /// ```
    pub fn to(sink: impl Write + Send + 'static) -> Self {
        let journal = Self::default();
        journal.lock().sink = Some(Box::new(sink));
        journal
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // An entry is complete or missing, whatever panicked.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a note of a person.
    ///
    /// ```
    /// let journal = resilient_chaos::report::Journal::new();
    /// journal.note("ada", "the dashboard shows nothing");
    /// assert_eq!(journal.entries()[0].seconds, 0.0);
    /// ```
    pub fn note(&self, by: &str, text: &str) {
        self.add(EntryKind::Note { by: by.to_owned(), text: text.to_owned() });
    }

    /// Returns a copy of all entries.
    ///
    /// ```
    /// assert!(resilient_chaos::report::Journal::new().entries().is_empty());
    /// ```
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Returns a copy of the entries from this number on, for a client that follows a running experiment.
    ///
    /// ```
    /// let journal = resilient_chaos::report::Journal::new();
    /// journal.note("ada", "one");
    /// journal.note("ada", "two");
    /// assert_eq!(journal.entries_from(1).len(), 1);
    /// ```
    pub fn entries_from(&self, first: usize) -> Vec<Entry> {
        self.lock().entries.get(first..).unwrap_or_default().to_vec()
    }

    /// Waits for entries from this number on, and returns up to 1000 of them. Returns `None` if what the journal records
    /// has ended and there is no such entry.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use resilient_chaos::{Runner, report::Journal, scenario::shipped};
    ///
    /// let registry = resilient_runtime::Registry::new();
    /// let journal = Journal::new();
    /// let runner = Runner::new(&registry, shipped("overload").unwrap().scenario()).journal(&journal);
    /// let follower = async {
    ///     let mut count = 0;
    ///     while let Some(entries) = journal.next(count).await {
    ///         count += entries.len();
    ///     }
    ///     count
    /// };
    /// let (_, count) = tokio::join!(runner.run(std::future::pending()), follower);
    /// assert_eq!(count, 3, "it began, was refused, and ended");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn next(&self, first: usize) -> Option<Vec<Entry>> {
        loop {
            // Before the look at the entries, so that no entry in between is missed.
            let grown = self.0.grown.notified();
            {
                let inner = self.lock();
                if let Some(entries) = inner.entries.get(first..).filter(|entries| !entries.is_empty()) {
                    return Some(entries[..entries.len().min(AT_ONCE)].to_vec());
                }
                if inner.has_ended {
                    return None;
                }
            }
            grown.await;
        }
    }

    /// Returns whether what the journal records has ended: the experiment, or the monkey.
    ///
    /// ```
    /// assert!(!resilient_chaos::report::Journal::new().has_ended());
    /// ```
    pub fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    /// Returns whether both refer to the same journal.
    ///
    /// ```
    /// use resilient_chaos::report::Journal;
    ///
    /// let journal = Journal::new();
    /// assert!(journal.is_same(&journal.clone()) && !journal.is_same(&Journal::new()));
    /// ```
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Marks the end for followers, for what ends without [`EntryKind::Ended`].
    pub(crate) fn set_ended(&self, has_ended: bool) {
        self.lock().has_ended = has_ended;
        self.0.grown.notify_waiters();
    }

    /// Returns why the file cannot be written, if so.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::report::Journal::new().problem(), None);
    /// ```
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// Sets the time of the entries that follow.
    pub(crate) fn set_now(&self, now: Duration) {
        self.lock().now = now;
    }

    /// Waits until an entry was added since the last call. Only one task can wait at a time.
    pub(crate) async fn added(&self) {
        self.0.added.notified().await;
    }

    pub(crate) fn add(&self, what: EntryKind) {
        self.insert(what);
        self.0.added.notify_one();
    }

    fn insert(&self, what: EntryKind) {
        let mut inner = self.lock();
        let entry = Entry { seconds: (inner.now.as_secs_f64() * 1000.0).round() / 1000.0, what };
        if inner.problem.is_none()
            && let Some(sink) = &mut inner.sink
        {
            // One write per line, so that a line is complete or missing.
            let written = serde_json::to_string(&entry).map_err(io::Error::from).and_then(|mut line| {
                line.push('\n');
                sink.write_all(line.as_bytes())?;
                sink.flush()
            });
            if let Err(error) = written {
                inner.problem = Some(format!(
                    "the journal cannot be written: {error}; free space or choose another folder"
                ));
            }
        }
        match entry.what {
            EntryKind::Began(_) => inner.has_ended = false,
            EntryKind::Ended { .. } => inner.has_ended = true,
            _ => {}
        }
        let most = match entry.what {
            EntryKind::Probe { .. } | EntryKind::Circuit { .. } => MOST_FREQUENT,
            EntryKind::Began(_) | EntryKind::Refused { .. } | EntryKind::Ended { .. } => usize::MAX,
            _ => MOST,
        };
        if inner.entries.len() < most {
            inner.entries.push(entry);
        } else if !inner.is_full {
            inner.is_full = true;
            let text = format!(
                "after {most} entries, further ones of this kind are only in the file of the journal"
            );
            let seconds = entry.seconds;
            inner.entries.push(Entry { seconds, what: EntryKind::Warning { text } });
        }
        drop(inner);
        self.0.grown.notify_waiters();
    }
}
