//! What the metrics are told to, whatever form it gives them.

use std::time::Duration;

use resilient_runtime::observe::DurationHistogram;

/// What a family's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Only grows; its name ends with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// How many.
    Count(u64),
    /// How much; spans of time in seconds.
    Amount(f64),
}

impl Value {
    #[cfg(any(feature = "metrics", feature = "otel"))]
    pub(super) fn count(self) -> u64 {
        match self {
            Self::Count(count) => count,
            // Counters are told as counts: it never comes to this.
            Self::Amount(_) => 0,
        }
    }

    #[cfg(any(feature = "metrics", feature = "otel"))]
    pub(super) fn amount(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Amount(amount) => amount,
        }
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Count(is.into())
    }
}

impl From<f64> for Value {
    fn from(amount: f64) -> Self {
        Self::Amount(amount)
    }
}

impl From<Duration> for Value {
    fn from(span: Duration) -> Self {
        Self::Amount(span.as_secs_f64())
    }
}

/// Takes all families, one after the other.
pub(super) trait Sink {
    /// Begins a family.
    fn family(&mut self, name: &'static str, kind: Type, help: &'static str);

    /// A sample of the family that was begun last. The names of labels are constants.
    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value);

    /// The times of the family that was begun last, a histogram.
    fn histogram(&mut self, labels: &[(&'static str, &str)], durations: &DurationHistogram);
}

/// The series of a histogram, as Prometheus names them: what comes behind the name of the family, `le` where it has one, and the
/// value.
pub(super) fn series(durations: &DurationHistogram, mut each: impl FnMut(&'static str, Option<&str>, Value)) {
    for (bound, calls) in durations.cumulative() {
        // With a decimal point, as the canonical numbers of OpenMetrics have it.
        each(BUCKET, Some(&format!("{bound:?}")), calls.into());
    }
    each(BUCKET, Some("+Inf"), durations.count().into());
    each(SUM, None, durations.sum().into());
    each(COUNT, None, durations.count().into());
}

pub(super) const BUCKET: &str = "_bucket";
pub(super) const SUM: &str = "_sum";
pub(super) const COUNT: &str = "_count";
