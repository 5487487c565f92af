//! The settings of an alert and their defaults.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings, words};

/// The value that an alert evaluates.
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
    /// The share of calls that failed, were rejected, timed out or panicked, from 0 to 1.
    ///
    /// Calls served by a fallback do not count as errors.
    #[default]
    ErrorRate,
    /// The share of calls served by a fallback, from 0 to 1.
    DegradedRate,
    /// The median latency, in seconds.
    LatencyP50,
    /// The 95th percentile of the latency, in seconds.
    LatencyP95,
    /// The 99th percentile of the latency, in seconds.
    LatencyP99,
    /// Calls per second.
    Traffic,
    /// The highest saturation of all bulkheads, load shedders and rate limiters, from 0 to 1.
    ///
    /// It does not depend on the operation.
    Saturation,
    /// How fast the error budget of `objective` burns, as a multiple of the sustainable rate.
    ///
    /// Limits are built in: critical above 14.4 over 1 h and 5 min, critical above 6 over 6 h and 30 min, warning
    /// above 1 over 3 days and 6 h.
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
        exclude_injected: bool,
        enabled: bool,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        let is_share = matches!(self.signal, Signal::ErrorRate | Signal::DegradedRate | Signal::Saturation);
        let reached = |limit: f64| {
            // Values that are not finite are rejected by the range check.
            !limit.is_finite() || if self.below { limit > 0.0 } else { limit < 1.0 || !is_share }
        };
        let passable =
            "must be a limit that the signal can cross: less than 1 for a share; with `below`, more than 0";
        error.require(self.warning.is_none_or(reached), "warning", self.warning, passable);
        error.require(self.critical.is_none_or(reached), "critical", self.critical, passable);
        if let (Some(warning), Some(critical)) = (self.warning, self.critical) {
            let worse = if self.below { critical <= warning } else { critical >= warning };
            let side = if self.below { "at most" } else { "at least" };
            error.require(worse, "critical", self.critical, format!("must be {side} warning = {warning}"));
        }
        let objective = self.objective.is_none_or(|share| share < Ratio::ONE);
        error.require(objective, "objective", self.objective, "must be more than 0 and less than 1");
        let burns = self.signal == Signal::BurnRate;
        let fits = burns == self.objective.is_some();
        error.require(
            fits,
            "objective",
            self.objective,
            "it is required for signal = burn_rate, and not allowed for other signals",
        );
        let limits = !burns || self.warning.is_none() && self.critical.is_none();
        error.require(
            limits,
            "critical",
            self.critical,
            "it is not allowed for signal = burn_rate, because its limits are built in",
        );
    }

    /// Returns the limit of a severity.
    pub(super) fn limit(&self, severity: super::Severity) -> Option<f64> {
        match severity {
            super::Severity::Warning => self.warning,
            super::Severity::Critical => self.critical,
        }
    }
}
