//! The writer thread, which commits all waiting requests together.

use std::collections::{HashSet, VecDeque};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, Table};
use tokio::sync::oneshot;

use super::file::{File, META, RECORDS, TIME};
use super::row;
use crate::clock::{Clock, Instant};
use crate::idempotency::record::{Record, Time};
use crate::store::StoreError;
use crate::store::file::FileId;
use crate::store::idempotency::{Claim, Claimed, Owner};

/// Maximum number of requests in one commit.
const BATCH: usize = 256;
/// Number of records checked for expiry per changed record. More than one, so that expired records do not accumulate.
const SWEPT: usize = 4;
/// Number of records checked for expiry per commit while the store is full.
const SWEPT_FULL: usize = 1024;
/// First and longest delay before the next write after a failed one. Reads continue during the delay.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

pub(super) type Reply<T> = Result<T, StoreError>;
type ReplySender<T> = oneshot::Sender<Reply<T>>;
type Records<'t> = Table<'t, &'static str, &'static [u8]>;

/// A request, and the channel for its reply.
pub(super) enum Ask {
    Claim(Claim, ReplySender<Claimed>),
    Renew(String, Owner, Time, ReplySender<bool>),
    Complete(String, Owner, Vec<u8>, Time, ReplySender<bool>),
    Abandon(String, Owner, ReplySender<bool>),
    Lose(String, Owner, ReplySender<bool>),
}

/// A reply that is sent after the commit.
enum Due {
    /// The reply does not depend on the commit.
    Known(ReplySender<Claimed>, Claimed),
    Claimed(ReplySender<Claimed>, Reply<Claimed>),
    StillOwned(ReplySender<bool>, Reply<bool>),
}

impl Due {
    /// Sends the reply. Ignores receivers that were dropped.
    fn tell(self, failure: Option<&StoreError>) {
        match self {
            Self::Known(tell, claimed) => drop(tell.send(Ok(claimed))),
            Self::Claimed(tell, told) => drop(tell.send(failure.map_or(told, |error| Err(error.clone())))),
            Self::StillOwned(tell, told) => drop(tell.send(failure.map_or(told, |error| Err(error.clone())))),
        }
    }
}

/// The clock of the file.
struct Timeline {
    clock: Clock,
    /// When the file was opened, on the process's clock.
    opened: Instant,
    /// The same moment in the time of the file.
    base: Time,
}

impl Timeline {
    fn now(&self) -> Time {
        self.base.saturating_add(self.clock.now().nanos_since(self.opened))
    }
}

pub(super) struct Writer {
    path: PathBuf,
    /// `None` if it must be opened again.
    file: Option<File>,
    limit: u64,
    timeline: Timeline,
    /// The file that the store opened. It is never replaced by a new one.
    id: Option<FileId>,
    /// The key at which the next sweep starts.
    cursor: String,
    /// When to write again after a failure, and the next delay.
    again_at: Instant,
    again: Duration,
    /// Whether it was logged that the file is gone.
    is_gone: bool,
}

impl Writer {
    pub(super) fn new(file: File, limit: u64, clock: Clock, wall: Time) -> Self {
        let opened = clock.now();
        // If the wall clock went back, time in the file does not.
        let timeline = Timeline { clock, opened, base: wall.max(file.time) };
        let (path, id, again_at) = (file.file.path.clone(), file.id(), timeline.opened);
        let cursor = String::new();
        Self { path, file: Some(file), limit, timeline, id, cursor, again_at, again: AGAIN.0, is_gone: false }
    }

    /// Runs until the store is dropped and all requests are processed.
    pub(super) fn run(mut self, asks: &Receiver<Ask>) {
        while let Ok(first) = asks.recv() {
            let mut batch: VecDeque<Ask> =
                std::iter::once(first).chain(asks.try_iter()).take(BATCH).collect();
            let mut due = Vec::with_capacity(batch.len());
            let failure = self.write_or_hold(&mut batch, &mut due).err();
            let failure = failure.map(|problem| self.unavailable(&problem));
            if failure.is_some() {
                self.read(&mut batch, &mut due);
            }
            due.extend(batch.into_iter().map(Ask::unanswered));
            due.into_iter().for_each(|due| due.tell(failure.as_ref()));
        }
    }

    fn unavailable(&self, problem: &str) -> StoreError {
        StoreError::Unavailable(format!("{}: {problem}", self.path.display()))
    }

    /// Writes a batch, unless the last write failed a moment ago.
    fn write_or_hold(&mut self, batch: &mut VecDeque<Ask>, due: &mut Vec<Due>) -> Result<(), String> {
        if self.timeline.clock.now() < self.again_at {
            return Err("the last write failed; it is retried shortly".into());
        }
        let gone = self.gone();
        let written = self.caught(|writer| writer.write(batch, due, gone.as_ref()));
        if written.is_ok() {
            self.again = AGAIN.0;
        } else {
            // The failed changes may be in the file or not. Open it again, so that the next request reads its real
            // state.
            self.file = None;
            self.again_at = self.timeline.clock.now().after(self.again);
            self.again = (self.again * 2).min(AGAIN.1);
        }
        written
    }

