//! Decides when an alert fires and when it ends, with a hold time and hysteresis.

use std::time::Duration;

use serde::Serialize;

use super::config::Config;
use crate::clock::Instant;

/// The severity of an alert.
///
/// ```
/// use resilient_runtime::alert::Severity;
///
/// assert!(Severity::Critical > Severity::Warning);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Needs attention today.
    Warning,
    /// Needs attention immediately.
    Critical,
}

impl Severity {
    /// Returns the name used in JSON and metrics.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::alert::Severity::Warning.as_str(), "warning");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The state of one severity of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Side {
    /// When the signal went beyond its limit.
    beyond_since: Option<Instant>,
    fires: bool,
}

/// The state of both severities of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judge {
    warning: Side,
    critical: Side,
}

impl Judge {
    /// Returns the worst severity that fires.
    pub(super) fn severity(&self) -> Option<Severity> {
        let critical = self.critical.fires.then_some(Severity::Critical);
        critical.or_else(|| self.warning.fires.then_some(Severity::Warning))
    }

    /// Restarts the hold after a gap between evaluations, in which the signal could have been within its limit. A
    /// severity that fires continues to fire.
    pub(super) fn restart_hold(&mut self) {
        self.warning.beyond_since = None;
        self.critical.beyond_since = None;
    }

    /// Evaluates a value. `None` means that there is too little data.
    pub(super) fn observe(&mut self, now: Instant, value: Option<f64>, config: &Config) {
        self.warning.observe(now, value, config.limit(Severity::Warning), config);
        self.critical.observe(now, value, config.limit(Severity::Critical), config);
    }

    /// Applies a severity that was determined elsewhere.
    pub(super) fn set(&mut self, now: Instant, severity: Option<Severity>, hold: Duration) {
        self.warning.follow(now, severity == Some(Severity::Warning), hold);
        self.critical.follow(now, severity == Some(Severity::Critical), hold);
    }
}

impl Side {
    fn observe(&mut self, now: Instant, value: Option<f64>, limit: Option<f64>, config: &Config) {
        let (Some(value), Some(limit)) = (value, limit) else {
            *self = Self::default();
            return;
        };
        // Hysteresis: an alert that fires has an easier limit, so that a value that oscillates around the limit
        // fires once.
        let ease = if self.fires { config.hysteresis.get() } else { 1.0 };
        let is_beyond =
            if config.below { value < limit / ease.max(f64::EPSILON) } else { value > limit * ease };
        self.follow(now, is_beyond, config.hold);
    }

    fn follow(&mut self, now: Instant, is_beyond: bool, hold: Duration) {
        if !is_beyond {
            *self = Self::default();
            return;
        }
        let since = *self.beyond_since.get_or_insert(now);
        self.fires |= now.since(since) >= hold;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(config: &Config, readings: &[Option<f64>]) -> String {
        let mut judge = Judge::default();
        let seen = readings.iter().enumerate().map(|(second, value)| {
            judge.observe(Instant::from_nanos(second as u64 * 1_000_000_000), *value, config);
            match judge.severity() {
                None => '.',
                Some(Severity::Warning) => 'w',
                Some(Severity::Critical) => 'c',
            }
        });
        seen.collect()
    }

    fn config() -> Config {
        Config::default().warning(0.1).critical(0.5).hold(Duration::from_secs(2))
    }

    #[test]
    fn an_alert_fires_after_the_hold_and_ends_well_below_the_limit() {
        let readings = [0.0, 0.2, 0.0, 0.2, 0.2, 0.2, 0.095, 0.2, 0.08, 0.2, 0.0].map(Some);
        assert_eq!(fired(&config(), &readings), ".....www...");
    }

    #[test]
    fn the_worst_severity_is_reported() {
        let readings = [0.6, 0.6, 0.6, 0.6, 0.4, 0.4, 0.0].map(Some);
        assert_eq!(fired(&config(), &readings), "..ccww.");
    }

    #[test]
    fn too_little_data_ends_an_alert() {
        let readings = [Some(0.6), Some(0.6), Some(0.6), None, Some(0.6)];
        assert_eq!(fired(&config(), &readings), "..c..");
    }

    #[test]
    fn below_inverts_the_comparison() {
        let config = Config::default().warning(10.0).below(true).hold(Duration::ZERO);
        let readings = [11.0, 9.0, 10.5, 11.2, 10.5].map(Some);
        assert_eq!(fired(&config, &readings), ".ww..");
    }
}
