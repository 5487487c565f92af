//! Journals and reports of experiments.
//!
//! A [`Journal`] records what happens while an experiment runs. A [`Report`] is made from a journal: from that in
//! memory, or from a file, also if the process died before the end. It is written as Markdown, and as one HTML page
//! that needs no other file.

mod chart;
mod entry;
mod html;
mod journal;
mod markdown;
mod timeline;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use entry::{Began, Check, CheckKind, Entry, EntryKind, Outcome, Phase, ProbeInfo, StepInfo};
pub use journal::Journal;

pub(crate) use chart::mini;
pub(crate) use html::{CLOSE, Part, escape, page, prose};
pub(crate) use markdown::{markdown, plain};
pub(crate) use timeline::{Timeline, sentence};

use crate::text::share;

/// Returns the name of an experiment as a part of a file name. A journal that was read can contain any name.
fn file_name(name: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let name: String = name.chars().map(|c| if is_safe(c) { c } else { '_' }).collect();
    if name.is_empty() { "experiment".to_owned() } else { name }
}

/// The result of an experiment.
///
/// ```
/// use resilient_chaos::report::{Outcome, Report};
///
/// let report = Report::of(Vec::new());
/// assert_eq!(report.outcome, Outcome::Aborted, "a journal without an end was cut off");
/// assert_eq!(report.exit_code(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The facts about the scenario.
    pub began: Began,
    /// The result.
    pub outcome: Outcome,
    /// Why it was aborted or refused, or what deviated.
    pub reasons: Vec<String>,
    /// The results of all checks.
    pub checks: Vec<Check>,
    /// The measured recovery time.
    pub recovery: Option<Duration>,
    /// All entries of the journal.
    pub entries: Vec<Entry>,
}

impl Report {
    /// Makes the report of the entries of a journal.
    ///
    /// ```
    /// use resilient_chaos::report::{Journal, Report};
    ///
    /// let journal = Journal::new();
    /// assert!(Report::of(journal.entries()).checks.is_empty());
    /// ```
    pub fn of(entries: Vec<Entry>) -> Self {
        let mut report = Self {
            began: Began::default(),
            outcome: Outcome::Aborted,
            reasons: Vec::new(),
            checks: Vec::new(),
            recovery: None,
            entries: Vec::new(),
        };
        let mut has_ended = false;
        for entry in &entries {
            match &entry.what {
                EntryKind::Began(began) => report.began = (**began).clone(),
                EntryKind::Refused { reasons } => report.reasons.extend(reasons.iter().cloned()),
                EntryKind::Deviated { what } => report.reasons.push(what.clone()),
                EntryKind::Aborted { reason } => report.reasons.push(reason.clone()),
                EntryKind::Check(check) => report.checks.push(check.clone()),
                EntryKind::Recovered { took } => report.recovery = Duration::try_from_secs_f64(*took).ok(),
                EntryKind::Ended { outcome } => {
                    report.outcome = *outcome;
                    has_ended = true;
                }
                _ => {}
            }
        }
        if !has_ended {
            report
                .reasons
                .push("the journal has no end: the process died, or the experiment still runs".to_owned());
        }
        report.entries = entries;
        report
    }

    /// Makes the report of a journal in a file.
    ///
    /// A last line that is not complete is ignored.
    ///
    /// ```
    /// use resilient_chaos::report::{Journal, Report};
    /// # let path = std::env::temp_dir().join(format!("resilient-report-{}.jsonl", std::process::id()));
    ///
    /// Journal::create(&path)?.note("ada", "the pager rang");
    /// assert_eq!(Report::read(&path)?.entries.len(), 1);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if a line before the last one is not an entry of a journal.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)?;
        let lines: Vec<_> = text.lines().collect();
        let mut entries = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(entry) => entries.push(entry),
                Err(_) if index + 1 == lines.len() && !text.ends_with('\n') => {}
                Err(error) => {
                    let what =
                        format!("{}:{}: not an entry of a journal: {error}", path.display(), index + 1);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
        }
        Ok(Self::of(entries))
    }

    /// Returns the exit code of a program that runs the experiment.
    ///
    /// ```
    /// use resilient_chaos::report::Report;
    ///
    /// assert_eq!(Report::of(Vec::new()).exit_code(), 2);
    /// ```
    pub fn exit_code(&self) -> u8 {
        self.outcome.exit_code()
    }

    /// Returns the weight of the checks that passed, and the weight of all.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::report::Report::of(Vec::new()).score(), (0, 0));
    /// ```
    pub fn score(&self) -> (u64, u64) {
        let passed = self.checks.iter().filter(|check| check.passed == Some(true)).map(|check| check.weight);
        (passed.sum(), self.checks.iter().map(|check| check.weight).sum())
    }

    /// Returns the score as a text: `12 of 14 (85.71 %)`.
    pub(crate) fn score_text(&self) -> Option<String> {
        let (passed, total) = self.score();
        (total > 0).then(|| format!("{passed} of {total} ({})", share(passed as f64 / total as f64)))
    }

    /// Returns the report as Markdown.
    ///
    /// ```
    /// let report = resilient_chaos::report::Report::of(Vec::new());
    /// assert!(report.to_markdown().starts_with("# "));
    /// ```
    pub fn to_markdown(&self) -> String {
        markdown::markdown(self, None)
    }

    /// Returns the report as one HTML page that needs no other file.
    ///
    /// ```
    /// let page = resilient_chaos::report::Report::of(Vec::new()).to_html();
    /// assert!(page.starts_with("<!doctype html>") && !page.contains("http://") && !page.contains("https://"));
    /// ```
    pub fn to_html(&self) -> String {
        html::page(&self.began.name, None, &[html::Part { title: None, report: self }])
    }

    /// Writes the report to `NAME.md` and `NAME.html` in a folder, and returns both paths.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("resilient-reports-{}", std::process::id()));
    /// let report = resilient_chaos::report::Report::of(Vec::new());
    /// let paths = report.write(&folder)?;
    /// assert!(paths.iter().all(|path| path.exists()));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the folder or a file cannot be created.
    pub fn write(&self, folder: impl AsRef<Path>) -> io::Result<[PathBuf; 2]> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder)?;
        let name = file_name(&self.began.name);
        let paths = [folder.join(format!("{name}.md")), folder.join(format!("{name}.html"))];
        std::fs::write(&paths[0], self.to_markdown())?;
        std::fs::write(&paths[1], self.to_html())?;
        Ok(paths)
    }

    /// Summarizes the result in a sentence.
    ///
    /// ```
    /// assert!(resilient_chaos::report::Report::of(Vec::new()).summary().contains("aborted"));
    /// ```
    pub fn summary(&self) -> String {
        let name = if self.began.name.is_empty() { "experiment" } else { &self.began.name };
        let mut text = format!("{}: {}", crate::text::visible(name), self.outcome.as_str());
        if let Some(score) = self.score_text() {
            let _ = write!(text, ", score {score}");
        }
        if let Some(recovery) = self.recovery {
            let _ = write!(text, ", recovered after {}", crate::text::span(recovery));
        }
        text
    }
}

#[cfg(test)]
mod tests;
