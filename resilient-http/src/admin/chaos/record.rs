//! One experiment, and its state as JSON.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use resilient_chaos::Report;
use resilient_chaos::report::{EntryKind, Journal, Outcome, Phase};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// How an experiment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Faults are injected.
    Run,
    /// Only the steady state is observed.
    Probes,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Probes => "probes",
        }
    }
}

/// An experiment that the API knows.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: u64,
    pub(super) scenario: String,
    pub(super) by: String,
    pub(super) started: Timestamp,
    mode: Mode,
    /// How long it takes if nothing deviates, if known.
    duration: Option<Duration>,
    pub(super) journal: Journal,
    /// The number of clients that follow its journal.
    pub(super) followers: watch::Sender<usize>,
    seen: Mutex<Seen>,
}

/// The state after the entries that were read so far.
#[derive(Debug, Default)]
struct Seen {
    entries: usize,
    seconds: f64,
    hypothesis: Option<String>,
    phase: Option<Phase>,
    /// How long each step is planned to run, in seconds.
    planned: BTreeMap<String, f64>,
    /// The steps that run now, and when each is planned to end.
    steps: Vec<(String, f64)>,
    /// The report, once it ended.
    end: Option<Value>,
    outcome: Option<Outcome>,
}

impl Record {
    pub(super) fn new(
        id: u64,
        scenario: &str,
        by: &str,
        mode: Mode,
        duration: Option<Duration>,
        journal: Journal,
    ) -> Self {
        let (scenario, by, now) = (scenario.to_owned(), by.to_owned(), Timestamp::now());
        // An experiment of the program itself becomes known while it runs.
        let age = journal.entries_from(0).last().map_or(0.0, |entry| entry.seconds);
        let age = SignedDuration::try_from_secs_f64(age).unwrap_or_default();
        let started = now.checked_sub(age).unwrap_or(now);
        let (followers, _) = watch::channel(0);
        Self { id, scenario, by, started, mode, duration, journal, followers, seen: Mutex::default() }
    }

    /// Reads the new entries of the journal.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the entries, so that an end is found with all of its entries.
        let has_ended = self.journal.has_ended();
        for entry in self.journal.entries_from(seen.entries) {
            seen.entries += 1;
            seen.seconds = entry.seconds;
            match entry.what {
                EntryKind::Began(began) => {
                    seen.hypothesis = Some(began.hypothesis);
                    let planned = began.steps.into_iter().map(|step| (step.id, step.duration.as_secs_f64()));
                    seen.planned = planned.collect();
                }
                EntryKind::Phase { phase } => seen.phase = Some(phase),
                EntryKind::Step { step, runs, .. } => {
                    seen.steps.retain(|(known, _)| *known != step);
                    if runs {
                        let end = entry.seconds + seen.planned.get(&step).copied().unwrap_or_default();
                        seen.steps.push((step, end));
                    }
                }
                _ => {}
            }
        }
        if has_ended && seen.end.is_none() {
            let report = Report::of(self.journal.entries());
            seen.end = Some(end(&report));
            seen.outcome = Some(report.outcome);
        }
        seen
    }

    /// Returns the result, once it ended.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.seen().outcome
    }

    /// Returns the time from the start to the last entry.
    pub(super) fn lasted(&self) -> f64 {
        self.seen().seconds
    }

    /// Returns its state, and its result once it ended.
    pub(super) fn json(&self) -> Value {
        let seen = self.seen();
        let mut members = Map::from_iter([
            ("id".to_owned(), json!(self.id)),
            ("scenario".to_owned(), json!(self.scenario)),
            ("mode".to_owned(), json!(self.mode.as_str())),
            ("by".to_owned(), json!(self.by)),
            ("started".to_owned(), json!(self.started.to_string())),
            ("seconds".to_owned(), json!(seen.seconds)),
            ("state".to_owned(), json!(seen.outcome.map_or("running", Outcome::as_str))),
        ]);
        members.extend(seen.hypothesis.as_ref().map(|it| ("hypothesis".to_owned(), json!(it))));
        match &seen.end {
            Some(Value::Object(end)) => members.extend(end.clone()),
            _ => {
                let expected =
                    self.duration.map(|it| ("duration_seconds".to_owned(), json!(it.as_secs_f64())));
                members.extend(expected);
                members.extend(seen.phase.map(|phase| ("phase".to_owned(), json!(phase))));
                let steps: Vec<_> = seen.steps.iter().map(|(step, _)| step).collect();
                let ends_in = seen.steps.iter().map(|(step, end)| (step, (end - seen.seconds).max(0.0)));
                members.insert("steps".to_owned(), json!(steps));
                members.insert("step_ends_in".to_owned(), json!(ends_in.collect::<BTreeMap<_, _>>()));
            }
        }
        Value::Object(members)
    }
}

/// Returns the result of an experiment that ended.
fn end(report: &Report) -> Value {
    let (passed, total) = report.score();
    json!({
        "exit_code": report.exit_code(),
        "score": { "passed": passed, "total": total },
        "recovery_seconds": report.recovery.map(|recovery| recovery.as_secs_f64()),
        "reasons": report.reasons,
        "summary": report.summary(),
    })
}
