//! `resilient experiment report`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use resilient_chaos::report::{self, Outcome};
use serde_json::{Value, json};

use crate::commands::Run;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Make the report of a journal again, also of one that was cut off
///
/// Prints it as Markdown, or writes it as Markdown and HTML to a folder. Needs no service.
#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    /// Journal of an experiment, as JSON lines
    #[arg(value_name = "JOURNAL.jsonl")]
    journal: PathBuf,
    /// Form of the report that is printed
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
    /// Write NAME.md and NAME.html to this folder instead of printing; NAME is the name of the journal
    #[arg(long, value_name = "FOLDER", conflicts_with = "format")]
    reports: Option<PathBuf>,
    /// Exit with the code of the experiment: 0 held, 1 deviated, 2 aborted, 3 refused
    #[arg(long)]
    exit_code: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Markdown,
    Html,
}

impl Run for Report {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let path = &self.journal;
        let report = report::Report::read(path).map_err(|error| {
            // The error names the path only if the content is wrong.
            let text = error.to_string();
            let shown = path.display().to_string();
            let text = if text.contains(&shown) { text } else { format!("cannot read {shown}: {text}") };
            Failure::usage(text)
                .hint("expected a journal, as written by `resilient experiment run --reports FOLDER`")
        })?;
        if report.entries.is_empty() {
            return Err(Failure::usage(format!("{} has no entries", path.display())));
        }
        if let Some(folder) = &self.reports {
            let name =
                path.file_stem().map_or("experiment".into(), |stem| stem.to_string_lossy().into_owned());
            let written = write(&report, folder, &name)?;
            if session.is_json() {
                session.out.json(&summary(&report, &written))?;
            } else {
                session.out.line([report.summary()])?;
                session.note(&format!("reports: {}", listed(&written)));
            }
        } else if session.is_json() {
            session.out.json(&summary(&report, &[]))?;
        } else {
            let text = match self.format {
                Format::Markdown => report.to_markdown(),
                Format::Html => report.to_html(),
            };
            session.out.document(&text)?;
        }
        Ok(if self.exit_code { ExitCode::from(report.exit_code()) } else { ExitCode::SUCCESS })
    }
}

/// Writes `NAME.md` and `NAME.html`.
pub(super) fn write(report: &report::Report, folder: &Path, name: &str) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |path: &Path, error: std::io::Error| {
        Failure::usage(format!("the report {} cannot be written: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
    let mut written = Vec::new();
    for (end, text) in [("md", report.to_markdown()), ("html", report.to_html())] {
        let path = folder.join(format!("{name}.{end}"));
        std::fs::write(&path, text).map_err(|error| cannot(&path, error))?;
        written.push(path);
    }
    Ok(written)
}

pub(super) fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The result as JSON.
pub(super) fn summary(report: &report::Report, written: &[PathBuf]) -> Value {
    let (passed, total) = report.score();
    json!({
        "scenario": report.began.name,
        "state": report.outcome,
        "exit_code": report.exit_code(),
        "score": { "passed": passed, "total": total },
        "recovery_seconds": report.recovery.map(|time| time.as_secs_f64()),
        "reasons": report.reasons,
        "checks": report.checks,
        "reports": written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}

/// The exit code of an experiment that did not start: the one of a refused experiment.
pub(super) fn not_started(failure: Failure) -> Failure {
    debug_assert_eq!(Exit::Unreachable as u8, Outcome::Refused.exit_code());
    if failure.exit == Exit::Denied || failure.is_silent {
        return failure;
    }
    Failure { exit: Exit::Unreachable, ..failure }
}
