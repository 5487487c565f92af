//! How a snapshot shows itself: as text for people, and as metrics.

use std::fmt;

use super::DurationHistogram;
use super::metric::{Each, Metric, MetricKind, MetricValue};

/// A snapshot of one component, or of an operation.
pub(crate) trait Describe: Sized + 'static {
    /// The label that holds the name in its metrics.
    const LABEL: &str = "name";
    /// Its metrics; none: only the text shows it.
    const METRICS: &[Family<Self>] = &[];

    /// What follows `kind name: ` in the table for people. It may go on in further lines.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A metric of a snapshot, and how to read its values.
pub(crate) struct Family<S> {
    pub(super) metric: Metric,
    pub(super) read: fn(&S, &mut Samples<'_>),
}

impl<S> Family<S> {
    /// A number that only grows; its name ends with `_total`.
    pub(crate) const fn counter(
        name: &'static str,
        help: &'static str,
        read: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { metric: Metric { name, help, kind: MetricKind::Counter, unit: None }, read }
    }

    /// A number that goes up and down.
    pub(crate) const fn gauge(
        name: &'static str,
        help: &'static str,
        read: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { metric: Metric { name, help, kind: MetricKind::Gauge, unit: None }, read }
    }

    /// How often something took how long; its name ends with `_seconds`.
    pub(crate) const fn histogram(
        name: &'static str,
        help: &'static str,
        read: fn(&S, &mut Samples<'_>),
    ) -> Self {
        Self { metric: Metric { name, help, kind: MetricKind::Histogram, unit: None }, read }.seconds()
    }

    /// In seconds; its name ends with `_seconds`.
    pub(crate) const fn seconds(mut self) -> Self {
        self.metric.unit = Some("seconds");
        self
    }
}

/// Takes the values of one metric of one snapshot.
pub(crate) struct Samples<'a> {
    pub(super) name: (&'static str, &'a str),
    pub(super) each: Each<'a>,
}

impl Samples<'_> {
    /// The one value of the metric.
    pub(crate) fn add<'v>(&mut self, value: impl Into<MetricValue<'v>>) {
        (self.each)(&[self.name], value.into());
    }

    /// A value for each value of a label.
    pub(crate) fn by<'l, 'v, V: Into<MetricValue<'v>>>(
        &mut self,
        label: &'static str,
        values: impl IntoIterator<Item = (&'l str, V)>,
    ) {
        for (of, value) in values {
            (self.each)(&[self.name, (label, of)], value.into());
        }
    }

    /// The same, with a second label that is the same for all of them.
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

    /// How long something took, by a label.
    pub(crate) fn durations(&mut self, label: &'static str, of: &str, durations: &DurationHistogram) {
        (self.each)(&[self.name, (label, of)], MetricValue::Durations(durations));
    }
}

/// Writes the parts of a list that are not zero, each after `separator`.
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
