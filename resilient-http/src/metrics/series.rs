//! The series of a histogram, for exporters whose own histograms take one value after the other.

use resilient_runtime::observe::DurationHistogram;

pub(super) const BUCKET: &str = "_bucket";
pub(super) const SUM: &str = "_sum";
pub(super) const COUNT: &str = "_count";

/// The value of one series.
#[derive(Clone, Copy)]
pub(super) enum Number {
    /// How many.
    Count(u64),
    /// How much; times in seconds.
    Amount(f64),
}

/// Calls `each` with the series of a histogram, as Prometheus names them: the suffix to the name of the metric, `le` where it
/// has one, and the value.
pub(super) fn series(
    durations: &DurationHistogram,
    mut each: impl FnMut(&'static str, Option<&str>, Number),
) {
    for (bound, calls) in durations.cumulative() {
        // `1`, as in the text format, and not the `1.0` of OpenMetrics.
        each(BUCKET, Some(&bound.to_string()), Number::Count(calls));
    }
    each(BUCKET, Some("+Inf"), Number::Count(durations.count()));
    each(SUM, None, Number::Amount(durations.sum()));
    each(COUNT, None, Number::Count(durations.count()));
}
