//! The operations of a process, in a file.
//!
//! Each process appends a line when an operation begins and one when it ends, so that a process that is killed leaves all its
//! operations. The processes run on one machine, so their times can be compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resilient_replica::resolve::Timestamp;
use resilient_replica::{Accepted, Problem, ReplicaError};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    Read,
    Write(u64),
    Add(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The value that was read.
    Value(Option<u64>),
    /// A change that was accepted.
    Accepted { version: Timestamp, is_weak: bool },
    /// It had no effect and returned nothing.
    NoEffect,
    /// A change that may take effect later, or never.
    Unknown,
}

impl Outcome {
    /// The outcome of a change.
    pub(crate) fn of(changed: Result<Accepted, ReplicaError>) -> Self {
        match changed.map_err(|error| error.problem) {
            Ok(Accepted { version, is_weak, .. }) => Self::Accepted { version, is_weak },
            Err(
                Problem::WriteRefused { can_take_effect: false, .. }
                | Problem::ReadRefused { .. }
                | Problem::ClockAhead { .. },
            ) => Self::NoEffect,
            Err(Problem::WriteRefused { .. } | Problem::Contended { .. } | Problem::FromTheFuture { .. }) => {
                Self::Unknown
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// An operation that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) key: String,
    pub(crate) action: Action,
    pub(crate) began: Duration,
    /// `None` if the process was killed before.
    pub(crate) end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) at: Duration,
    pub(crate) outcome: Outcome,
    /// How often it was repeated because of a conflict.
    pub(crate) conflicts: u64,
}

#[derive(Serialize, Deserialize)]
enum Line {
    Began { number: u64, at: Duration, key: String, action: Action },
    Ended { number: u64, end: End },
}

/// The time since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The file of this process.
pub(crate) struct Recorder {
    file: File,
    last: AtomicU64,
}

impl Recorder {
    pub(crate) fn new(path: impl AsRef<Path>) -> Self {
        let file = File::options().create(true).append(true).open(path).unwrap();
        Self { file, last: AtomicU64::new(0) }
    }

    /// Notes that an operation begins. Returns its number.
    pub(crate) fn begin(&self, key: &str, action: Action) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        self.append(&Line::Began { number, at: now(), key: key.to_owned(), action });
        number
    }

    pub(crate) fn end(&self, number: u64, outcome: Outcome, conflicts: u64) {
        self.append(&Line::Ended { number, end: End { at: now(), outcome, conflicts } });
    }

    /// Appends a line with one write, so that the lines of several threads are not mixed.
    fn append(&self, line: &Line) {
        let line = serde_json::to_string(line).unwrap() + "\n";
        (&self.file).write_all(line.as_bytes()).unwrap();
    }
}

/// The number of operations that a process has finished.
pub(crate) fn count(path: impl AsRef<Path>) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.starts_with("{\"Ended\"") && line.ends_with('\n')).count()
}

/// Reads the operations of a process. The last line of a killed process can be incomplete, and is not used.
pub(crate) fn read(path: impl AsRef<Path>) -> Vec<Operation> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut operations = BTreeMap::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        match serde_json::from_str(line).unwrap() {
            Line::Began { number, at, key, action } => {
                operations.insert(number, Operation { key, action, began: at, end: None });
            }
            Line::Ended { number, end } => operations.get_mut(&number).unwrap().end = Some(end),
        }
    }
    operations.into_values().collect()
}

#[test]
fn the_operations_of_a_process_are_read_again_without_an_incomplete_line() {
    let path = std::env::temp_dir().join(format!("resilient-replica-record-{}", std::process::id()));
    assert_eq!((read(&path), count(&path)), (vec![], 0));
    let recorder = Recorder::new(&path);
    let (first, second) = (recorder.begin("a", Action::Read), recorder.begin("b", Action::Write(u64::MAX)));
    recorder.begin("c", Action::Add(-5));
    let accepted = Outcome::Accepted { version: Timestamp::MIN, is_weak: true };
    recorder.end(second, accepted, 2);
    recorder.end(first, Outcome::Value(Some(7)), 0);
    (&recorder.file).write_all(b"{\"Ended\":{").unwrap();
    let (found, count) = (read(&path), count(&path));
    std::fs::remove_file(&path).unwrap();
    let ends: Vec<_> = found.iter().map(|one| one.end.map(|end| (end.outcome, end.conflicts))).collect();
    assert_eq!(ends, [Some((Outcome::Value(Some(7)), 0)), Some((accepted, 2)), None]);
    let actions: Vec<_> = found.iter().map(|one| (&*one.key, one.action)).collect();
    assert_eq!(actions, [("a", Action::Read), ("b", Action::Write(u64::MAX)), ("c", Action::Add(-5))]);
    assert!(found[0].began <= found[1].began && found[1].began <= found[1].end.unwrap().at);
    assert_eq!(count, 2);
}