    /// Catches panics of redb, which a file damaged while open can cause.
    fn caught<T>(&mut self, ask: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        catch_unwind(AssertUnwindSafe(|| ask(self))).unwrap_or_else(|_| Err("the file is damaged".into()))
    }

    /// An error if the file was removed or replaced. Its records are still read, but changes would be lost when the
    /// process ends.
    fn gone(&mut self) -> Option<StoreError> {
        let problem = FileId::problem(self.id, &self.path);
        let path = self.path.display();
        match &problem {
            Some(problem) if !self.is_gone => {
                tracing::error!(target: "resilient_runtime::idempotency", %path, problem, "the file of an idempotency store was removed or replaced");
            }
            None if self.is_gone => {
                tracing::warn!(target: "resilient_runtime::idempotency", %path, "the file of an idempotency store was restored");
            }
            _ => {}
        }
        self.is_gone = problem.is_some();
        problem.map(|problem| self.unavailable(&problem))
    }

    /// Processes a batch and commits the changes. If that fails, only replies that do not depend on the commit are
    /// valid, and requests that were not processed stay in the batch. If the file is `gone`, new claims are rejected.
    fn write(
        &mut self,
        batch: &mut VecDeque<Ask>,
        due: &mut Vec<Due>,
        gone: Option<&StoreError>,
    ) -> Result<(), String> {
        let now = self.timeline.now();
        let limits = Limits { now, records: self.limit, gone };
        self.open()?;
        let Some(file) = &self.file else { return Ok(()) };
        let mut changed = HashSet::new();
        commit(file, now, |records| {
            while let Some(ask) = batch.pop_front() {
                answer(records, ask, &limits, &mut changed, due)?;
            }
            let is_full = records.len()? >= self.limit;
            let swept = if is_full { SWEPT_FULL } else { changed.len() * SWEPT };
            Ok(changed.len() + sweep(records, &mut self.cursor, now, swept)?)
        })
        .map_err(|error| error.to_string())
    }

    /// Replies to the claims in a batch that change nothing, for example claims of completed keys.
    fn read(&mut self, batch: &mut VecDeque<Ask>, due: &mut Vec<Due>) {
        let mut rest = VecDeque::new();
        while let Some(ask) = batch.pop_front() {
            match ask {
                Ask::Claim(claim, tell) => match self.caught(|writer| writer.look_up(&claim)) {
                    Ok(Some(claimed)) => due.push(Due::Known(tell, claimed)),
                    _ => rest.push_back(Ask::Claim(claim, tell)),
                },
                ask => rest.push_back(ask),
            }
        }
        *batch = rest;
    }

    /// Reads the record of a key. `None` if the claim would succeed.
    fn look_up(&mut self, claim: &Claim) -> Result<Option<Claimed>, String> {
        self.open()?;
        let (Some(file), now) = (&self.file, self.timeline.now()) else { return Ok(None) };
        let found = || -> Result<_, redb::Error> {
            let records = file.file.database.begin_read()?.open_table(RECORDS)?;
            Ok(records.get(&*claim.key)?.and_then(|bytes| row::read(&claim.key, bytes.value())))
        };
        let found = found().map_err(|error| {
            self.file = None;
            error.to_string()
        })?;
        let record = found.filter(|record| !record.is_over(now));
        Ok(record.map(|record| record.answer(claim, now)).filter(|claimed| *claimed != Claimed::Acquired))
    }

