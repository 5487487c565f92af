//! Probes: measurements of a registry that hold or fail.
//!
//! A probe reads the statistics of the registry at each check, and compares one value with a limit. It has no value
//! while too few calls were counted. `docs/scenario-reference.md` lists the probes with their fields.

mod http;
mod meter;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use http::{Address, get};
pub(crate) use meter::{Meter, Outside};

use crate::text::{number, share, span};

/// A probe with its name.
///
/// ```
/// let scenario = resilient_chaos::scenario::shipped("dependency-down").unwrap().scenario();
/// let probe = &scenario.steady_state[0].probe;
/// assert_eq!(probe.id, "success rate of order");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ProbeSpec {
    /// The name in the report.
    pub id: String,
    /// The measurement.
    pub measure: Measure,
}

/// The measurement of a probe, and its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "probe")]
#[non_exhaustive]
pub enum Measure {
    /// The share of calls that return a result.
    SuccessRate {
        /// The operation. `None` for all together.
        operation: Option<String>,
        /// The smallest accepted share.
        min: f64,
        /// The time over which calls are counted.
        window: Duration,
        /// The smallest number of calls with which the probe has a value.
        min_samples: u64,
    },
    /// The share of calls that a fallback serves.
    DegradedRate {
        /// The operation. `None` for all together.
        operation: Option<String>,
        /// The largest accepted share.
        max: f64,
        /// The time over which calls are counted.
        window: Duration,
        /// The smallest number of calls with which the probe has a value.
        min_samples: u64,
    },
    /// A percentile of the duration of calls that return a result.
    Latency {
        /// The operation. `None` for all together.
        operation: Option<String>,
        /// Which percentile, from 0 to 1.
        quantile: f64,
        /// The longest accepted duration.
        max: Duration,
        /// The time over which calls are counted.
        window: Duration,
        /// The smallest number of calls with which the probe has a value.
        min_samples: u64,
    },
    /// The result of a health check.
    Health {
        /// The check. `None` for the worst result of all.
        check: Option<String>,
        /// Whether the result `warn` is accepted.
        may_warn: bool,
    },
    /// Whether an alert is quiet.
    Alert {
        /// The alert. `None` for any.
        alert: Option<String>,
        /// Whether only the severity `critical` counts.
        critical: bool,
    },
    /// A counter or gauge of the registry.
    Metric {
        /// Its name.
        metric: String,
        /// The labels that a sample must have.
        labels: BTreeMap<String, String>,
        /// The value, or its increase.
        mode: Mode,
        /// The smallest accepted value.
        min: Option<f64>,
        /// The largest accepted value.
        max: Option<f64>,
    },
    /// The status of an HTTP GET.
    Http {
        /// The address.
        url: String,
        /// The expected status.
        status: u16,
        /// The longest accepted duration.
        timeout: Duration,
        /// The time between two requests.
        every: Duration,
    },
    /// A value from a function of the program.
    Custom {
        /// The name under which the function is registered.
        name: String,
        /// The smallest accepted value.
        min: Option<f64>,
        /// The largest accepted value.
        max: Option<f64>,
    },
}

/// How a metric is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The value itself.
    Value,
    /// The increase per second.
    Rate {
        /// The time over which the increase is measured.
        window: Duration,
    },
}

/// How values of a probe are written and drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// A share from 0 to 1.
    Share,
    /// A duration in seconds.
    Seconds,
    /// A plain number.
    #[default]
    Number,
    /// 1 if the probe holds, otherwise 0.
    State,
}

impl Unit {
    /// Formats a value for people.
    ///
    /// ```
    /// use resilient_chaos::probe::Unit;
    ///
    /// assert_eq!(Unit::Share.show(0.995), "99.5 %");
    /// assert_eq!(Unit::Seconds.show(0.25), "250 ms");
    /// assert_eq!(Unit::State.show(0.0), "fails");
    /// ```
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Share => share(value),
            Self::Seconds => span(Duration::try_from_secs_f64(value).unwrap_or_default()),
            Self::Number => number(value),
            Self::State if value >= 0.5 => "holds".to_owned(),
            Self::State => "fails".to_owned(),
        }
    }
}

