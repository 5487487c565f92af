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
    pub struct Config {
        /// The operation it looks at; of one that is not there (yet) there is no value. None: all together.
        pub operation: Option<Arc<str>> = None,
        /// What of it.
        pub signal: Signal = Signal::ErrorRate,
        /// From where on it warns; at least 0. None: it does not. A burn rate has limits of its own.
        pub warning: Option<f64> = None,
        /// From where on it is critical; at least `warning` (with `below`, at most). None: never.
        pub critical: Option<f64> = None,
        /// Whether too little is what is wrong, as with traffic.
        pub below: bool = false,
        /// How long it must be so before the alert fires; 0 to 24 h.
        pub hold: Duration = Duration::from_secs(30),
        /// The time over which rates are taken; 1 s to 24 h.
        pub window: Duration = Duration::from_mins(1),
        /// With fewer calls in the window the alert does not fire, and one that fires ends; but where too little is what is
        /// wrong.
        pub min_samples: u32 = 20,
        /// The share of a limit that the signal must fall below for the alert to end; 0 to 1.
        pub hysteresis: Ratio = Ratio::new(0.9).unwrap_or(Ratio::ONE),
        /// For a burn rate: the share of calls that are to end well; more than 0, below 1.
        pub objective: Option<Ratio> = None,
        /// Whether it looks at all. Switched off, it stays as it stands.
        pub enabled: bool = true,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const DAY: Duration = Duration::from_hours(24);
        let limit = |limit: Option<f64>| limit.is_none_or(|limit| limit.is_finite() && limit >= 0.0);
        error.require(limit(self.warning), "warning", self.warning, "a number, at least 0");
        error.require(limit(self.critical), "critical", self.critical, "a number, at least 0");
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
        error.require(self.hold <= DAY, "hold", self.hold, "0 to 24 h");
        let window = (Duration::from_secs(1)..=DAY).contains(&self.window);
        error.require(window, "window", self.window, "1 s to 24 h");
        let objective = self.objective.is_none_or(|share| share > Ratio::ZERO && share < Ratio::ONE);
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