    /// Opens the file again after a failure.
    fn open(&mut self) -> Result<(), String> {
        if self.file.is_some() {
            return Ok(());
        }
        // Do not create a missing file: that would forget all records.
        if let Some(problem) = FileId::problem(self.id, &self.path) {
            return Err(problem);
        }
        self.file = Some(File::open(&self.path).map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// Limits for new records.
struct Limits<'a> {
    now: Time,
    records: u64,
    gone: Option<&'a StoreError>,
}

/// Changes records in one transaction and waits until it is on disk. Writes nothing if there were no changes.
fn commit(
    file: &File,
    now: Time,
    change: impl FnOnce(&mut Records<'_>) -> Result<usize, redb::Error>,
) -> Result<(), redb::Error> {
    let transaction = file.file.database.begin_write()?;
    let changes = change(&mut transaction.open_table(RECORDS)?)?;
    if changes == 0 {
        transaction.abort()?;
        return Ok(());
    }
    transaction.open_table(META)?.insert(TIME, now)?;
    transaction.commit()?;
    Ok(())
}

impl Ask {
    /// An error reply. The caller replaces the error with the actual failure.
    fn unanswered(self) -> Due {
        let unknown = || StoreError::Unavailable("the change was not written".into());
        match self {
            Ask::Claim(_, tell) => Due::Claimed(tell, Err(unknown())),
            Ask::Renew(.., tell) | Ask::Complete(.., tell) | Ask::Abandon(.., tell) | Ask::Lose(.., tell) => {
                Due::StillOwned(tell, Err(unknown()))
            }
        }
    }
}

/// Processes a request, and adds the key to `changed` if its record changed.
fn answer(
    records: &mut Records<'_>,
    ask: Ask,
    limits: &Limits<'_>,
    changed: &mut HashSet<String>,
    due: &mut Vec<Due>,
) -> Result<(), redb::Error> {
    let now = limits.now;
    let (tell, key, mut told) = match ask {
        Ask::Claim(claim, tell) => {
            let (told, failure) = split(claimed(records, &claim, limits));
            due.push(match told {
                Ok(Claimed::Acquired) => {
                    changed.insert(claim.key);
                    Due::Claimed(tell, Ok(Claimed::Acquired))
                }
                // A record from before this batch is in the file whether the commit succeeds or not.
                Ok(known) if !changed.contains(&claim.key) => Due::Known(tell, known),
                told => Due::Claimed(tell, told),
            });
            return failure.map_or(Ok(()), Err);
        }
        Ask::Renew(key, owner, lease, tell) => {
            let told = change(records, &key, owner, now, |record| record.renew(now, lease));
            (tell, key, told)
        }
        Ask::Complete(key, owner, answer, ttl, tell) => {
            let told = change(records, &key, owner, now, |record| record.complete(answer, now, ttl));
            (tell, key, told)
        }
        Ask::Abandon(key, owner, tell) => {
            let told = change(records, &key, owner, now, |record| record.over = now);
            (tell, key, told)
        }
        Ask::Lose(key, owner, tell) => {
            let told = change(records, &key, owner, now, |record| record.lose(now));
            (tell, key, told)
        }
    };
    if matches!(told, Ok(true)) {
        changed.insert(key);
        // The change is visible to this process only; a later process will not have it.
        if let Some(gone) = limits.gone {
            told = Err(Wrong::Record(gone.clone()));
        }
    }
    let (told, failure) = split(told);
    due.push(Due::StillOwned(tell, told));
    failure.map_or(Ok(()), Err)
}

/// A failure with one record or with the file.
enum Wrong {
    Record(StoreError),
    File(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::File(error.into())
    }
}

fn split<T>(answer: Result<T, Wrong>) -> (Reply<T>, Option<redb::Error>) {
    match answer {
        Ok(answer) => (Ok(answer), None),
        Err(Wrong::Record(error)) => (Err(error), None),
        Err(Wrong::File(error)) => (Err(unavailable(&error)), Some(error)),
    }
}

fn unavailable(problem: impl Display) -> StoreError {
    StoreError::Unavailable(problem.to_string())
}

/// Finds the live record of a key.
fn find(records: &Records<'_>, key: &str, now: Time) -> Result<Option<Record>, Wrong> {
    let Some(bytes) = records.get(key)? else { return Ok(None) };
    let record = row::read(key, bytes.value());
    // Do not treat a damaged record as missing: its call may have been executed.
    let record = record.ok_or_else(|| Wrong::Record(unavailable("the record of this key is damaged")))?;
    Ok(Some(record).filter(|record| !record.is_over(now)))
}

fn claimed(records: &mut Records<'_>, claim: &Claim, limits: &Limits<'_>) -> Result<Claimed, Wrong> {
    let now = limits.now;
    let found = find(records, &claim.key, now)?;
    let answer = found.as_ref().map_or(Claimed::Acquired, |record| record.answer(claim, now));
    if answer == Claimed::Acquired {
        if let Some(gone) = limits.gone {
            return Err(Wrong::Record(gone.clone()));
        }
        if found.is_none() && records.len()? >= limits.records {
            let live = usize::try_from(records.len()?).unwrap_or(usize::MAX);
            return Err(Wrong::Record(StoreError::Full { records: live, retry_after: None }));
        }
        records.insert(&*claim.key, row::write(&claim.key, &Record::claimed(claim, now)).as_slice())?;
    }
    Ok(answer)
}

/// Changes the record if it is claimed by `owner`. Returns whether it is.
fn change(
    records: &mut Records<'_>,
    key: &str,
    owner: Owner,
    now: Time,
    change: impl FnOnce(&mut Record),
) -> Result<bool, Wrong> {
    let Some(mut record) = find(records, key, now)?.filter(|record| record.is_held_by(owner)) else {
        return Ok(false);
    };
    change(&mut record);
    if record.is_over(now) {
        records.remove(key)?;
    } else {
        records.insert(key, row::write(key, &record).as_slice())?;
    }
    Ok(true)
}

/// Checks up to `most` records from the cursor on and removes expired ones. Returns how many it removed.
fn sweep(
    records: &mut Records<'_>,
    cursor: &mut String,
    now: Time,
    most: usize,
) -> Result<usize, redb::Error> {
    if most == 0 {
        return Ok(0);
    }
    let mut over = Vec::new();
    let (mut seen, mut last) = (0, String::new());
    for entry in records.range(cursor.as_str()..)?.take(most) {
        let (key, bytes) = entry?;
        key.value().clone_into(&mut last);
        seen += 1;
        if row::over(bytes.value()).is_some_and(|over| over <= now) {
            over.push(last.clone());
        }
    }
    // At the end, start again from the beginning, although new keys may follow the last one.
    *cursor = if seen < most { String::new() } else { last + "\0" };
    for key in &over {
        records.remove(key.as_str())?;
    }
    Ok(over.len())
}
