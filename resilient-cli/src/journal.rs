//! The entries of a journal as lines for people.

use std::collections::HashMap;

use resilient_chaos::report::{Entry, EntryKind, Outcome};
use serde_json::Value;

use crate::output::{Line, Span, Tone};
use crate::stats::text;

/// Turns the entries of a journal into lines. A probe has a line only if it begins or ceases to hold.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Whether each probe held, when it was read last.
    probes: HashMap<String, Option<bool>>,
}

impl Lines {
    pub(crate) fn of(&mut self, entry: &Value) -> Vec<Line> {
        match serde_json::from_value::<Entry>(entry.clone()) {
            Ok(entry) => self.known(&entry),
            // Of a newer service.
            Err(_) => {
                let at = entry["seconds"].as_f64().unwrap_or_default();
                let what = format!("{}: {}", text(entry, "entry"), crate::commands::details(entry));
                vec![line(at, Tone::Faint, what)]
            }
        }
    }

    fn known(&mut self, entry: &Entry) -> Vec<Line> {
        let at = entry.seconds;
        match &entry.what {
            EntryKind::Began(began) => {
                let environment = began.environment.as_deref().unwrap_or("unknown");
                let what = if began.probes_only { "the probes are read, without a fault" } else { "begins" };
                vec![
                    vec![
                        Span::new(Tone::Strong, format!("{}: ", began.name)),
                        began.hypothesis.clone().into(),
                    ],
                    line(
                        at,
                        Tone::Plain,
                        format!("{what}; environment {environment}, owner {}", began.owner),
                    ),
                ]
            }
            EntryKind::Refused { reasons } => {
                reasons.iter().map(|reason| line(at, Tone::Bad, format!("refused: {reason}"))).collect()
            }
            EntryKind::Probe { probe, value, holds } => {
                if self.probes.insert(probe.clone(), *holds) == Some(*holds) {
                    return Vec::new();
                }
                let value = value.map_or("no value yet".into(), |value| format!("{value:.4}"));
                let value = value.trim_end_matches('0').trim_end_matches('.');
                match holds {
                    Some(true) => vec![line(at, Tone::Good, format!("{probe}: {value}, holds"))],
                    Some(false) => vec![line(at, Tone::Bad, format!("{probe}: {value}, does not hold"))],
                    None => vec![line(at, Tone::Faint, format!("{probe}: {value}"))],
                }
            }
            EntryKind::Check(check) => {
                let (verdict, tone) = match check.passed {
                    Some(true) => ("passed", Tone::Good),
                    Some(false) => ("FAILED", Tone::Bad),
                    None => ("not decided", Tone::Warning),
                };
                let detail =
                    if check.detail.is_empty() { String::new() } else { format!(": {}", check.detail) };
                vec![line(at, tone, format!("{verdict}  {}{detail}", check.name))]
            }
            EntryKind::Ended { .. } => Vec::new(),
            what => {
                let tone = match what {
                    EntryKind::Deviated { .. } | EntryKind::Aborted { .. } => Tone::Bad,
                    EntryKind::Warning { .. } | EntryKind::Alert { severity: Some(_), .. } => Tone::Warning,
                    EntryKind::Step { .. } | EntryKind::Decision { fault: Some(_), .. } => Tone::Strong,
                    EntryKind::Recovered { .. } => Tone::Good,
                    EntryKind::Decision { .. } => Tone::Faint,
                    _ => Tone::Plain,
                };
                what.sentence().map(|what| vec![line(at, tone, what)]).unwrap_or_default()
            }
        }
    }
}

fn line(at: f64, tone: Tone, what: String) -> Line {
    vec![Span::new(Tone::Faint, format!("{at:>7.1} s  ")), Span::new(tone, what)]
}

/// The colour of an outcome.
pub(crate) fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Held => Tone::Good,
        Outcome::Deviated => Tone::Bad,
        _ => Tone::Warning,
    }
}
