//! The report of a whole game day.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Act, GameDay, next_steps};
use crate::report::{EntryKind, Outcome, Part, Report, Timeline, escape, markdown, mini, page, plain, prose};
use crate::text::{share, span, visible};

/// The result of a game day.
///
/// ```
/// use resilient_chaos::GameDay;
/// use resilient_chaos::game_day::GameDayReport;
///
/// let day = GameDay::of("test", "A test", "Ada", ["overload"]).unwrap();
/// let report = GameDayReport::new(day, Vec::new());
/// assert_eq!(report.exit_code(), 2, "no act was played");
/// assert!(report.to_markdown().contains("0 of 1 hypothesis held"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GameDayReport {
    /// The game day.
    pub day: GameDay,
    /// The reports of the acts that were played, with the number of the act from 0.
    pub acts: Vec<(usize, Report)>,
}

/// The figures of a whole day.
struct Figures {
    held: usize,
    passed: u64,
    total: u64,
    hit: u64,
    played: Duration,
    slowest: Option<(Duration, String)>,
}

impl GameDayReport {
    /// Creates the report of acts, for example of journals that were read. The number of an act begins with 0.
    pub fn new(day: GameDay, acts: Vec<(usize, Report)>) -> Self {
        Self { day, acts }
    }

    /// Returns the exit code of a program that plays the game day: the largest one of the acts, or 2 if an act was not
    /// played.
    pub fn exit_code(&self) -> u8 {
        let played = self.acts.iter().map(|(_, report)| report.exit_code()).max().unwrap_or_default();
        let all = if self.acts.len() < self.day.acts.len() || self.acts.is_empty() {
            Outcome::Aborted.exit_code()
        } else {
            0
        };
        played.max(all)
    }

    /// Summarizes the result: the verdict, and one line per act.
    pub fn summary(&self) -> String {
        let mut text = format!("{}: {}", visible(&self.day.title), self.verdict());
        for (index, act) in self.day.acts.iter().enumerate() {
            let (result, score, recovery) = cells(self.played(index));
            let _ = write!(text, "\n  {}. {:<44} {result:<10}", index + 1, visible(&act.title));
            if !score.is_empty() {
                let _ = write!(text, " score {score}");
            }
            if !recovery.is_empty() {
                let _ = write!(text, ", recovered after {recovery}");
            }
        }
        text
    }

    /// Returns the report as Markdown.
    pub fn to_markdown(&self) -> String {
        let day = &self.day;
        let mut text =
            format!("# {}\n\n**{}**\n\nLead: {}\n", plain(&day.title), self.verdict(), plain(&day.lead));
        if let Some(briefing) = &day.briefing {
            let _ = write!(text, "\n> {}\n", plain(briefing));
        }
        text.push_str("\n| act | result | score | recovery |\n|---|---|---|---|\n");
        for (index, act) in day.acts.iter().enumerate() {
            let (result, score, recovery) = cells(self.played(index));
            let _ =
                writeln!(text, "| {}. {} | {result} | {score} | {recovery} |", index + 1, plain(&act.title));
        }
        text.push_str("\n## Next steps\n\n");
        for step in next_steps(self) {
            let _ = writeln!(text, "- {}", plain(&step));
        }
        let notes = self.notes();
        if !notes.is_empty() {
            text.push_str("\n## Notes\n\n");
        }
        for (act, by, note) in notes {
            let _ = writeln!(text, "- {}, {}: {}", plain(&act.title), plain(by), plain(note));
        }
        for (index, report) in &self.acts {
            let title = self.title(*index);
            // One level deeper than the report of a single experiment.
            for line in markdown(report, title.as_deref()).lines() {
                let deeper = if line.starts_with('#') { "#" } else { "" };
                let _ = write!(text, "\n{deeper}{line}");
            }
            text.push('\n');
        }
        text
    }

