//! Exporter for OpenTelemetry, with observable instruments.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use resilient_runtime::Registry;
use resilient_runtime::observe::{Metric, MetricFamily, MetricKind, MetricValue};

use super::series::{BUCKET, COUNT, Number, SUM, series};

/// Registers all metrics of a registry with a meter, as observable instruments.
///
/// Call this once per meter. The reader of the meter decides how often the metrics are read; they add no cost to a call.
///
/// The names are the same as in [`render`](super::render()). Counters have no `_total` suffix, because exporters to
/// Prometheus append it. A histogram is exported as the sums `.._bucket` with the label `le`, `.._count` and `.._sum`.
///
/// # Examples
/// Exports to a collector with the crate `opentelemetry-otlp`:
///
/// ```no_run
/// use opentelemetry::metrics::MeterProvider as _;
/// use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let exporter = opentelemetry_otlp::MetricExporter::builder().with_http().build()?;
/// let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter).build()).build();
/// resilient_http::metrics::observe(resilient_runtime::registry(), &provider.meter("resilient"));
/// # Ok(()) }
/// ```
pub fn observe(registry: &Registry, meter: &Meter) {
    let metrics: Vec<_> = registry.stats().metrics().iter().map(MetricFamily::metric).collect();
    let instruments =
        metrics.into_iter().flat_map(|metric| suffixes(metric).iter().map(move |suffix| (metric, suffix)));
    let instruments: Vec<_> = instruments.collect();
    let source =
        Source { registry: registry.clone(), is_read: vec![true; instruments.len()], all: Vec::new() };
    let source = Arc::new(Mutex::new(source));
    for (index, (metric, suffix)) in instruments.into_iter().enumerate() {
        let source = Arc::clone(&source);
        let samples = move || source.lock().unwrap_or_else(PoisonError::into_inner).samples(index);
        let name = format!("{}{suffix}", metric.name);
        match metric.kind {
            MetricKind::Counter => {
                let name = name.strip_suffix("_total").unwrap_or(&name).to_owned();
                let instrument = meter.u64_observable_counter(name).with_description(metric.help);
                let instrument = instrument.with_callback(move |observer| {
                    samples().iter().for_each(|(labels, value)| observer.observe(value.count(), labels));
                });
                instrument.build();
            }
            MetricKind::Gauge => {
                let unit = if metric.unit.is_some() { "s" } else { "1" };
                let instrument =
                    meter.f64_observable_gauge(name).with_description(metric.help).with_unit(unit);
                let instrument = instrument.with_callback(move |observer| {
                    samples().iter().for_each(|(labels, value)| observer.observe(value.amount(), labels));
                });
                instrument.build();
            }
            MetricKind::Histogram => {
                // OpenTelemetry has no observable histogram. Exporters to Prometheus keep the name of a sum that is not
                // monotonic, so that Prometheus reads the three series as a histogram.
                let instrument = meter.f64_observable_up_down_counter(name).with_description(metric.help);
                let instrument = instrument.with_callback(move |observer| {
                    samples().iter().for_each(|(labels, value)| observer.observe(value.amount(), labels));
                });
                instrument.build();
            }
        }
    }
}

impl Number {
    fn count(self) -> u64 {
        match self {
            Self::Count(count) => count,
            // Unreachable: counters have counts.
            Self::Amount(_) => 0,
        }
    }

    fn amount(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Amount(amount) => amount,
        }
    }
}

/// Name suffixes of the instruments of a metric.
fn suffixes(metric: Metric) -> &'static [&'static str] {
    if metric.kind == MetricKind::Histogram { &[BUCKET, SUM, COUNT] } else { &[""] }
}

/// Labels and values of one instrument, collected at the same time.
type Samples = Vec<(Vec<KeyValue>, Number)>;

/// Source of the values of all instruments.
///
/// The reader reads each instrument separately, but all values of one collection must come from the same snapshot.
struct Source {
    registry: Registry,
    /// The values of the last snapshot, by instrument.
    all: Vec<Arc<Samples>>,
    /// Which instruments have been read since the last snapshot. Reading one of them again takes the next snapshot.
    is_read: Vec<bool>,
}

impl Source {
    fn samples(&mut self, index: usize) -> Arc<Samples> {
        if self.is_read[index] {
            let stats = super::fresh(&self.registry);
            self.all = stats.metrics().iter().flat_map(samples_of).map(Arc::new).collect();
            self.is_read.fill(false);
        }
        self.is_read[index] = true;
        Arc::clone(&self.all[index])
    }
}

/// The values of a metric, by instrument.
fn samples_of(family: &MetricFamily<'_>) -> Vec<Samples> {
    let suffixes = suffixes(family.metric());
    let mut all = vec![Samples::new(); suffixes.len()];
    family.each(|labels, value| {
        let owned =
            || labels.iter().map(|&(name, value)| KeyValue::new(name, value.to_owned())).collect::<Vec<_>>();
        match value {
            MetricValue::Count(count) => all[0].push((owned(), Number::Count(count))),
            MetricValue::Amount(amount) => all[0].push((owned(), Number::Amount(amount))),
            MetricValue::Durations(durations) => series(durations, |suffix, bound, value| {
                let mut labels = owned();
                labels.extend(bound.map(|bound| KeyValue::new("le", bound.to_owned())));
                let instrument = suffixes.iter().position(|one| *one == suffix);
                all[instrument.unwrap_or_default()].push((labels, value));
            }),
        }
    });
    all
}
