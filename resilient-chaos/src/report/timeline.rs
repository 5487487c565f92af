//! The contents of a journal, arranged by time for the charts and texts.

use std::collections::BTreeMap;

use super::{Entry, EntryKind, Phase, ProbeInfo, Report, StepInfo};
use crate::text::share;

/// The contents of a journal by time. All times are in seconds from the first entry.
#[derive(Debug, Default)]
pub(crate) struct Timeline<'r> {
    pub(crate) end: f64,
    /// The time that is shown as 0: the start of the first step.
    pub(super) zero: f64,
    pub(crate) phases: Vec<(Phase, f64, f64)>,
    pub(super) steps: Vec<Bar<'r>>,
    pub(super) probes: Vec<Line<'r>>,
    pub(super) circuits: BTreeMap<&'r str, Vec<Span<'r>>>,
    pub(super) alerts: BTreeMap<&'r str, Vec<Span<'r>>>,
    pub(super) marks: Vec<Mark>,
}

/// A step as it ran.
#[derive(Debug)]
pub(super) struct Bar<'r> {
    pub(super) info: &'r StepInfo,
    /// The start and the end, if it ran.
    pub(super) ran: Option<(f64, f64)>,
    pub(super) injected: Option<u64>,
}

/// The readings of a probe: time, value, and whether it held.
#[derive(Debug)]
pub(super) struct Line<'r> {
    pub(super) info: &'r ProbeInfo,
    pub(super) points: Vec<(f64, Option<f64>, Option<bool>)>,
}

/// A state that lasted for a time.
#[derive(Debug)]
pub(super) struct Span<'r> {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) state: &'r str,
}

/// A moment that decides the result.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) kind: MarkKind,
    pub(super) text: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkKind {
    Good,
    Bad,
    Neutral,
}

impl<'r> Timeline<'r> {
    pub(crate) fn of(report: &'r Report) -> Self {
        let end = report.entries.last().map_or(0.0, |entry| entry.seconds).max(0.001);
        let mut line = Self { end, ..Self::default() };
        let bar = |info| Bar { info, ran: None, injected: None };
        line.steps = report.began.steps.iter().map(bar).collect();
        line.probes = report.began.probes.iter().map(|info| Line { info, points: Vec::new() }).collect();
        for entry in &report.entries {
            line.add(entry.seconds, &entry.what);
        }
        if let Some(last) = line.phases.last_mut() {
            last.2 = end;
        }
        line.zero =
            line.phases.iter().find(|(phase, ..)| *phase == Phase::Steps).map_or(0.0, |(_, from, _)| *from);
        line
    }

    fn add(&mut self, at: f64, what: &'r EntryKind) {
        let end = self.end;
        match what {
            EntryKind::Phase { phase } => {
                if let Some(last) = self.phases.last_mut() {
                    last.2 = at;
                }
                self.phases.push((*phase, at, end));
            }
            EntryKind::Step { step, runs, injected } => {
                let Some(bar) = self.steps.iter_mut().find(|bar| bar.info.id == *step) else { return };
                if *runs {
                    bar.ran = Some((at, end));
                } else if let Some(ran) = &mut bar.ran {
                    ran.1 = at;
                    bar.injected = *injected;
                }
            }
            EntryKind::Probe { probe, value, holds } => {
                for line in self.probes.iter_mut().filter(|line| line.info.id == *probe) {
                    line.points.push((at, *value, *holds));
                }
            }
            EntryKind::Circuit { breaker, state } => {
                let spans = self
                    .circuits
                    .entry(breaker)
                    .or_insert_with(|| vec![Span { from: 0.0, to: end, state: "closed" }]);
                push(spans, at, end, state);
            }
            EntryKind::Alert { alert, severity } => {
                let state = severity.as_deref().unwrap_or("quiet");
                let spans = self
                    .alerts
                    .entry(alert)
                    .or_insert_with(|| vec![Span { from: 0.0, to: end, state: "quiet" }]);
                push(spans, at, end, state);
            }
            EntryKind::Deviated { .. } => self.mark(at, MarkKind::Bad, "deviated"),
            EntryKind::Aborted { .. } => self.mark(at, MarkKind::Bad, "aborted"),
            EntryKind::RolledBack { .. } => self.mark(at, MarkKind::Neutral, "rolled back"),
            EntryKind::Recovered { took } => {
                // It is recorded after the steady state held for a time.
                let since = self
                    .phases
                    .iter()
                    .rfind(|(phase, ..)| *phase == Phase::Recovery)
                    .map_or(at, |(_, from, _)| from + took);
                self.mark(since, MarkKind::Good, "recovered");
            }
            _ => {}
        }
    }

    fn mark(&mut self, at: f64, kind: MarkKind, text: &'static str) {
        // Several deviations at once are one mark.
        if self.marks.last().is_none_or(|last| last.text != text || (last.at - at).abs() > self.end / 50.0) {
            self.marks.push(Mark { at, kind, text });
        }
    }
}