impl Measure {
    /// Describes what is measured, without the limit.
    pub(crate) fn name(&self) -> String {
        let of = |operation: &Option<String>| {
            operation.as_ref().map_or_else(|| "all operations".to_owned(), Clone::clone)
        };
        match self {
            Self::SuccessRate { operation, .. } => format!("success rate of {}", of(operation)),
            Self::DegradedRate { operation, .. } => format!("degraded rate of {}", of(operation)),
            Self::Latency { operation, quantile, .. } => {
                format!("p{} latency of {}", number(quantile * 100.0), of(operation))
            }
            Self::Health { check: Some(check), .. } => format!("health of {check}"),
            Self::Health { check: None, .. } => "health".to_owned(),
            Self::Alert { alert, critical } => {
                let severity = if *critical { "critical " } else { "" };
                match alert {
                    Some(alert) => format!("{severity}alert {alert} is quiet"),
                    None => format!("no {severity}alert fires"),
                }
            }
            Self::Metric { metric, labels, mode, .. } => {
                let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let labels =
                    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                let rate = if *mode == Mode::Value { "" } else { " per second" };
                format!("{metric}{labels}{rate}")
            }
            Self::Http { url, .. } => format!("GET {url}"),
            Self::Custom { name, .. } => name.clone(),
        }
    }

    /// Returns how values are written.
    ///
    /// ```
    /// use resilient_chaos::probe::{Measure, Unit};
    ///
    /// let measure = Measure::Alert { alert: None, critical: true };
    /// assert_eq!(measure.unit(), Unit::State);
    /// ```
    pub fn unit(&self) -> Unit {
        match self {
            Self::SuccessRate { .. } | Self::DegradedRate { .. } => Unit::Share,
            Self::Latency { .. } => Unit::Seconds,
            Self::Metric { .. } | Self::Custom { .. } => Unit::Number,
            Self::Health { .. } | Self::Alert { .. } | Self::Http { .. } => Unit::State,
        }
    }

    /// Returns the smallest and the largest accepted value.
    ///
    /// ```
    /// use resilient_chaos::probe::Measure;
    ///
    /// let measure = Measure::Custom { name: "queue".into(), min: None, max: Some(9.0) };
    /// assert_eq!(measure.limits(), (None, Some(9.0)));
    /// ```
    pub fn limits(&self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::SuccessRate { min, .. } => (Some(*min), None),
            Self::DegradedRate { max, .. } => (None, Some(*max)),
            Self::Latency { max, .. } => (None, Some(max.as_secs_f64())),
            Self::Metric { min, max, .. } | Self::Custom { min, max, .. } => (*min, *max),
            Self::Health { .. } | Self::Alert { .. } | Self::Http { .. } => (Some(1.0), None),
        }
    }

    /// Describes the limit: `at least 99 %`.
    ///
    /// ```
    /// use resilient_chaos::probe::Measure;
    ///
    /// let measure = Measure::Custom { name: "queue".into(), min: Some(1.0), max: Some(9.0) };
    /// assert_eq!(measure.limit(), "at least 1, at most 9");
    /// ```
    pub fn limit(&self) -> String {
        if self.unit() == Unit::State {
            return match self {
                Self::Http { status, timeout, .. } => format!("status {status} within {}", span(*timeout)),
                Self::Health { may_warn: true, .. } => "pass or warn".to_owned(),
                Self::Health { .. } => "pass".to_owned(),
                _ => "quiet".to_owned(),
            };
        }
        let (min, max) = self.limits();
        let min = min.map(|min| format!("at least {}", self.unit().show(min)));
        let max = max.map(|max| format!("at most {}", self.unit().show(max)));
        [min, max].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Returns the operation that is measured, if it is a single one.
    pub(crate) fn operation(&self) -> Option<&str> {
        match self {
            Self::SuccessRate { operation, .. }
            | Self::DegradedRate { operation, .. }
            | Self::Latency { operation, .. } => operation.as_deref(),
            _ => None,
        }
    }
}
