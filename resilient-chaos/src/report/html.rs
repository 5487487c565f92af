//! The report as one HTML page without any other file.

use std::fmt::Write as _;

use super::markdown::{MOST, verdict};
use super::timeline::{Timeline, relative, sentences};
use super::{Check, CheckKind, EntryKind, Outcome, Report, chart};
use crate::text::{share, span, visible};

/// A check that used more than this share of its limit was close to it.
pub(crate) const CLOSE: f64 = 0.75;

const STYLE: &str = include_str!("style.css");

/// Escapes a text for HTML, also in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Escapes a text, and sets what is between backticks as code.
pub(crate) fn prose(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in escape(text).split('`').enumerate() {
        match index % 2 {
            0 => html.push_str(part),
            _ => {
                let _ = write!(html, "<code>{part}</code>");
            }
        }
    }
    html
}

/// A report on a page.
pub(crate) struct Part<'r> {
    /// The heading, if the report is one of several on the page. Otherwise it is the name of the scenario.
    pub(crate) title: Option<String>,
    pub(crate) report: &'r Report,
}

/// Returns a page with one report, or with several after an introduction.
pub(crate) fn page(title: &str, introduction: Option<&str>, parts: &[Part<'_>]) -> String {
    let title = if title.is_empty() { "experiment" } else { title };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(title)
    );
    if let Some(introduction) = introduction {
        html.push_str(introduction);
    }
    parts.iter().for_each(|part| section(&mut html, part));
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn section(html: &mut String, part: &Part<'_>) {
    let report = part.report;
    let (began, timeline) = (&report.began, Timeline::of(report));
    let name = escape(if began.name.is_empty() { "experiment" } else { &began.name });
    let mut kind = "Chaos experiment".to_owned();
    if began.probes_only {
        kind.push_str(", probes only");
    }
    if part.title.is_some() {
        let _ = write!(kind, " · {name} · <a href=\"./{name}.jsonl\">journal</a>");
    }
    let _ = write!(
        html,
        "<article id=\"{name}\">\n<header><p class=\"kind\">{kind}</p><h1>{} <span class=\"badge {outcome}\">{outcome}</span></h1>\n",
        part.title.as_deref().map_or_else(|| name.clone(), escape),
        outcome = report.outcome.as_str()
    );
    if !began.hypothesis.is_empty() {
        let _ = writeln!(html, "<blockquote>{}</blockquote>", prose(&began.hypothesis));
    }
    html.push_str("</header>\n");
    reasons(html, report);
    figures(html, report, &timeline);
    if !timeline.phases.is_empty() {
        html.push_str("<h2>Timeline</h2>\n");
        html.push_str(&chart::draw(&timeline));
        html.push_str("<p class=\"key\"><i class=\"bar\"></i> fault <i class=\"open\"></i> open, firing or failing <i class=\"half\"></i> half-open, warning <i class=\"closed\"></i> closed, quiet or holding <i class=\"forbidden\"></i> outside of the limit</p>\n");
    }
    checks(html, report);
    happened(html, report, &timeline, part.title.is_none());
    html.push_str("</article>\n");
}

fn reasons(html: &mut String, report: &Report) {
    if report.reasons.is_empty() {
        return;
    }
    let heading = match report.outcome {
        Outcome::Refused => "Why it did not start",
        Outcome::Aborted => "Why it was aborted",
        _ => "Deviations",
    };
    let _ = write!(html, "<section class=\"reasons {}\"><h2>{heading}</h2><ul>", report.outcome.as_str());
    for reason in &report.reasons {
        let _ = write!(html, "<li>{}</li>", prose(reason));
    }
    html.push_str("</ul></section>\n");
}

fn figures(html: &mut String, report: &Report, timeline: &Timeline<'_>) {
    html.push_str("<dl class=\"figures\">");
    let mut figure = |name: &str, value: &str, detail: &str| {
        if !value.is_empty() {
            let (value, detail) = (escape(value), escape(detail));
            let class = if value.len() > 9 { " class=\"long\"" } else { "" };
            let _ = write!(html, "<div><dt>{name}</dt><dd{class}>{value}<small>{detail}</small></dd></div>");
        }
    };
    let (passed, total) = report.score();
    if total > 0 {
        figure("Score", &share(passed as f64 / total as f64), &format!("{passed} of {total} points"));
    }
    if let Some(recovery) = report.recovery {
        let within = format!("limit {}", crate::probe::Unit::Seconds.show(report.began.recovery_within));
        figure("Recovery", &span(recovery), &within);
    }
    let hit: u64 = timeline.steps.iter().filter_map(|bar| bar.injected).sum();
    let by = if timeline.steps.len() == 1 {
        "by 1 step".to_owned()
    } else {
        format!("by {} steps", timeline.steps.len())
    };
    if timeline.steps.iter().any(|bar| bar.injected.is_some()) {
        figure("Calls hit", &hit.to_string(), &by);
    }
    let length = std::time::Duration::try_from_secs_f64(timeline.end).unwrap_or_default();
    if !timeline.phases.is_empty() {
        figure("Duration", &span(length), &report.began.started);
    }
    figure(
        "Environment",
        report.began.environment.as_deref().unwrap_or_default(),
        &format!("seed {}", report.began.seed),
    );
    figure("Owner", &report.began.owner, "");
    html.push_str("</dl>\n");
}

fn checks(html: &mut String, report: &Report) {
    if report.checks.is_empty() {
        return;
    }
    html.push_str("<h2>Checks</h2>\n<div class=\"scroll\"><table class=\"checks\"><thead><tr><th>Result</th><th>Check</th><th>Measured</th><th class=\"number\">Weight</th></tr></thead><tbody>\n");
    for Check { name, kind, passed, detail, weight, used } in &report.checks {
        let class = match passed {
            Some(true) => "good",
            Some(false) => "bad",
            None => "neutral",
        };
        let sign = match passed {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "–",
        };
        let group = match kind {
            CheckKind::SteadyState => "steady state",
            CheckKind::Expectation => "expectation",
            CheckKind::Recovery => "recovery",
        };
        let _ = writeln!(
            html,
            "<tr><td class=\"{class}\">{sign} {}</td><td>{}<small>{group}</small></td><td>{}{}</td><td class=\"number\">{weight}</td></tr>",
            verdict(*passed),
            prose(name),
            prose(detail),
            used.map(gauge).unwrap_or_default()
        );
    }
    html.push_str("</tbody></table></div>\n");
}

/// Draws which share of a limit was used.
fn gauge(used: f64) -> String {
    let class = match used {
        over if over > 1.0 => "over",
        close if close > CLOSE => "close",
        _ => "far",
    };
    let width = (used * 100.0).clamp(0.0, 100.0);
    format!(
        "<span class=\"gauge {class}\"><i style=\"width:{width:.0}%\"></i></span><small>{} of the limit</small>",
        share((used * 100.0).round() / 100.0)
    )
}

fn happened(html: &mut String, report: &Report, timeline: &Timeline<'_>, is_open: bool) {
    let sentences = sentences(&report.entries);
    if sentences.is_empty() {
        return;
    }
    let _ = writeln!(
        html,
        "<details{}><summary><h2>Events ({})</h2></summary>\n<ol class=\"log\">",
        if is_open { " open" } else { "" },
        sentences.len()
    );
    for (entry, text) in sentences.iter().take(MOST) {
        let class = match &entry.what {
            EntryKind::Refused { .. } | EntryKind::Deviated { .. } | EntryKind::Aborted { .. } => {
                " class=\"bad\""
            }
            EntryKind::Note { .. } => " class=\"note\"",
            EntryKind::Recovered { .. } => " class=\"good\"",
            EntryKind::Phase { .. } => " class=\"phase\"",
            _ => "",
        };
        let at = relative(entry.seconds - timeline.zero);
        let _ = writeln!(html, "<li{class}><time>{at}</time><span>{}</span></li>", prose(text));
    }
    if sentences.len() > MOST {
        let _ = writeln!(
            html,
            "<li><time></time><span>{} more entries in the journal</span></li>",
            sentences.len() - MOST
        );
    }
    html.push_str("</ol>\n</details>\n");
}
