//! Text formats of Prometheus, encoded by its client library.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use resilient_runtime::observe::{DurationHistogram, MetricFamily, MetricKind, MetricValue};
use resilient_runtime::registry::Stats;

/// Statistics to encode once.
#[derive(Debug)]
pub(super) struct Snapshot(pub(super) Stats);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.metrics().iter().try_for_each(|family| encode(family, &mut encoder))
    }
}

fn encode(family: &MetricFamily<'_>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let metric = family.metric();
    let kind = match metric.kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram => MetricType::Histogram,
    };
    // The library appends the unit, and the suffix of a counter.
    let unit = metric.unit.map(|unit| Unit::Other(unit.to_owned()));
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    let name = metric.unit.map_or(name, |unit| name.trim_end_matches(unit).trim_end_matches('_'));
    let mut encoder = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
    let mut outcome = Ok(());
    family.each(|labels, value| {
        if outcome.is_ok() {
            outcome = encoder.encode_family(&labels).and_then(|encoder| sample(encoder, metric.kind, value));
        }
    });
    outcome
}

fn sample(mut encoder: MetricEncoder<'_>, kind: MetricKind, value: MetricValue<'_>) -> fmt::Result {
    match (kind, value) {
        (MetricKind::Counter, MetricValue::Count(count)) => {
            encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
        }
        (_, MetricValue::Count(count)) => encoder.encode_gauge(&count),
        (_, MetricValue::Amount(amount)) => encoder.encode_gauge(&amount),
        (_, MetricValue::Durations(durations)) => encoder.encode_histogram::<NoLabelSet>(
            durations.sum(),
            durations.count(),
            &buckets(durations),
            None,
        ),
    }
}

/// Counts per bucket: the library accumulates them itself.
fn buckets(durations: &DurationHistogram) -> Vec<(f64, u64)> {
    let all = durations.cumulative().chain([(f64::INFINITY, durations.count())]);
    let mut below = 0;
    let single = |(bound, calls)| (bound, calls - std::mem::replace(&mut below, calls));
    all.map(single).collect()
}
