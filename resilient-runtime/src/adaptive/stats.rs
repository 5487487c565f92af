//! What an adaptive limit shows of itself.

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
    /// How many calls may be in flight.
    pub limit: u32,
    /// It never goes below.
    pub min: u32,
    /// It never goes above.
    pub max: u32,
    /// Why it is what it is.
    pub reason: LimitReason,
    /// What calls took in the last window, as a geometric mean; `None` before there was one.
    #[serde(serialize_with = "optional_seconds")]
    pub latency: Option<Duration>,
    /// What they take when they do not wait for each other.
    #[serde(serialize_with = "optional_seconds")]
    pub baseline: Option<Duration>,
    /// The most calls in flight in the last window.
    pub peak: u32,
    /// Windows evaluated so far.
    pub windows: u64,
}

/// What the last window has done to an adaptive limit.
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
    /// There was no window yet.
    Initial,
    /// There were too few calls in flight to learn from: it stays.
    LowDemand,
    /// Calls hardly wait for each other: it grows.
    Growing,
    /// It is where throughput ends to grow.
    Steady,
    /// Calls wait for each other: it comes down.
    Queueing,
    /// Calls were overloaded or cut off: it comes down.
    Overloaded,
    /// It is lowered for a window, to see whether calls wait for each other.
    Probing,
}

impl LimitReason {
    /// The name used in JSON.
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
