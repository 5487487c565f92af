//! Formats snapshots as readable text and as metrics.

use std::fmt;

use super::DurationHistogram;
use super::metric::{Each, Metric, MetricKind, MetricValue};

/// A snapshot of a component or an operation.
pub(crate) trait Describe: Sized + 'static {
    /// The label that holds the name in its metrics.
    const LABEL: &str = "name";
    /// Its metrics. If empty, only the text includes the component.
    const METRICS: &[Family<Self>] = &[];

    /// Writes the text after `kind name: ` in the table. It can have several lines.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A metric of a snapshot, with a function that reads its values.
pub(crate) struct Family<S> {
    pub(super) metric: Metric,
    pub(super) read: fn(&S, &mut Samples<'_>),
}

impl<S> Family<S> {
    /// A value that only grows. Its name ends with `_total`.
    pub(crate) const fn counter(
        name: &'static str,
        help: &'static str,
        read: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { metric: Metric { name, help, kind: MetricKind::Counter, unit: None }, read }
    }

    /// A value that goes up and down.
    pub(crate) const fn gauge(
        name: &'static str,
        help: &'static str,
        read: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { metric: Metric { name, help, kind: MetricKind::Gauge, unit: None }, read }
    }

    /// A distribution of durations. Its name ends with `_seconds`.
    pub(crate) const fn histogram(
        name: &'static str,
        help: &'static str,
        read: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { metric: Metric { name, help, kind: MetricKind::Histogram, unit: None }, read }.seconds()
    }

    /// Sets the unit to seconds. The name ends with `_seconds`.
    pub(crate) const fn seconds(mut self) -> Self {
        self.metric.unit = Some("seconds");
        self
    }
}

/// Receives the values of one metric of one snapshot.
pub(crate) struct Samples<'a> {
    pub(super) name: (&'static str, &'a str),
    pub(super) each: Each<'a>,
}

impl Samples<'_> {
    /// Adds the only value of the metric.
    pub(crate) fn add<'v>(&mut self, value: impl Into<MetricValue<'v>>) {
        (self.each)(&[self.name], value.into());
    }

    /// Adds a value for each value of a label.
    pub(crate) fn by<'l, 'v, V: Into<MetricValue<'v>>>(
        &mut self,
        label: &'static str,
        values: impl IntoIterator<Item = (&'l str, V)>,
    ) {
        for (of, value) in values {
            (self.each)(&[self.name, (label, of)], value.into());
        }
    }

    /// Adds a value for each value of a label, with a second, constant label.
    pub(crate) fn by_with<'l, V: Into<MetricValue<'static>>>(
        &mut self,
        constant: (&'static str, &str),
        label: &'static str,
        values: impl IntoIterator<Item = (&'l str, V)>,
    ) {
        for (of, value) in values {
            (self.each)(&[self.name, constant, (label, of)], value.into());
        }
    }

    /// Adds a distribution of durations, with a label.
    pub(crate) fn durations(&mut self, label: &'static str, of: &str, durations: &DurationHistogram) {
        (self.each)(&[self.name, (label, of)], MetricValue::Durations(durations));
    }
}

/// Writes the entries of a list that are not zero, each after `separator`.
pub(crate) fn counts(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    counts: &[(&str, u64)],
    write: impl Fn(&mut fmt::Formatter<'_>, &str, u64) -> fmt::Result,
) -> fmt::Result {
    for (what, count) in counts.iter().filter(|(_, count)| *count > 0) {
        f.write_str(separator)?;
        write(f, what, *count)?;
    }
    Ok(())
}
