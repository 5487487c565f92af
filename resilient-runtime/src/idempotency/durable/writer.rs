//! The thread that writes: all who wait, in one commit.

use std::collections::VecDeque;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use redb::{ReadableTable, ReadableTableMetadata, Table};
use tokio::sync::oneshot;

use super::file::{File, META, RECORDS, TIME};
use super::row;
use crate::clock::{Clock, Instant};
use crate::idempotency::record::{Record, Time};
use crate::idempotency::store::{Claim, Claimed, Owner, StoreError};

/// Questions that are answered with one commit, at most.
const BATCH: usize = 256;
/// Records that are looked at with each new one, to forget those that are over: more than one, so that they cannot add up.
const SWEPT: usize = 4;
/// The same where there is no room.
const SWEPT_FULL: usize = 1024;
/// How long it holds back before it opens a file again that could not be written.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) type Told<T> = Result<T, StoreError>;
type Tell<T> = oneshot::Sender<Told<T>>;
type Records<'t> = Table<'t, &'static str, &'static [u8]>;

/// A question, and whom to tell.
pub(super) enum Ask {
    Claim(Claim, Tell<Claimed>),
    Renew(String, Owner, Time, Tell<bool>),
    Complete(String, Owner, Vec<u8>, Time, Tell<bool>),
    Abandon(String, Owner, Tell<bool>),
    Lose(String, Owner, Tell<bool>),
}

/// An answer that is told once it is written.
enum Due {
    Claimed(Tell<Claimed>, Told<Claimed>),
    Held(Tell<bool>, Told<bool>),
}

impl Due {
    /// Who does not wait any more does not hear it.
    fn tell(self, failure: Option<&StoreError>) {
        match self {
            Self::Claimed(tell, told) => drop(tell.send(failure.map_or(told, |error| Err(error.clone())))),
            Self::Held(tell, told) => drop(tell.send(failure.map_or(told, |error| Err(error.clone())))),
        }
    }
}

/// Time as the file sees it.
struct Timeline {
    clock: Clock,
    /// This moment on the clock ..
    opened: Instant,
    /// .. was this one in the file.
    base: Time,
}

impl Timeline {
    fn now(&self) -> Time {
        self.base.saturating_add(self.clock.now().nanos_since(self.opened))
    }
}

pub(super) struct Writer {
    path: PathBuf,
    /// `None` while it cannot be opened again.
    file: Option<File>,
    limit: u64,
    timeline: Timeline,
    /// Where the sweep goes on.
    cursor: String,
    failed_at: Instant,
}

impl Writer {
    pub(super) fn new(file: File, limit: u64, clock: Clock, wall: Time) -> Self {
        let opened = clock.now();
        // With a wall clock that went back, time in the file stands still, and does not go back.
        let timeline = Timeline { clock, opened, base: wall.max(file.time) };
        let path = file.path.clone();
        Self { path, file: Some(file), limit, timeline, cursor: String::new(), failed_at: Instant::NEVER }
    }

    /// Until nobody can ask any more, and all that was asked is answered.
    pub(super) fn run(mut self, asks: &Receiver<Ask>) {
        while let Ok(first) = asks.recv() {
            let mut batch: VecDeque<Ask> =
                std::iter::once(first).chain(asks.try_iter()).take(BATCH).collect();
            let mut due = Vec::with_capacity(batch.len());
            // A file that is damaged while it is open can make the library panic.
            let written = catch_unwind(AssertUnwindSafe(|| self.write(&mut batch, &mut due)));
            let problem = match written {
                Ok(Ok(())) => None,
                Ok(Err(problem)) => Some(problem),
                Err(_) => Some("it is damaged".into()),
            };
            let failure = problem.map(|problem| self.fail(&problem));
            due.extend(batch.into_iter().map(Ask::unanswered));
            due.into_iter().for_each(|due| due.tell(failure.as_ref()));
        }
    }

    /// What could not be written is not known to be in the file or not: it is read anew before the next question.
    fn fail(&mut self, problem: &str) -> StoreError {
        if self.file.take().is_some() {
            self.failed_at = self.timeline.clock.now();
        }
        StoreError::Unavailable(format!("{}: {problem}", self.path.display()))
    }

    /// Works out the answers to a batch and writes what has changed. If that fails none of them holds, and what was not
    /// looked at stays in the batch.
    fn write(&mut self, batch: &mut VecDeque<Ask>, due: &mut Vec<Due>) -> Result<(), String> {
        self.open()?;
        let Some(file) = &self.file else { return Ok(()) };
        let now = self.timeline.now();
        commit(file, now, |records| {
            let mut changes = 0;
            while let Some(ask) = batch.pop_front() {
                changes += usize::from(answer(records, ask, now, self.limit, due)?);
            }
            let is_full = records.len()? >= self.limit;
            let swept = if is_full { SWEPT_FULL } else { changes * SWEPT };
            Ok(changes + sweep(records, &mut self.cursor, now, swept)?)
        })
        .map_err(|error| error.to_string())
    }

