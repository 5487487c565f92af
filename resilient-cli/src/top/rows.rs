//! The rows of the view, from the statistics.

use std::cmp::Ordering;

use serde_json::Value;

use super::history::{History, Recent};
use crate::duration::short;
use crate::stats::{error_text, members, number, open_reason, text};

/// An operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) recent: Option<Recent>,
    /// Median and 99th percentile of the last minute, in seconds. `None` if nothing was measured.
    pub(super) latency: Option<[f64; 2]>,
    pub(super) running: f64,
    /// The last error and its age.
    pub(super) error: Option<String>,
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub(super) struct Circuit {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) unchanged_for: f64,
    pub(super) calls: f64,
    pub(super) failure_rate: f64,
    pub(super) refused: f64,
    /// How often it opened since the start.
    pub(super) opened: f64,
    /// Seconds until the next probe.
    pub(super) probe_in: Option<f64>,
    /// Why the circuit opened, and the last error.
    pub(super) reason: String,
}

/// An alert that fires, or a health check that does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// `critical`, `warning`, `fail` or `warn`.
    pub(super) severity: String,
    pub(super) name: String,
    pub(super) what: String,
}

/// The order of the operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// The highest share of calls that did not get the result of the function.
    #[default]
    Trouble,
    Calls,
    Latency,
    Name,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Calls,
            Self::Calls => Self::Latency,
            Self::Latency => Self::Name,
            Self::Name => Self::Trouble,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Calls => "calls",
            Self::Latency => "p99",
            Self::Name => "name",
        }
    }
}

impl Operation {
    pub(super) fn all(stats: &Value, history: &History) -> Vec<Self> {
        let of = |(name, operation): (&String, &Value)| Self {
            name: name.clone(),
            recent: history.operation(name),
            latency: (number(operation, "/latency/measured") > 0.0)
                .then(|| [number(operation, "/latency/p50"), number(operation, "/latency/p99")]),
            running: number(operation, "/in_flight"),
            error: last_error(operation),
        };
        members(stats, "operations").map(of).collect()
    }

    /// Shares of the recent calls: ok, degraded, failed, refused.
    pub(super) fn shares(&self) -> Option<[f64; 4]> {
        self.recent.and_then(|recent| recent.endings.shares())
    }

    fn per_second(&self) -> f64 {
        self.recent.map_or(0.0, |recent| recent.per_second)
    }

    /// A result of a fallback is less bad than an error.
    fn trouble(&self) -> f64 {
        let trouble =
            self.shares().map_or(0.0, |[_, degraded, failed, refused]| degraded * 0.5 + failed + refused);
        // Rows with about the same trouble keep their places.
        (trouble * 100.0).ceil()
    }

    /// The magnitude of the calls per second, so that rows with about the same calls keep their places.
    fn magnitude(&self) -> f64 {
        self.per_second().max(0.01).log2().round()
    }

    /// The order of two operations: the most important one first.
    pub(super) fn compare(&self, other: &Self, sort: Sort) -> Ordering {
        let high_first = |of: fn(&Self) -> f64| of(other).total_cmp(&of(self));
        let first = match sort {
            Sort::Trouble => high_first(Self::trouble).then(high_first(Self::magnitude)),
            Sort::Calls => high_first(Self::per_second),
            Sort::Latency => high_first(|operation| operation.latency.map_or(0.0, |[_, p99]| p99)),
            Sort::Name => Ordering::Equal,
        };
        first.then_with(|| self.name.cmp(&other.name))
    }
}

impl Circuit {
    /// All circuits; those that are not closed come first.
    pub(super) fn all(stats: &Value) -> Vec<Self> {
        let mut all: Vec<_> =
            members(stats, "circuit_breaker").map(|(name, circuit)| Self::of(name, circuit)).collect();
        all.sort_by(|a, b| (a.rank(), &a.name).cmp(&(b.rank(), &b.name)));
        all
    }

    fn of(name: &str, circuit: &Value) -> Self {
        let outage = &circuit["outage"];
        let opened = open_reason(&outage["reason"]);
        let error =
            error_text(&circuit["last_error"]).or_else(|| outage["error"].as_str()).unwrap_or_default();
        Self {
            name: name.to_owned(),
            state: text(circuit, "state").to_owned(),
            unchanged_for: number(circuit, "/unchanged_for"),
            calls: number(circuit, "/window/calls"),
            failure_rate: number(circuit, "/window/failure_rate"),
            refused: number(circuit, "/rejected"),
            opened: number(circuit, "/entered/open"),
            probe_in: circuit["retry_after"].as_f64(),
            reason: [opened.as_str(), error]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; last error: "),
        }
    }

    fn rank(&self) -> u8 {
        match self.state.as_str() {
            "open" | "forced_open" => 0,
            "half_open" => 1,
            "closed" => 3,
            _ => 2,
        }
    }
}

impl Problem {
    /// The alerts that fire and the health checks that do not pass, the worst first.
    pub(super) fn all(stats: &Value) -> Vec<Self> {
        let alerts = members(stats, "alert").filter_map(|(name, alert)| {
            let value = alert["value"].as_f64().map(|value| format!(" {value:.3}")).unwrap_or_default();
            let operation = alert["operation"].as_str().unwrap_or("all operations");
            Some(Self {
                severity: alert["severity"].as_str()?.to_owned(),
                name: name.clone(),
                what: format!("{}{value}, {operation}", text(alert, "signal")),
            })
        });
        let checks = members(stats, "health").filter_map(|(name, check)| {
            let severity = text(check, "status");
            matches!(severity, "warn" | "fail").then(|| Self {
                severity: severity.to_owned(),
                name: name.clone(),
                what: format!("{} check: {}", text(check, "kind"), text(check, "output"))
                    .trim_end_matches(": ")
                    .to_owned(),
            })
        });
        let mut all: Vec<_> = alerts.chain(checks).collect();
        all.sort_by_key(|problem| match problem.severity.as_str() {
            "critical" => 0,
            "fail" => 1,
            _ => 2,
        });
        all
    }
}

fn last_error(operation: &Value) -> Option<String> {
    let error = &operation["last_error"];
    let text = error_text(error)?;
    let age = error["age"].as_f64().map(|age| format!(" ({} ago)", short(age))).unwrap_or_default();
    Some(format!("{text}{age}"))
}
