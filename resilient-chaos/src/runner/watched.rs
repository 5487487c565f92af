//! Probes that are watched while an experiment runs.

use std::fmt::Write as _;
use std::time::Duration;

use resilient_runtime::registry::Stats;

use crate::probe::{Measure, Meter, Outside, ProbeSpec, Unit};
use crate::report::{EntryKind, Journal, ProbeInfo};
use crate::text::span;

/// A probe with the time since which it fails.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) meter: Meter,
    debounce: Duration,
    failing_since: Option<Duration>,
    /// The last reading in the journal: when, and whether it held.
    written: Option<(Duration, Option<bool>)>,
    /// The value that is closest to the limit, or farthest beyond it, while faults are injected.
    worst: Option<f64>,
    /// Whether the current phase counts for the worst value.
    seeks_worst: bool,
    /// Describes the failure, once it counted as failed.
    pub(super) failure: Option<String>,
}

impl Watched {
    pub(super) fn new(spec: &ProbeSpec, debounce: Duration) -> Self {
        let meter = Meter::new(spec.clone());
        Self {
            meter,
            debounce,
            failing_since: None,
            written: None,
            worst: None,
            seeks_worst: false,
            failure: None,
        }
    }

    pub(super) fn info(&self, aborts: bool) -> ProbeInfo {
        let ProbeSpec { id, measure } = &self.meter.spec;
        let (min, max) = measure.limits();
        ProbeInfo { id: id.clone(), unit: measure.unit(), min, max, limit: measure.limit(), aborts }
    }

    pub(super) fn id(&self) -> &str {
        &self.meter.spec.id
    }

    /// Reads the probe, and writes the reading to the journal if it changed or the last one is old.
    pub(super) fn read(
        &mut self,
        now: Duration,
        stats: &Stats,
        outside: &dyn Outside,
        (journal, pause): (&Journal, Duration),
    ) {
        self.meter.read(now, stats, outside);
        let holds = self.meter.holds();
        if let Some(value) = self.meter.value().filter(|_| self.seeks_worst) {
            let is_worse = |worst: &f64| match self.meter.spec.measure.limits() {
                (Some(_), None) => value < *worst,
                _ => value > *worst,
            };
            if self.worst.as_ref().is_none_or(is_worse) {
                self.worst = Some(value);
            }
        }
        if holds == Some(false) {
            self.failing_since.get_or_insert(now);
        } else {
            self.failing_since = None;
        }
        let is_due = self.written.is_none_or(|(at, held)| now.saturating_sub(at) >= pause || held != holds);
        if is_due {
            self.written = Some((now, holds));
            let (probe, value) = (self.id().to_owned(), self.meter.value());
            journal.add(EntryKind::Probe { probe, value, holds });
        }
    }

    /// Returns whether it has failed for long enough.
    pub(super) fn fails(&self, now: Duration) -> bool {
        self.failing_since.is_some_and(|since| now.saturating_sub(since) >= self.debounce)
    }

    /// Forgets for how long it has failed, for example because a phase began.
    pub(super) fn start_again(&mut self) {
        self.failing_since = None;
    }

    /// Sets whether the phase that begins counts for the worst value.
    pub(super) fn seek_worst(&mut self, seeks: bool) {
        self.seeks_worst = seeks;
    }

    /// Describes the worst value, or the last one, and returns the share of the limit that it uses.
    pub(super) fn measured(&self, is_worst: bool) -> (String, Option<f64>) {
        let measure = &self.meter.spec.measure;
        let value = if is_worst { self.worst } else { self.meter.value() };
        let (Some(value), false) = (value, measure.unit() == Unit::State) else {
            return (format!("held: {}", measure.limit()), None);
        };
        let used = match measure.limits() {
            (None, Some(max)) if max > 0.0 => Some(value / max),
            (Some(min), None) if measure.unit() == Unit::Share && min < 1.0 => {
                Some((1.0 - value) / (1.0 - min))
            }
            _ => None,
        };
        let which = if is_worst { "worst" } else { "last" };
        let text = format!("{which} {}, limit {}", measure.unit().show(value), measure.limit());
        (text, used.filter(|used| used.is_finite()))
    }

    /// Describes the last reading: `success rate of order is 80 %, expected at least 99 %`.
    pub(super) fn describe(&self) -> String {
        let ProbeSpec { id, measure } = &self.meter.spec;
        let limit = measure.limit();
        let mut text = match (self.meter.value(), measure) {
            (None, measure) => format!("{id} has no value, expected {limit}: {}", no_value(measure)),
            (Some(value), Measure::Alert { .. }) if value < 0.5 => format!("{id}: it fires"),
            (Some(value), measure) if measure.unit() == Unit::State => {
                format!("{id} {}, expected {limit}", measure.unit().show(value))
            }
            (Some(value), measure) => format!("{id} is {}, expected {limit}", measure.unit().show(value)),
        };
        if !self.debounce.is_zero() && self.failing_since.is_some() {
            let _ = write!(text, ", for {}", span(self.debounce));
        }
        text
    }
}

/// Explains why a probe has no value, and the remedy.
fn no_value(measure: &Measure) -> String {
    match measure {
        Measure::SuccessRate { min_samples, window, .. }
        | Measure::DegradedRate { min_samples, window, .. }
        | Measure::Latency { min_samples, window, .. } => format!(
            "fewer than {min_samples} calls ended in {}; send load, or change `min_samples`, `window` or `observe_before`",
            span(*window)
        ),
        Measure::Health { .. } => {
            "it has no result yet; let the program probe its health checks (`watch_health`)".into()
        }
        Measure::Http { .. } => "no request has ended yet; lengthen `observe_before`".into(),
        Measure::Metric { .. } => "no sample has these labels".into(),
        _ => "nothing provides it".into(),
    }
}
