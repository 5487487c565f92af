//! Decides whether an expectation about the resilience is met.

use std::time::Duration;

use resilient_runtime::Level;
use resilient_runtime::alert::Severity;
use resilient_runtime::registry::Stats;

use crate::scenario::{Expectation, Expected};
use crate::text::{number, share, span};

/// An expectation while the experiment runs.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) spec: Expectation,
    /// The start of the step, and the counters at this time.
    start: Option<(Duration, Vec<u64>)>,
    verdict: Option<bool>,
    pub(super) detail: String,
    /// The share of the limit that was used.
    pub(super) used: Option<f64>,
}

/// Changes since the last check.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Circuit breakers and their new states.
    pub(super) circuits: Vec<(String, String)>,
    /// Alerts and their severities.
    pub(super) alerts: Vec<(String, String)>,
}

impl Tracker {
    pub(super) fn new(spec: Expectation) -> Self {
        Self { spec, start: None, verdict: None, detail: String::new(), used: None }
    }

    pub(super) fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// Begins with its step.
    pub(super) fn begin(&mut self, now: Duration, stats: &Stats) {
        self.start = Some((now, counters(&self.spec.what, stats)));
    }

    /// Returns the latest time for the expectation, once it has begun.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let (start, _) = self.start.as_ref()?;
        Some(*start + self.spec.what.within()?)
    }

    /// Checks it while its step runs, or until its deadline. Returns whether it just failed.
    pub(super) fn check(&mut self, now: Duration, stats: &Stats, changes: &Changes) -> bool {
        let Some((start, before)) = &self.start else { return false };
        if self.verdict.is_some() {
            return false;
        }
        let elapsed = now.saturating_sub(*start);
        let after = counters(&self.spec.what, stats);
        let grown: Vec<_> =
            after.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).collect();
        let (verdict, detail) = match &self.spec.what {
            Expected::Breaker { breaker, state, within } => {
                let now = stats.circuit_breaker.get(breaker).map(|breaker| breaker.state.as_str());
                let reached = now == Some(state.as_str())
                    || changes.circuits.iter().any(|(name, to)| name == breaker && to == state);
                in_time(reached, elapsed, *within, now.unwrap_or("unknown"))
            }
            Expected::Alert { alert, critical, within } => {
                let fits = |severity: &str| severity == "critical" || !critical;
                let now = stats.alert.get(alert).and_then(|alert| alert.severity).map(Severity::as_str);
                let fired = now.is_some_and(fits)
                    || changes.alerts.iter().any(|(name, severity)| name == alert && fits(severity));
                in_time(fired, elapsed, *within, now.unwrap_or("quiet"))
            }
            Expected::Fallback { .. } => {
                let farther = grown.first().copied().unwrap_or_default();
                let detail = match farther {
                    0 => "no call was served by a farther level".to_owned(),
                    calls => format!("{calls} calls were served by a farther level"),
                };
                ((farther > 0).then_some(false), detail)
            }
            Expected::NoErrors { at_most, .. } => {
                let (errors, calls) = (grown[0], grown[1]);
                let seen = if calls == 0 { 0.0 } else { errors as f64 / calls as f64 };
                let detail = format!("{errors} of {calls} calls failed ({})", share(seen));
                ((*at_most <= 0.0 && errors > 0).then_some(false), detail)
            }
            Expected::Retries { .. } => {
                let (retries, calls) = (grown[0], grown[1]);
                let per_call = if calls == 0 { 0.0 } else { retries as f64 / calls as f64 };
                (None, format!("{retries} retries for {calls} calls, {} per call", number(per_call)))
            }
        };
        self.used = match &self.spec.what {
            Expected::Breaker { within, .. } | Expected::Alert { within, .. } if verdict == Some(true) => {
                Some(elapsed.as_secs_f64() / within.as_secs_f64())
            }
            Expected::NoErrors { at_most, .. } | Expected::Retries { at_most, .. }
                if *at_most > 0.0 && grown[1] > 0 =>
            {
                Some(grown[0] as f64 / grown[1] as f64 / at_most)
            }
            _ => None,
        };
        self.verdict = verdict;
        self.detail = detail;
        self.verdict == Some(false)
    }

    /// Ends with its step, if it concerns the whole step. Returns whether it failed.
    pub(super) fn end(&mut self, now: Duration, stats: &Stats) -> bool {
        if self.check(now, stats, &Changes::default()) {
            return true;
        }
        let Some((_, before)) = &self.start else { return false };
        if self.verdict.is_some() {
            return false;
        }
        let after = counters(&self.spec.what, stats);
        let grown = |index: usize| after[index].saturating_sub(before[index]) as f64;
        let per_call = || if grown(1) > 0.0 { grown(0) / grown(1) } else { 0.0 };
        self.verdict = match &self.spec.what {
            Expected::Breaker { .. } | Expected::Alert { .. } => None,
            Expected::Fallback { .. } => Some(true),
            Expected::NoErrors { at_most, .. } | Expected::Retries { at_most, .. } => {
                // Without a call, nothing was shown.
                if grown(1) > 0.0 { Some(per_call() <= *at_most) } else { None }
            }
        };
        if self.verdict.is_none()
            && !matches!(self.spec.what, Expected::Breaker { .. } | Expected::Alert { .. })
        {
            self.verdict = Some(false);
            "no call was made during the step, so it shows nothing; send load".clone_into(&mut self.detail);
        }
        self.verdict == Some(false)
    }
}

fn in_time(reached: bool, elapsed: Duration, within: Duration, now: &str) -> (Option<bool>, String) {
    match (reached, elapsed <= within) {
        (true, true) => (Some(true), format!("after {}", span(elapsed))),
        (false, true) => (None, format!("{now} after {}", span(elapsed))),
        (_, false) => (Some(false), format!("still {now} after {}", span(within))),
    }
}

/// Returns the counters that an expectation compares.
fn counters(what: &Expected, stats: &Stats) -> Vec<u64> {
    let calls_of = |operation: &str| {
        stats.operations.get(operation).map_or((0, 0), |op| {
            let errors = op.failed + op.rejected + op.timed_out + op.panicked;
            (errors, op.succeeded + op.fell_back + op.ignored + errors)
        })
    };
    match what {
        Expected::Breaker { .. } | Expected::Alert { .. } => Vec::new(),
        Expected::Fallback { fallback, at_most } => {
            let limit = Level::ALL.into_iter().find(|level| level.as_str() == at_most);
            let served = stats.fallback.get(fallback).map_or(0, |fallback| {
                let farther = fallback.levels.iter().filter(|(level, _)| Some(**level) > limit);
                farther.map(|(_, stats)| stats.served).sum()
            });
            vec![served]
        }
        Expected::NoErrors { operation, .. } => {
            let (errors, calls) = calls_of(operation);
            vec![errors, calls]
        }
        Expected::Retries { retry, operation, .. } => {
            let retries = stats.retry.get(retry).map_or(0, |retry| retry.retries);
            vec![retries, calls_of(operation).1]
        }
    }
}
