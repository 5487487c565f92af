//! The settings of an alert and their defaults.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings, words};

/// What an alert looks at.
///
/// ```
/// use resilient_runtime::{Registry, Component, alert::{Config, Signal}};
///
/// let slow = Registry::new().alert("slow");
/// slow.reconfigure(Config::default().signal(Signal::LatencyP95).critical(2.0)).unwrap();
/// assert_eq!(slow.stats().signal, Signal::LatencyP95);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum Signal {
    /// The share of calls that ended badly, from 0 to 1: failed, refused, cut off or panicked. What a fallback answered is
    /// not among them.
    #[default]
    ErrorRate,
    /// The share of calls that a fallback answered.
    DegradedRate,
    /// The time that half of the calls do not exceed, in seconds.
    LatencyP50,
    /// The time that 95 % of the calls do not exceed, in seconds.
    LatencyP95,
    /// The time that 99 % of the calls do not exceed, in seconds.
    LatencyP99,
    /// Calls a second.
    Traffic,
    /// The share of the fullest bulkhead that is in use.
    Saturation,
    /// How many times as fast as it may the budget of errors is used up that `objective` leaves: over 1 h and 5 min from
    /// 14.4 and over 6 h and 30 min from 6 critical, over 3 days and 6 h from 1 a warning.
    BurnRate,
}

words! {
    Signal {
        "error_rate" = ErrorRate,
        "degraded_rate" = DegradedRate,
        "latency_p50" = LatencyP50,
        "latency_p95" = LatencyP95,
        "latency_p99" = LatencyP99,
        "traffic" = Traffic,
        "saturation" = Saturation,
        "burn_rate" = BurnRate,
    }
}

settings! {
    /// The settings of an [`Alert`](crate::Alert).
    ///
    /// ```
    /// use resilient_runtime::{Ratio, alert::{Config, Signal}, settings::Settings};
    ///
    /// let burns = Config::default().signal(Signal::BurnRate).objective(Ratio::new(0.999).unwrap());
    /// assert!(burns.validate().is_ok());
    /// ```
    pub struct Config: alert, check {
        operation: Option<Arc<str>>,
        signal: Signal,
        warning: Option<f64>,
        critical: Option<f64>,
        below: bool,
        hold: Duration,
        window: Duration,
        min_samples: u32,
        hysteresis: Ratio,
        objective: Option<Ratio>,
        enabled: bool,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        let is_share = matches!(self.signal, Signal::ErrorRate | Signal::DegradedRate | Signal::Saturation);
        let reached = |limit: f64| {
            // What is no number has been refused above.
            !limit.is_finite() || if self.below { limit > 0.0 } else { limit < 1.0 || !is_share }
        };
        let passable = "one that the signal can pass: a share is at most 1, and nothing is below 0";
        error.require(self.warning.is_none_or(reached), "warning", self.warning, passable);
        error.require(self.critical.is_none_or(reached), "critical", self.critical, passable);
        if let (Some(warning), Some(critical)) = (self.warning, self.critical) {
            let worse = if self.below { critical <= warning } else { critical >= warning };
            error.require(worse, "critical", self.critical, format!("worse than warning = {warning}"));
        }
        let objective = self.objective.is_none_or(|share| share < Ratio::ONE);
        error.require(objective, "objective", self.objective, "more than 0, below 1");
        let burns = self.signal == Signal::BurnRate;
        let fits = burns == self.objective.is_some();
        error.require(
            fits,
            "objective",
            self.objective,
            "a burn_rate has an objective, and nothing else has",
        );
        let limits = !burns || self.warning.is_none() && self.critical.is_none();
        error.require(limits, "critical", self.critical, "a burn_rate has limits of its own");
    }

    /// The limit of a severity.
    pub(super) fn limit(&self, severity: super::Severity) -> Option<f64> {
        match severity {
            super::Severity::Warning => self.warning,
            super::Severity::Critical => self.critical,
        }
    }
}