    /// Returns the report of all acts as one HTML page that needs no other file.
    pub fn to_html(&self) -> String {
        let day = &self.day;
        let first = self.acts.first().map(|(_, report)| &report.began);
        let mut kind = format!("Game day, led by {}", escape(&day.lead));
        if let Some(began) = first {
            let _ = write!(kind, " · {}", escape(&began.started));
        }
        if let Some(environment) = first.and_then(|began| began.environment.as_ref()) {
            let _ = write!(kind, " · environment {}", escape(environment));
        }
        let mut head = format!(
            "<article class=\"overview\"><header><p class=\"kind\">{kind}</p><h1>{}</h1></header>\n<p class=\"verdict {}\">{}</p>\n",
            escape(&day.title),
            self.worst(),
            escape(&self.verdict())
        );
        if let Some(briefing) = &day.briefing {
            let _ = writeln!(head, "<blockquote>{}</blockquote>", prose(briefing));
        }
        self.figures_html(&mut head);
        self.acts_html(&mut head);
        head.push_str("<h2>Next steps</h2>\n<ul class=\"next\">\n");
        for step in next_steps(self) {
            let _ = writeln!(head, "<li>{}</li>", prose(&step));
        }
        head.push_str("</ul>\n");
        let notes = self.notes();
        if !notes.is_empty() {
            head.push_str("<h2>Notes</h2>\n<ul class=\"next\">\n");
            for (act, by, note) in notes {
                let _ = writeln!(
                    head,
                    "<li><b>{}</b>: {} <small>{}</small></li>",
                    escape(by),
                    escape(note),
                    escape(&act.title)
                );
            }
            head.push_str("</ul>\n");
        }
        head.push_str("</article>\n");
        let part = |(index, report)| Part { title: self.title(index), report };
        let parts: Vec<_> = self.acts.iter().map(|(index, report)| part((*index, report))).collect();
        page(&day.title, Some(&head), &parts)
    }

    fn figures_html(&self, html: &mut String) {
        let figures = self.figures();
        html.push_str("<dl class=\"figures\">");
        let mut figure = |name: &str, value: &str, detail: &str| {
            let (value, detail) = (escape(value), escape(detail));
            let _ = write!(html, "<div><dt>{name}</dt><dd>{value}<small>{detail}</small></dd></div>");
        };
        figure("Hypotheses held", &format!("{} of {}", figures.held, self.day.acts.len()), "");
        if figures.total > 0 {
            figure(
                "Score",
                &share(figures.passed as f64 / figures.total as f64),
                &format!("{} of {} points", figures.passed, figures.total),
            );
        }
        if let Some((took, act)) = &figures.slowest {
            figure("Slowest recovery", &span(*took), act);
        }
        figure("Calls hit by faults", &figures.hit.to_string(), "");
        figure("Duration", &span(figures.played), &format!("{} acts played", self.acts.len()));
        html.push_str("</dl>\n");
    }

    fn acts_html(&self, html: &mut String) {
        let timelines: Vec<_> =
            self.acts.iter().map(|(index, report)| (*index, Timeline::of(report))).collect();
        let longest = timelines.iter().map(|(_, timeline)| timeline.end).fold(0.0, f64::max);
        let _ = writeln!(
            html,
            "<h2>Acts</h2>\n<table class=\"day\"><thead><tr><th>Act</th><th>Result</th><th>Course <small>the full width is {}</small></th><th>Recovery</th><th>Score</th></tr></thead><tbody>",
            span(Duration::from_secs_f64(longest.round().max(0.0)))
        );
        for (index, act) in self.day.acts.iter().enumerate() {
            let played = self.played(index);
            let (result, score, recovery) = cells(played);
            let title = escape(&act.title);
            let link = played.map_or_else(
                || title.clone(),
                |report| format!("<a href=\"#{}\">{title}</a>", escape(&report.began.name)),
            );
            let class = if played.is_some() { result } else { "" };
            let course =
                timelines.iter().find(|(number, timeline)| *number == index && !timeline.phases.is_empty());
            let course = course.map(|(_, timeline)| mini(timeline, longest)).unwrap_or_default();
            let _ = writeln!(
                html,
                "<tr><td class=\"act\">{}. {link}</td><td><span class=\"badge {class}\">{result}</span></td><td class=\"course\">{course}</td><td class=\"took\">{recovery}</td><td class=\"score\">{score}</td></tr>",
                index + 1
            );
        }
        html.push_str("</tbody></table>\n<p class=\"key\">First row: <i class=\"bar\"></i> fault. Second row: <i class=\"open\"></i> circuit open. Third row: alert, <i class=\"half\"></i> warning, <i class=\"open\"></i> critical. Line: <i class=\"recovered\"></i> recovered, <i class=\"stopped\"></i> stopped.</p>\n");
    }

