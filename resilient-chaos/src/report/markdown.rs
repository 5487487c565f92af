//! The report as Markdown.

use std::fmt::Write as _;

use super::timeline::{Timeline, relative, sentences};
use super::{Check, CheckKind, Report};
use crate::runner::describe_rate;
use crate::text::{span, visible};

/// The largest number of entries in the list of events.
pub(super) const MOST: usize = 300;

/// Escapes what Markdown would interpret in a table or a line, except the backticks around names.
pub(crate) fn plain(text: &str) -> String {
    let text = visible(text);
    // Only single backticks in pairs, without backslashes, are code for certain. All others are characters.
    let has_code =
        !text.contains("``") && !text.contains('\\') && text.matches('`').count().is_multiple_of(2);
    let (mut plain, mut is_code) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        let is_escaped = match c {
            '|' => true,
            '`' if has_code => {
                is_code = !is_code;
                false
            }
            // In code, these have no meaning.
            _ => {
                !is_code
                    && matches!(c, '\\' | '`' | '<' | '>' | '*' | '_' | '[' | ']' | '#' | '!' | '&' | '~')
            }
        };
        if is_escaped {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

/// Returns the report. `title` replaces the name of the scenario in the heading.
pub(crate) fn markdown(report: &Report, title: Option<&str>) -> String {
    let (began, timeline) = (&report.began, Timeline::of(report));
    let name = if began.name.is_empty() { "Experiment" } else { &began.name };
    let mut text = format!("# {}: {}\n\n", plain(title.unwrap_or(name)), report.outcome.as_str());
    if !began.hypothesis.is_empty() {
        let _ = write!(text, "> {}\n\n", plain(&began.hypothesis));
    }
    for reason in &report.reasons {
        let _ = writeln!(text, "- {}", plain(reason));
    }
    if !report.reasons.is_empty() {
        text.push('\n');
    }
    text.push_str("| | |\n|---|---|\n");
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "| {name} | {} |", plain(value));
        }
    };
    row("score", &report.score_text().unwrap_or_default());
    row("recovery", &report.recovery.map(span).unwrap_or_default());
    row("environment", began.environment.as_deref().unwrap_or_default());
    row("owner", &began.owner);
    row("started", &began.started);
    row("seed", &began.seed.to_string());
    if !timeline.steps.is_empty() {
        text.push_str("\n## Steps\n\n| step | fault | rate | time | calls hit |\n|---|---|---|---|---|\n");
    }
    for bar in &timeline.steps {
        let time = bar.ran.map_or_else(
            || "did not run".to_owned(),
            |(from, to)| format!("{} to {}", relative(from - timeline.zero), relative(to - timeline.zero)),
        );
        let injected = bar.injected.map_or_else(|| "-".to_owned(), |calls| calls.to_string());
        let (id, fault, rate) = (plain(&bar.info.id), plain(&bar.info.fault), describe_rate(bar.info.rate));
        let _ = writeln!(text, "| {id} | {fault} | {rate} | {time} | {injected} |");
    }
    if !report.checks.is_empty() {
        text.push_str("\n## Checks\n\n| result | check | measured | weight |\n|---|---|---|---|\n");
    }
    for Check { name, kind, passed, detail, weight, .. } in &report.checks {
        let group = match kind {
            CheckKind::SteadyState => "steady state: ",
            CheckKind::Expectation => "",
            CheckKind::Recovery => "recovery: ",
        };
        let _ = writeln!(
            text,
            "| {} | {group}{} | {} | {weight} |",
            verdict(*passed),
            plain(name),
            plain(detail)
        );
    }
    text.push_str("\n## Events\n\n");
    let sentences = sentences(&report.entries);
    for (entry, sentence) in sentences.iter().take(MOST) {
        let _ = writeln!(text, "- `{}` {}", relative(entry.seconds - timeline.zero), plain(sentence));
    }
    if sentences.len() > MOST {
        let _ = writeln!(text, "- {} more entries in the journal", sentences.len() - MOST);
    }
    text
}

pub(super) const fn verdict(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "passed",
        Some(false) => "failed",
        None => "not decided",
    }
}
