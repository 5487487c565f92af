//! Statistics of an adaptive limit.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::seconds::optional_seconds;

/// A snapshot of an adaptive limit.
///
/// ```
/// use resilient_runtime::{Component, Registry, adaptive::LimitReason, bulkhead::Config};
///
/// let search = Registry::new().bulkhead("search");
/// search.reconfigure(Config::default().adaptive(true).adaptive_max(50)).unwrap();
/// let adaptive = search.stats().adaptive.unwrap();
/// assert_eq!((adaptive.limit, adaptive.max, adaptive.reason), (20, 50, LimitReason::Initial));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdaptiveLimitStats {
    /// The maximum number of calls in flight.
    pub limit: u32,
    /// The lower bound of the limit.
    pub min: u32,
    /// The upper bound of the limit.
    pub max: u32,
    /// The reason for the last change of the limit.
    pub reason: LimitReason,
    /// The geometric mean latency of the last window; `None` before the first window.
    #[serde(serialize_with = "optional_seconds")]
    pub latency: Option<Duration>,
    /// The latency of calls that do not wait for each other.
    #[serde(serialize_with = "optional_seconds")]
    pub baseline: Option<Duration>,
    /// The peak number of calls in flight in the last window.
    pub peak: u32,
    /// The number of windows evaluated.
    pub windows: u64,
}

/// How the last window affected an adaptive limit.
///
/// ```
/// use resilient_runtime::adaptive::LimitReason;
///
/// assert_eq!(LimitReason::Queueing.to_string(), "queueing");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitReason {
    /// No window has been evaluated yet. The limit has its initial value.
    Initial,
    /// Too few calls were in flight to evaluate. The limit is not changed.
    LowDemand,
    /// Calls hardly wait for each other. The limit grows.
    Growing,
    /// The limit is where throughput stops growing.
    Steady,
    /// Calls wait for each other. The limit is lowered.
    Queueing,
    /// Too many calls were overloaded. The limit is lowered.
    Overloaded,
    /// The limit is lowered for one window to test whether calls wait for each other.
    Probing,
}

impl LimitReason {
    /// Returns the name used in JSON.
    ///
    /// ```
    /// use resilient_runtime::adaptive::LimitReason;
    ///
    /// assert_eq!(LimitReason::LowDemand.as_str(), "low_demand");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::LowDemand => "low_demand",
            Self::Growing => "growing",
            Self::Steady => "steady",
            Self::Queueing => "queueing",
            Self::Overloaded => "overloaded",
            Self::Probing => "probing",
        }
    }
}

impl fmt::Display for LimitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
