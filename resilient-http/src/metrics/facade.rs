//! Exporter for the recorder of the `metrics` crate.

use std::time::Duration;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, Unit, with_recorder};
use resilient_runtime::Registry;
use resilient_runtime::observe::{Metric, MetricKind, MetricValue};

use super::series::{BUCKET, COUNT, Number, SUM, series};

/// Writes all metrics of a registry to the recorder of the [`metrics`] crate.
///
/// The names are the same as in [`render`](super::render()). A histogram is written as the series `.._bucket` with the
/// label `le`, `.._count` and `.._sum`, which Prometheus reads as one histogram.
///
/// ```
/// # let recorder = metrics::NoopRecorder;
/// let registry = resilient_runtime::Registry::new();
/// metrics::with_local_recorder(&recorder, || resilient_http::metrics::publish(&registry));
/// ```
pub fn publish(registry: &Registry) {
    let stats = super::fresh(registry);
    with_recorder(|recorder| {
        for family in stats.metrics() {
            describe(recorder, family.metric());
            family.each(|labels, value| record(recorder, family.metric(), labels, value));
        }
    });
}

/// Calls [`publish`] periodically, forever.
///
/// Spawn the future as a task. The metrics are at most one period old; one second is a usual period. Publishing adds no
/// cost to a call.
///
/// # Cancel safety
/// Dropping the future stops publishing. It can be dropped at any time.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
///
/// let registry = resilient_runtime::registry();
/// let publishing = tokio::spawn(resilient_http::metrics::publish_every(registry.clone(), Duration::from_secs(1)));
/// # publishing.abort();
/// # assert!(publishing.await.unwrap_err().is_cancelled());
/// # });
/// ```
pub async fn publish_every(registry: Registry, period: Duration) {
    // `interval` panics if the period is zero.
    let mut rounds = tokio::time::interval(period.max(Duration::from_millis(1)));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        publish(&registry);
    }
}

static METADATA: Metadata<'static> = Metadata::new("resilient", Level::INFO, Some("resilient"));

fn owned<'l>(labels: &'l [(&'static str, &str)]) -> impl Iterator<Item = Label> + use<'l> {
    labels.iter().map(|&(name, value)| Label::new(name, value.to_owned()))
}

fn describe(recorder: &dyn Recorder, metric: Metric) {
    let Metric { name, help, .. } = metric;
    let unit = metric.unit.map(|_| Unit::Seconds);
    match metric.kind {
        MetricKind::Counter => recorder.describe_counter(KeyName::from_const_str(name), unit, help.into()),
        MetricKind::Gauge => recorder.describe_gauge(KeyName::from_const_str(name), unit, help.into()),
        MetricKind::Histogram => {
            // Histograms of the recorder record single values; these values are already counted.
            let named = |suffix| KeyName::from(format!("{name}{suffix}"));
            recorder.describe_counter(named(BUCKET), None, help.into());
            recorder.describe_counter(named(COUNT), None, help.into());
            recorder.describe_gauge(named(SUM), unit, help.into());
        }
    }
}

fn record(recorder: &dyn Recorder, metric: Metric, labels: &[(&'static str, &str)], value: MetricValue<'_>) {
    let key = || Key::from_parts(metric.name, owned(labels).collect::<Vec<_>>());
    let gauge = |key: &Key, amount| recorder.register_gauge(key, &METADATA).set(amount);
    let counter = |key: &Key, count| recorder.register_counter(key, &METADATA).absolute(count);
    match value {
        MetricValue::Count(count) if metric.kind == MetricKind::Counter => counter(&key(), count),
        MetricValue::Count(count) => gauge(&key(), count as f64),
        MetricValue::Amount(amount) => gauge(&key(), amount),
        MetricValue::Durations(durations) => series(durations, |suffix, bound, value| {
            let bound = bound.map(|bound| Label::new("le", bound.to_owned()));
            let labels: Vec<_> = owned(labels).chain(bound).collect();
            let key = Key::from_parts(format!("{}{suffix}", metric.name), labels);
            match value {
                // A counter must be an integer; a sum of seconds is not.
                Number::Amount(sum) => gauge(&key, sum),
                Number::Count(calls) => counter(&key, calls),
            }
        }),
    }
}
