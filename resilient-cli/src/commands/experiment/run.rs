//! `resilient experiment run`

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use resilient_chaos::report::{Entry, Outcome, Report};
use serde_json::{Value, json};
use ureq::http::Method;

use super::plan::problems;
use super::report::{listed, not_started, write};
use super::source::Source;
use crate::api::{Api, segment};
use crate::commands::chaos::plain;
use crate::commands::{Run, path_by, who};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{self, News};
use crate::journal::{Lines, tone};
use crate::output::Span;
use crate::session::Session;
use crate::stats::text;

/// Exit codes of the command, in its help.
const HELP: &str = "\
Exit codes:
  0  held: the hypothesis held
  1  deviated: the steady state, an expectation or the recovery failed
  2  aborted: by an abort rule, Ctrl-C, another person or a lost connection
  3  refused: the experiment did not start, or there is no service
  4  token missing or wrong";

/// Run an experiment in the service, and follow it
///
/// Checks the scenario, starts it, and prints what happens. Ctrl-C aborts it, and a second Ctrl-C does not wait for its
/// end. If the connection is lost for 2 s, the service aborts it by itself: its faults are removed in any case.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct RunExperiment {
    /// Scenario file, or the name of a shipped scenario
    #[arg(value_name = "FILE|NAME")]
    scenario: String,
    /// Only observe the steady state, without a fault
    #[arg(long)]
    probes: bool,
    /// Start it, and end without waiting. It then runs without a follower
    #[arg(long, conflicts_with = "reports")]
    detach: bool,
    /// Write NAME.jsonl, NAME.md and NAME.html to this folder
    #[arg(long, value_name = "FOLDER")]
    reports: Option<PathBuf>,
    /// Name to record for the experiment [default: the name of the user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Run for RunExperiment {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        self.start(session).map_err(not_started)?.map_or_else(Ok, |started| started.follow(session))
    }
}

/// An experiment that runs in the service.
struct Started {
    api: Arc<Api>,
    path: String,
    news: Receiver<News>,
    journal: Journal,
}

impl RunExperiment {
    /// Checks and starts the experiment. Returns an exit code if there is nothing to follow.
    fn start(self, session: &Session) -> Result<Result<Started, ExitCode>, Failure> {
        let Source { scenario, mut request } = Source::find(&self.scenario)?;
        let scenario = match scenario {
            Ok(scenario) => scenario,
            Err(invalid) => {
                problems(&invalid, session)?;
                return Err(Failure::usage("the scenario has problems, and was not started"));
            }
        };
        let api = Arc::new(session.api()?);
        // Before the start, so that a folder that cannot be written stops nothing half-way.
        let mut journal = Journal::new(&scenario.name, self.reports)?;
        // Without a follower, Ctrl-C ends this program as usual.
        let channel = if self.detach { None } else { Some(follow::listen()?) };
        request["mode"] = json!(if self.probes { "probes" } else { "run" });
        request["attended"] = json!(!self.detach);
        request["by"] = json!(who(self.by.as_deref()));
        let running = api.send(Method::POST, "/chaos/experiments", Some(&request)).map_err(|failure| {
            if failure.status == Some(409) {
                return failure
                    .hint("`resilient experiment list` shows it, and `resilient experiment stop` ends it");
            }
            failure
        })?;
        journal.begin(session);
        let id = plain(&running["id"]);
        let Some((news, received)) = channel else {
            if session.is_json() {
                session.out.json(&running)?;
            } else {
                session.out.line([format!("experiment {id} {} runs", text(&running, "scenario"))])?;
                session.note(&format!("`resilient experiment stop {id}` aborts it"));
            }
            return Ok(Err(ExitCode::SUCCESS));
        };
        session.note(&format!("experiment {id} runs at {}; Ctrl-C aborts it", api.base()));
        let path = format!("/chaos/experiments/{}", segment(&id));
        follow::start(Arc::clone(&api), format!("{path}/journal"), news);
        Ok(Ok(Started { api, path, news: received, journal }))
    }
}

