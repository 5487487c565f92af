//! The entries of a journal as lines for people.

use std::collections::HashMap;

use resilient_chaos::probe::Unit;
use resilient_chaos::report::{Began, Entry, EntryKind, Outcome};
use resilient_chaos::scenario::Rate;
use serde_json::Value;

use crate::output::{Line, Span, Tone};
use crate::stats::{percent, text};

/// Turns the entries of a journal into lines. A probe has a line only if it begins or ceases to hold.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Whether each probe held, when it was read last.
    probes: HashMap<String, Option<bool>>,
    /// The facts of the first entry, which explain the later ones.
    began: Began,
}

impl Lines {
    pub(crate) fn of(&mut self, entry: &Value) -> Vec<Line> {
        match serde_json::from_value::<Entry>(entry.clone()) {
            Ok(entry) => self.known(&entry),
            // The service is newer.
            Err(_) => {
                let at = entry["seconds"].as_f64().unwrap_or_default();
                let what = format!("{}: {}", text(entry, "entry"), crate::commands::details(entry));
                vec![line(at, Tone::Faint, what)]
            }
        }
    }

    /// The reading of a probe: `success rate of order: 100 %, holds (at least 99 %)`.
    fn probe(&self, id: &str, value: Option<f64>, holds: Option<bool>) -> (Tone, String) {
        let info = self.began.probes.iter().find(|known| known.id == id);
        let unit = info.map(|info| info.unit).unwrap_or_default();
        let limit = info.map(|info| format!(" ({})", info.limit)).unwrap_or_default();
        let Some(value) = value else { return (Tone::Faint, format!("{id}: no value yet")) };
        let value = unit.show(value);
        match holds {
            _ if unit == Unit::State => {
                (if holds == Some(false) { Tone::Bad } else { Tone::Good }, format!("{id}: {value}"))
            }
            Some(true) => (Tone::Good, format!("{id}: {value}, holds{limit}")),
            Some(false) => (Tone::Bad, format!("{id}: {value}, does not hold{limit}")),
            None => (Tone::Faint, format!("{id}: {value}")),
        }
    }

    fn known(&mut self, entry: &Entry) -> Vec<Line> {
        let at = entry.seconds;
        match &entry.what {
            EntryKind::Began(began) => {
                self.began = (**began).clone();
                let environment = began.environment.as_deref().unwrap_or("unknown");
                let what =
                    if began.probes_only { "only the probes are read" } else { "the experiment begins" };
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
                let (tone, what) = self.probe(probe, *value, *holds);
                vec![line(at, tone, what)]
            }
            EntryKind::Step { step, runs: true, .. } => {
                let known = self.began.steps.iter().find(|known| known.id == *step);
                let fault =
                    known.map(|step| format!(": {}{}", step.fault, rate(step.rate))).unwrap_or_default();
                vec![line(at, Tone::Strong, format!("step `{step}` starts{fault}"))]
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

/// The share of the calls that a step hits at its start, unless it is all of them.
fn rate(rate: Rate) -> String {
    match rate {
        Rate::Fixed(rate) if rate >= 1.0 => String::new(),
        Rate::Fixed(rate) => format!(", {} of the calls", percent(rate)),
        Rate::Ramp { from, to, .. } => format!(", {} to {} of the calls", percent(from), percent(to)),
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
