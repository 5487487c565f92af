//! Statistics of an alert.

use std::fmt;

use serde::Serialize;

use super::Severity;
use super::config::Signal;
use crate::observe::{Describe, Family};
use crate::settings::Parameter;

/// A snapshot of an [`Alert`](crate::Alert).
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let stats = Registry::new().alert("errors").stats();
/// assert_eq!((stats.severity, stats.value, stats.fired), (None, None, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The operation that is evaluated, or `None` for all operations together.
    pub operation: Option<String>,
    /// The signal that is evaluated.
    pub signal: Signal,
    /// The severity, or `None` if the alert does not fire.
    pub severity: Option<Severity>,
    /// The value at the last evaluation.
    ///
    /// `None` if there is too little data or no such operation.
    pub value: Option<f64>,
    /// How often the alert fired or increased in severity.
    pub fired: u64,
}

impl Describe for Stats {
    const LABEL: &str = "alert";
    const METRICS: &[Family<Self>] = &[Family::gauge(
        "resilient_alert_state",
        "1 while the alert fires with this severity, otherwise 0.",
        |alert, to| {
            let all = [Severity::Warning, Severity::Critical];
            to.by("severity", all.map(|severity| (severity.as_str(), alert.severity == Some(severity))));
        },
    )];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = self.severity.map_or("quiet", Severity::as_str);
        let operation = self.operation.as_deref().unwrap_or("all operations");
        write!(f, "{severity}, {} of {operation}", self.signal.to_value())?;
        if let Some(value) = self.value {
            write!(f, " {value:.3}")?;
        }
        write!(f, ", fired {}", self.fired)
    }
}