fn push<'r>(spans: &mut Vec<Span<'r>>, at: f64, end: f64, state: &'r str) {
    if let Some(last) = spans.last_mut() {
        last.to = at;
    }
    spans.push(Span { from: at, to: end, state });
}

/// Describes the entries of interest for people, each with its entry.
///
/// A circuit breaker that probes its dependency is half-open for a moment. This and the state that follows are one line.
pub(super) fn sentences(entries: &[Entry]) -> Vec<(&Entry, String)> {
    let mut lines = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(mut line) = sentence(&entry.what) else { continue };
        if let EntryKind::Circuit { breaker, state } = &entry.what {
            let of_breaker = |other: &&Entry| matches!(&other.what, EntryKind::Circuit { breaker: name, .. } if name == breaker);
            let next = entries[index + 1..].iter().find(of_breaker);
            let before = entries[..index].iter().rfind(of_breaker);
            let was_probed = |half: Option<&Entry>, then: Option<&Entry>| {
                let is = |entry: &Entry, want: &str| matches!(&entry.what, EntryKind::Circuit { state, .. } if state == want);
                half.zip(then).is_some_and(|(half, then)| {
                    is(half, "half_open") && !is(then, "half_open") && then.seconds - half.seconds < 0.5
                })
            };
            if was_probed(Some(entry), next) {
                continue;
            }
            if was_probed(before, Some(entry)) {
                line = match state.as_str() {
                    "open" => format!("circuit `{breaker}` stays open: its probe failed"),
                    "closed" => format!("circuit `{breaker}` is closed: its probes succeeded"),
                    _ => line,
                };
            }
        }
        lines.push((entry, line));
    }
    lines
}

impl EntryKind {
    /// Describes the event in a sentence for people. `None` for the facts at the beginning, readings of probes, results
    /// of checks, refusals and the end, which a report shows in another form.
    ///
    /// ```
    /// use resilient_chaos::report::EntryKind;
    ///
    /// let what = EntryKind::Circuit { breaker: "payment".into(), state: "half_open".into() };
    /// assert_eq!(what.sentence().unwrap(), "circuit `payment` is half-open");
    /// assert_eq!(EntryKind::Probe { probe: "rate".into(), value: None, holds: None }.sentence(), None);
    /// ```
    pub fn sentence(&self) -> Option<String> {
        sentence(self)
    }
}

/// Describes an entry for people, if it is of interest.
pub(crate) fn sentence(what: &EntryKind) -> Option<String> {
    Some(match what {
        EntryKind::Phase { phase: Phase::Before } => "the steady state is observed".to_owned(),
        EntryKind::Phase { phase: Phase::Steps } => "the steps begin".to_owned(),
        EntryKind::Phase { phase: Phase::Recovery } => {
            "all faults are removed; the recovery is observed".to_owned()
        }
        EntryKind::Step { step, runs: true, .. } => format!("step `{step}` starts"),
        EntryKind::Step { step, injected: Some(1), .. } => format!("step `{step}` ends after 1 injection"),
        EntryKind::Step { step, injected: Some(calls), .. } => {
            format!("step `{step}` ends after {calls} injections")
        }
        EntryKind::Step { step, .. } => format!("step `{step}` ends"),
        EntryKind::Rate { step, rate } => format!("step `{step}` hits {} of the calls", share(*rate)),
        EntryKind::Circuit { breaker, state } => {
            format!("circuit `{breaker}` is {}", state.replace('_', "-"))
        }
        EntryKind::Alert { alert, severity: Some(severity) } => format!("alert `{alert}` is {severity}"),
        EntryKind::Alert { alert, severity: None } => format!("alert `{alert}` ends"),
        EntryKind::Health { check, status } => format!("health check `{check}`: {status}"),
        EntryKind::Warning { text } => format!("warning: {text}"),
        EntryKind::Decision { fault: Some(fault), local, .. } => {
            format!("the monkey injects `{fault}` ({local})")
        }
        EntryKind::Decision { reason, local, .. } => {
            format!("the monkey injects nothing: {reason} ({local})")
        }
        EntryKind::Note { by, text } => format!("note of {by}: {text}"),
        EntryKind::Refused { reasons } => format!("refused: {}", reasons.join("; ")),
        EntryKind::Deviated { what } => format!("deviation: {what}"),
        EntryKind::Aborted { reason } => format!("aborted: {reason}"),
        EntryKind::RolledBack { steps, .. } => format!("rolled back: {}", steps.join(", ")),
        EntryKind::Recovered { took } => {
            let took = std::time::Duration::try_from_secs_f64(*took).unwrap_or_default();
            format!("the steady state held again after {}", crate::text::span(took))
        }
        _ => return None,
    })
}

/// Formats a time relative to the first step: `+12.5 s`.
pub(super) fn relative(seconds: f64) -> String {
    let sign = if seconds < -0.05 { '−' } else { '+' };
    let seconds = seconds.abs();
    if seconds < 60.0 {
        return format!("{sign}{seconds:.1} s");
    }
    format!("{sign}{}:{:04.1}", (seconds / 60.0).floor(), seconds % 60.0)
}
