//! Metrics for monitoring systems.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::DurationHistogram;
use super::describe::{Describe, Samples};

/// The maximum number of names exported per kind.
pub(crate) const MOST_NAMES: usize = 1024;

/// The description of a metric.
///
/// ```
/// use resilient_runtime::{Registry, observe::MetricKind};
///
/// let stats = Registry::new().stats();
/// let metrics: Vec<_> = stats.metrics().iter().map(|family| family.metric()).collect();
/// let calls = metrics.iter().find(|metric| metric.name == "resilient_calls_total").unwrap();
/// assert_eq!((calls.kind, calls.unit, calls.help), (MetricKind::Counter, None, "Number of calls by outcome."));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name. Counters end with `_total`, durations with `_seconds`.
    pub name: &'static str,
    /// The help text, one sentence that explains the values.
    pub help: &'static str,
    /// The type of the metric.
    pub kind: MetricKind,
    /// The unit, if there is one.
    pub unit: Option<&'static str>,
}

/// The type of a metric.
///
/// ```
/// use resilient_runtime::{Registry, observe::MetricKind};
///
/// for family in Registry::new().stats().metrics() {
///     let metric = family.metric();
///     assert_eq!(metric.kind == MetricKind::Counter, metric.name.ends_with("_total"));
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A distribution of durations.
    Histogram,
}

/// A value of a metric.
///
/// ```
/// use resilient_runtime::{Registry, observe::MetricValue};
///
/// let registry = Registry::new();
/// registry.bulkhead("gateway");
/// let stats = registry.stats();
/// let metrics = stats.metrics();
/// let limit = metrics.iter().find(|family| family.metric().name == "resilient_bulkhead_limit").unwrap();
/// let mut seen = Vec::new();
/// limit.each(|labels, value| {
///     assert_eq!(value, MetricValue::Count(64));
///     seen.push(format!("{labels:?}"));
/// });
/// assert_eq!(seen, [r#"[("name", "gateway")]"#]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue<'a> {
    /// An integer.
    Count(u64),
    /// A floating-point number; durations are in seconds.
    Amount(f64),
    /// A distribution of durations.
    Durations(&'a DurationHistogram),
}

impl From<u64> for MetricValue<'_> {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for MetricValue<'_> {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<bool> for MetricValue<'_> {
    fn from(is: bool) -> Self {
        Self::Count(is.into())
    }
}

impl From<f64> for MetricValue<'_> {
    fn from(amount: f64) -> Self {
        Self::Amount(amount)
    }
}

impl From<Duration> for MetricValue<'_> {
    fn from(span: Duration) -> Self {
        Self::Amount(span.as_secs_f64())
    }
}

/// A callback for the labels and the value of a series.
pub(super) type Each<'e> = &'e mut dyn FnMut(&[(&'static str, &str)], MetricValue<'_>);

/// A metric with its values in a snapshot.
///
/// See [`Stats::metrics`](crate::registry::Stats::metrics).
pub struct MetricFamily<'s> {
    metric: Metric,
    read: Box<dyn Fn(Each<'_>) + 's>,
}

impl fmt::Debug for MetricFamily<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.metric.fmt(f)
    }
}

impl<'s> MetricFamily<'s> {
    pub(crate) fn new(metric: Metric, read: impl Fn(Each<'_>) + 's) -> Self {
        Self { metric, read: Box::new(read) }
    }

    /// Returns the families of all snapshots of one type, for at most [`MOST_NAMES`] names.
    pub(crate) fn of<S: Describe>(all: &'s BTreeMap<String, S>) -> impl Iterator<Item = Self> {
        S::METRICS.iter().map(move |family| {
            Self::new(family.metric, move |each| {
                for (name, stats) in all.iter().take(MOST_NAMES) {
                    (family.read)(stats, &mut Samples { name: (S::LABEL, name), each: &mut *each });
                }
            })
        })
    }

    /// Returns the description of the metric.
    ///
    /// ```
    /// let stats = resilient_runtime::Registry::new().stats();
    /// assert!(stats.metrics().iter().all(|family| family.metric().name.starts_with("resilient_")));
    /// ```
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Calls `each` with the labels and the value of each series.
    ///
    /// Label names are constants.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// registry.hedge("search");
    /// let mut series = 0;
    /// registry.stats().metrics().iter().for_each(|family| family.each(|_, _| series += 1));
    /// assert!(series > 3);
    /// ```
    pub fn each(&self, mut each: impl FnMut(&[(&'static str, &str)], MetricValue<'_>)) {
        (self.read)(&mut each);
    }
}