    /// Writes the report to `NAME.md` and `NAME.html` in a folder, and returns both paths.
    ///
    /// # Errors
    /// Returns an error if the folder or a file cannot be created.
    pub fn write(&self, folder: impl AsRef<Path>) -> io::Result<[PathBuf; 2]> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder)?;
        let paths = ["md", "html"].map(|extension| folder.join(format!("{}.{extension}", self.day.name)));
        std::fs::write(&paths[0], self.to_markdown())?;
        std::fs::write(&paths[1], self.to_html())?;
        Ok(paths)
    }

    /// Returns the report of an act, if it was played.
    pub(super) fn played(&self, index: usize) -> Option<&Report> {
        self.acts.iter().find(|(number, _)| *number == index).map(|(_, report)| report)
    }

    fn title(&self, index: usize) -> Option<String> {
        self.day.acts.get(index).map(|act| format!("{}. {}", index + 1, act.title))
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.acts.iter().filter(|(_, report)| report.outcome == outcome).count()
    }

    /// Returns the result in a sentence: `5 of 6 hypotheses held, 1 deviated.`
    pub(super) fn verdict(&self) -> String {
        let all = self.day.acts.len();
        let held = self.count(Outcome::Held);
        let hypotheses = if all == 1 { "hypothesis" } else { "hypotheses" };
        if held == all && all > 1 {
            return format!("All {all} {hypotheses} held.");
        }
        let mut text = format!("{held} of {all} {hypotheses} held");
        for (count, what) in [
            (self.count(Outcome::Deviated), "deviated"),
            (self.count(Outcome::Aborted), "aborted"),
            (self.count(Outcome::Refused), "did not start"),
            (all.saturating_sub(self.acts.len()), "not played"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text.push('.');
        text
    }

    /// Returns the name of the worst outcome.
    fn worst(&self) -> &'static str {
        let worst =
            self.acts.iter().map(|(_, report)| report.outcome).filter(|outcome| *outcome != Outcome::Refused);
        let worst = worst.max_by_key(|outcome| outcome.exit_code());
        match worst {
            Some(Outcome::Held) if self.exit_code() > 0 => "incomplete",
            Some(outcome) => outcome.as_str(),
            None => "incomplete",
        }
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures {
            held: self.count(Outcome::Held),
            passed: 0,
            total: 0,
            hit: 0,
            played: Duration::ZERO,
            slowest: None,
        };
        for (index, report) in &self.acts {
            let (passed, total) = report.score();
            figures.passed += passed;
            figures.total += total;
            for entry in &report.entries {
                if let EntryKind::Step { injected: Some(calls), .. } = entry.what {
                    figures.hit = figures.hit.saturating_add(calls);
                }
            }
            let end = report.entries.last().map_or(0.0, |entry| entry.seconds);
            figures.played += Duration::try_from_secs_f64(end).unwrap_or_default();
            if let Some(took) = report.recovery
                && figures.slowest.as_ref().is_none_or(|(slowest, _)| took > *slowest)
            {
                figures.slowest = Some((took, self.title(*index).unwrap_or_default()));
            }
        }
        figures
    }

    /// Returns the notes of people: the act, the author, and the text.
    fn notes(&self) -> Vec<(&Act, &str, &str)> {
        let mut notes = Vec::new();
        for (index, report) in &self.acts {
            let Some(act) = self.day.acts.get(*index) else { continue };
            for entry in &report.entries {
                if let EntryKind::Note { by, text } = &entry.what {
                    notes.push((act, by.as_str(), text.as_str()));
                }
            }
        }
        notes
    }
}

/// Returns the result, the score and the recovery time of an act.
fn cells(played: Option<&Report>) -> (&'static str, String, String) {
    let Some(report) = played else { return ("not played", String::new(), String::new()) };
    let (passed, total) = report.score();
    let score = if total == 0 { String::new() } else { format!("{passed} of {total}") };
    (report.outcome.as_str(), score, report.recovery.map(span).unwrap_or_default())
}