impl Started {
    /// Prints the journal until the experiment ends, and then the result.
    fn follow(mut self, session: &Session) -> Result<ExitCode, Failure> {
        let mut lines = Lines::default();
        let mut is_aborted = false;
        while let Ok(news) = self.news.recv() {
            match news {
                News::Entry(entry) => {
                    self.journal.add(&entry, session);
                    let printed = if session.is_json() {
                        session.out.json_line(&entry)
                    } else {
                        session.out.lines(lines.of(&entry))
                    };
                    if let Err(failure) = printed {
                        // The reader of the output is gone.
                        self.abort(session);
                        return Err(Failure { exit: Exit::Usage, ..failure });
                    }
                }
                News::Interrupted if is_aborted => {
                    session.warn("the end was not awaited; the service removes the faults by itself");
                    return Ok(Outcome::Aborted.exit_code().into());
                }
                News::Interrupted => {
                    is_aborted = true;
                    self.abort(session);
                }
                News::Lost => session.warn(
                    "connection lost; connecting again. After 2 s without it, the service aborts the experiment and removes its faults",
                ),
                News::Back => session.note("connected again"),
                News::End => return self.journal.finish(session),
                News::Gone(failure) => {
                    let code = self.journal.finish(session)?;
                    if self.journal.has_ended() {
                        return Ok(code);
                    }
                    let lost = format!("the end of the experiment is unknown: {}", failure.message);
                    let failure = Failure::new(Exit::Usage, lost);
                    return Err(failure.hint(
                        "the service removes the faults by itself; `resilient experiment list` shows the result when it is back",
                    ));
                }
            }
        }
        self.journal.finish(session)
    }

    fn abort(&self, session: &Session) {
        session.note("aborting the experiment");
        match self.api.send(Method::DELETE, &path_by(&self.path), None) {
            Ok(_) => {}
            // It has ended by itself in this moment.
            Err(failure) if matches!(failure.status, Some(404 | 409)) => {}
            Err(failure) => {
                session.report(&failure);
                session
                    .note("without a follower, the service aborts it within 2 s; press Ctrl-C again to end");
            }
        }
    }
}

/// The entries that arrived, and the files of the report.
struct Journal {
    name: String,
    folder: Option<PathBuf>,
    file: Option<File>,
    entries: Vec<Entry>,
    unknown: u64,
}

impl Journal {
    fn new(name: &str, folder: Option<PathBuf>) -> Result<Self, Failure> {
        let mut file = None;
        if let Some(folder) = &folder {
            let path = folder.join(format!("{name}.jsonl"));
            // Not truncated yet: it can belong to the experiment for which this one is refused.
            let open = || File::options().write(true).create(true).truncate(false).open(&path);
            let created = std::fs::create_dir_all(folder).and_then(|()| open());
            file = Some(created.map_err(|error| {
                Failure::usage(format!("cannot write the journal {}: {error}", path.display()))
                    .hint("choose another folder with --reports FOLDER")
            })?);
        }
        Ok(Self { name: name.to_owned(), folder, file, entries: Vec::new(), unknown: 0 })
    }

    /// Drops the entries of an earlier experiment from the file.
    fn begin(&mut self, session: &Session) {
        if let Some(file) = &self.file
            && let Err(error) = file.set_len(0)
        {
            session.warn(&format!("the journal cannot be written: {error}"));
            self.file = None;
        }
    }

    fn add(&mut self, entry: &Value, session: &Session) {
        // One write per line, so that a line is complete or missing.
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(format!("{entry}\n").as_bytes())
        {
            session.warn(&format!("the journal cannot be written any more: {error}"));
            self.file = None;
        }
        match serde_json::from_value(entry.clone()) {
            Ok(entry) => self.entries.push(entry),
            Err(_) => self.unknown += 1,
        }
    }

    fn has_ended(&self) -> bool {
        use resilient_chaos::report::EntryKind::Ended;
        self.entries.last().is_some_and(|entry| matches!(entry.what, Ended { .. }))
    }

    /// Prints the result, writes the reports, and returns the exit code.
    fn finish(&self, session: &Session) -> Result<ExitCode, Failure> {
        let mut report = Report::of(self.entries.clone());
        // The names of files do not come from the service.
        report.began.name.clone_from(&self.name);
        if self.unknown > 0 {
            session.warn(&format!(
                "{} entries are of a newer version, and are missing in the report",
                self.unknown
            ));
        }
        if session.is_json() {
            session.note(&report.summary());
        } else {
            session.out.line([Span::new(tone(report.outcome), report.summary())])?;
            if !self.has_ended() {
                report.reasons.iter().for_each(|reason| session.warn(reason));
            }
        }
        if let Some(folder) = &self.folder {
            let mut written = vec![folder.join(format!("{}.jsonl", self.name))];
            written.extend(write(&report, folder, &self.name)?);
            session.note(&format!("reports: {}", listed(&written)));
        }
        Ok(report.exit_code().into())
    }
}
