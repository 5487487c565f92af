//! How an alert stands.

use serde::Serialize;

use super::Severity;
use super::config::Signal;

/// A snapshot of an [`Alert`](crate::Alert).
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let stats = Registry::new().alert("errors").stats();
/// assert_eq!((stats.severity, stats.value, stats.fired), (None, None, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The operation it looks at; none: all together.
    pub operation: Option<String>,
    /// What of it.
    pub signal: Signal,
    /// How bad it is; none: it does not fire.
    pub severity: Option<Severity>,
    /// The signal when somebody looked last; none: too little was seen, or there is no such operation.
    pub value: Option<f64>,
    /// How often it fired, or got worse.
    pub fired: u64,
}