    /// Opens the file again if it had to be given up.
    fn open(&mut self) -> Result<(), String> {
        if self.file.is_some() {
            return Ok(());
        }
        let is_soon = self.timeline.clock.now().since(self.failed_at) < AGAIN;
        if is_soon {
            return Err("it could not be written, and is opened again in a moment".into());
        }
        self.failed_at = self.timeline.clock.now();
        self.file = Some(File::open(&self.path).map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// Changes records in one transaction, and waits until it is on the disk; if there were none, not.
fn commit(
    file: &File,
    now: Time,
    change: impl FnOnce(&mut Records<'_>) -> Result<usize, redb::Error>,
) -> Result<(), redb::Error> {
    let transaction = file.database.begin_write()?;
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
    /// The answer is a failure, which who tells it knows.
    fn unanswered(self) -> Due {
        let unknown = || StoreError::Unavailable("it was not written".into());
        match self {
            Ask::Claim(_, tell) => Due::Claimed(tell, Err(unknown())),
            Ask::Renew(.., tell) | Ask::Complete(.., tell) | Ask::Abandon(.., tell) | Ask::Lose(.., tell) => {
                Due::Held(tell, Err(unknown()))
            }
        }
    }
}

/// Works an answer out; whether anything has changed.
fn answer(
    records: &mut Records<'_>,
    ask: Ask,
    now: Time,
    limit: u64,
    due: &mut Vec<Due>,
) -> Result<bool, redb::Error> {
    let (tell, changed) = match ask {
        Ask::Claim(claim, tell) => {
            let claimed = claimed(records, &claim, now, limit);
            let (told, failure) = split(claimed);
            let has_changed = told == Ok(Claimed::Acquired);
            due.push(Due::Claimed(tell, told));
            return failure.map_or(Ok(has_changed), Err);
        }
        Ask::Renew(key, owner, lease, tell) => {
            (tell, change(records, &key, owner, now, |record| record.renew(now, lease)))
        }
        Ask::Complete(key, owner, answer, ttl, tell) => {
            (tell, change(records, &key, owner, now, |record| record.complete(answer, now, ttl)))
        }
        Ask::Abandon(key, owner, tell) => {
            (tell, change(records, &key, owner, now, |record| record.over = now))
        }
        Ask::Lose(key, owner, tell) => (tell, change(records, &key, owner, now, |record| record.lose(now))),
    };
    let (told, failure) = split(changed);
    let has_changed = told == Ok(true);
    due.push(Due::Held(tell, told));
    failure.map_or(Ok(has_changed), Err)
}

/// What goes wrong with one record, or with the file.
enum Wrong {
    Record(StoreError),
    File(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::File(error.into())
    }
}

fn split<T>(answer: Result<T, Wrong>) -> (Told<T>, Option<redb::Error>) {
    match answer {
        Ok(answer) => (Ok(answer), None),
        Err(Wrong::Record(error)) => (Err(error), None),
        Err(Wrong::File(error)) => (Err(unavailable(&error)), Some(error)),
    }
}

fn unavailable(problem: impl Display) -> StoreError {
    StoreError::Unavailable(problem.to_string())
}

/// The record of a key, unless it is over.
fn find(records: &Records<'_>, key: &str, now: Time) -> Result<Option<Record>, Wrong> {
    let Some(bytes) = records.get(key)? else { return Ok(None) };
    let record = row::read(key, bytes.value());
    // Not as if there were none: its call may have been carried out.
    let record = record.ok_or_else(|| Wrong::Record(unavailable("the record of this key is damaged")))?;
    Ok(Some(record).filter(|record| !record.is_over(now)))
}

fn claimed(records: &mut Records<'_>, claim: &Claim, now: Time, limit: u64) -> Result<Claimed, Wrong> {
    let found = find(records, &claim.key, now)?;
    let answer = found.as_ref().map_or(Claimed::Acquired, |record| record.answer(claim, now));
    if answer == Claimed::Acquired {
        if found.is_none() && records.len()? >= limit {
            let live = usize::try_from(records.len()?).unwrap_or(usize::MAX);
            return Err(Wrong::Record(StoreError::Full { records: live, retry_after: None }));
        }
        records.insert(&*claim.key, row::write(&claim.key, &Record::claimed(claim, now)).as_slice())?;
    }
    Ok(answer)
}

/// Changes the record that `owner` holds; whether it does.
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

/// Looks at so many records from the cursor on, and forgets those that are over; how many.
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
    // At the end it begins anew, though new records may come behind it.
    *cursor = if seen < most { String::new() } else { last + "\0" };
    for key in &over {
        records.remove(key.as_str())?;
    }
    Ok(over.len())
}
