//! The thread that writes: all who wait, in one commit.

use std::collections::{HashSet, VecDeque};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, Table};
use tokio::sync::oneshot;

use super::file::{File, Id, META, RECORDS, TIME};
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
/// How long it holds back before it writes again to a file that could not be written: at first, and at most. It reads
/// meanwhile.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

pub(super) type Reply<T> = Result<T, StoreError>;
type ReplySender<T> = oneshot::Sender<Reply<T>>;
type Records<'t> = Table<'t, &'static str, &'static [u8]>;

/// A question, and whom to tell.
pub(super) enum Ask {
    Claim(Claim, ReplySender<Claimed>),
    Renew(String, Owner, Time, ReplySender<bool>),
    Complete(String, Owner, Vec<u8>, Time, ReplySender<bool>),
    Abandon(String, Owner, ReplySender<bool>),
    Lose(String, Owner, ReplySender<bool>),
}

/// An answer that is told once it is written.
enum Due {
    /// What is known without anything being written holds in any case.
    Known(ReplySender<Claimed>, Claimed),
    Claimed(ReplySender<Claimed>, Reply<Claimed>),
    StillOwned(ReplySender<bool>, Reply<bool>),
}

impl Due {
    /// Who does not wait any more does not hear it.
    fn tell(self, failure: Option<&StoreError>) {
        match self {
            Self::Known(tell, claimed) => drop(tell.send(Ok(claimed))),
            Self::Claimed(tell, told) => drop(tell.send(failure.map_or(told, |error| Err(error.clone())))),
            Self::StillOwned(tell, told) => drop(tell.send(failure.map_or(told, |error| Err(error.clone())))),
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
    /// Which file it was when the store was opened. Another one is never begun in its place.
    id: Option<Id>,
    /// Where the sweep goes on.
    cursor: String,
    /// When it is written again, and how long it is held back the next time.
    again_at: Instant,
    again: Duration,
    /// Whether it was said that the file is gone.
    is_gone: bool,
}

impl Writer {
    pub(super) fn new(file: File, limit: u64, clock: Clock, wall: Time) -> Self {
        let opened = clock.now();
        // With a wall clock that went back, time in the file stands still, and does not go back.
        let timeline = Timeline { clock, opened, base: wall.max(file.time) };
        let (path, id, again_at) = (file.path.clone(), file.id(), timeline.opened);
        let cursor = String::new();
        Self { path, file: Some(file), limit, timeline, id, cursor, again_at, again: AGAIN.0, is_gone: false }
    }

    /// Until nobody can ask any more, and all that was asked is answered.
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

    /// Writes a batch, unless it could not be written a moment ago.
    fn write_or_hold(&mut self, batch: &mut VecDeque<Ask>, due: &mut Vec<Due>) -> Result<(), String> {
        if self.timeline.clock.now() < self.again_at {
            return Err("it could not be written, which is tried again in a moment".into());
        }
        let gone = self.gone();
        let written = self.caught(|writer| writer.write(batch, due, gone.as_ref()));
        if written.is_ok() {
            self.again = AGAIN.0;
        } else {
            // What could not be written is not known to be in the file or not: it is read anew before the next question.
            self.file = None;
            self.again_at = self.timeline.clock.now().after(self.again);
            self.again = (self.again * 2).min(AGAIN.1);
        }
        written
    }

    /// A file that is damaged while it is open can make the library panic.
    fn caught<T>(&mut self, ask: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        catch_unwind(AssertUnwindSafe(|| ask(self))).unwrap_or_else(|_| Err("it is damaged".into()))
    }

    /// That the file is not the one any more that others would open. What is in it is still answered; what is written to
    /// it would be lost with the process.
    fn gone(&mut self) -> Option<StoreError> {
        let problem = Id::problem(self.id, &self.path);
        let path = self.path.display();
        match &problem {
            Some(problem) if !self.is_gone => {
                tracing::error!(target: "resilient_runtime::idempotency", %path, problem, "the file of a store is gone");
            }
            None if self.is_gone => {
                tracing::warn!(target: "resilient_runtime::idempotency", %path, "the file of a store is back");
            }
            _ => {}
        }
        self.is_gone = problem.is_some();
        problem.map(|problem| self.unavailable(&problem))
    }

    /// Works out the answers to a batch and writes what has changed. If that fails only those hold that nothing was
    /// written for, and what was not looked at stays in the batch. Where the file is `gone`, nothing new begins.
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

    /// Answers the claims in a batch that need nothing to be written, such as those of calls that were carried out.
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

    /// What is in the file about a key, if that says that the call is not to be carried out.
    fn look_up(&mut self, claim: &Claim) -> Result<Option<Claimed>, String> {
        self.open()?;
        let (Some(file), now) = (&self.file, self.timeline.now()) else { return Ok(None) };
        let found = || -> Result<_, redb::Error> {
            let records = file.database.begin_read()?.open_table(RECORDS)?;
            Ok(records.get(&*claim.key)?.and_then(|bytes| row::read(&claim.key, bytes.value())))
        };
        let found = found().map_err(|error| {
            self.file = None;
            error.to_string()
        })?;
        let record = found.filter(|record| !record.is_over(now));
        Ok(record.map(|record| record.answer(claim, now)).filter(|claimed| *claimed != Claimed::Acquired))
    }

    /// Opens the file again if it had to be given up.
    fn open(&mut self) -> Result<(), String> {
        if self.file.is_some() {
            return Ok(());
        }
        // To open what is not there would be to begin anew, with all records forgotten.
        if let Some(problem) = Id::problem(self.id, &self.path) {
            return Err(problem);
        }
        self.file = Some(File::open(&self.path).map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// What bounds new records.
struct Limits<'a> {
    now: Time,
    records: u64,
    gone: Option<&'a StoreError>,
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
                Due::StillOwned(tell, Err(unknown()))
            }
        }
    }
}

/// Works an answer out, and notes the key if its record has changed.
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
                // What was there before this batch is there whether it is written or not.
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
        // It is in the file for whoever asks this process, and in none for those that come after it.
        if let Some(gone) = limits.gone {
            told = Err(Wrong::Record(gone.clone()));
        }
    }
    let (told, failure) = split(told);
    due.push(Due::StillOwned(tell, told));
    failure.map_or(Ok(()), Err)
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

/// The record of a key, unless it is over.
fn find(records: &Records<'_>, key: &str, now: Time) -> Result<Option<Record>, Wrong> {
    let Some(bytes) = records.get(key)? else { return Ok(None) };
    let record = row::read(key, bytes.value());
    // Not as if there were none: its call may have been carried out.
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
