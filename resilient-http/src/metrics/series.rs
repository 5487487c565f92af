//! Series of a histogram, for exporters whose own histograms record single values.

use resilient_runtime::observe::DurationHistogram;

pub(super) const BUCKET: &str = "_bucket";
pub(super) const SUM: &str = "_sum";
pub(super) const COUNT: &str = "_count";

/// The value of one series.
#[derive(Clone, Copy)]
pub(super) enum Number {
    /// A number of occurrences.
    Count(u64),
    /// An amount; times are in seconds.
    Amount(f64),
}

/// Calls `each` with every series of a histogram: the name suffix as Prometheus uses it, the `le` label if any, and the
/// value.
pub(super) fn series(
    durations: &DurationHistogram,
    mut each: impl FnMut(&'static str, Option<&str>, Number),
) {
    for (bound, calls) in durations.cumulative() {
        // `1` as in the Prometheus text format; OpenMetrics writes `1.0`.
        each(BUCKET, Some(&bound.to_string()), Number::Count(calls));
    }
    each(BUCKET, Some("+Inf"), Number::Count(durations.count()));
    each(SUM, None, Number::Amount(durations.sum()));
    each(COUNT, None, Number::Count(durations.count()));
}
