//! For OpenTelemetry: instruments that are read when its reader asks.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use resilient_runtime::Registry;
use resilient_runtime::observe::{Metric, MetricFamily, MetricKind, MetricValue};

use super::series::{BUCKET, COUNT, Number, SUM, series};

/// Gives a meter all metrics of a registry, as observable instruments: nothing is added to a call, and they are read as often
/// as the reader behind the meter likes. To be called once for each meter.
///
/// The names are those of [`render`](super::render()), counters without their `_total`: whatever turns them into metrics of
/// Prometheus puts that there. A histogram comes as sums: `.._bucket` with the label `le`, `.._count` and `.._sum`. With the crate `opentelemetry-otlp` they go to a collector:
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
    let source = Source { registry: registry.clone(), told: vec![true; instruments.len()], all: Vec::new() };
    let source = Arc::new(Mutex::new(source));
    for (index, (metric, suffix)) in instruments.into_iter().enumerate() {
        let source = Arc::clone(&source);
        let samples = move || source.lock().unwrap_or_else(PoisonError::into_inner).samples(index);
        let name = format!("{}{suffix}", metric.name);
        match metric.kind {
            MetricKind::Counter => {
                let name = name.strip_suffix("_total").unwrap_or(&name).to_owned();
                let told = meter.u64_observable_counter(name).with_description(metric.help);
                let told = told.with_callback(move |observer| {
                    samples().iter().for_each(|(labels, value)| observer.observe(value.count(), labels));
                });
                told.build();
            }
            MetricKind::Gauge => {
                let unit = if metric.unit.is_some() { "s" } else { "1" };
                let told = meter.f64_observable_gauge(name).with_description(metric.help).with_unit(unit);
                let told = told.with_callback(move |observer| {
                    samples().iter().for_each(|(labels, value)| observer.observe(value.amount(), labels));
                });
                told.build();
            }
            MetricKind::Histogram => {
                // There is no observable histogram. A sum that is not said to be monotonic keeps its name on the way to
                // Prometheus, which reads the three series as a histogram.
                let told = meter.f64_observable_up_down_counter(name).with_description(metric.help);
                let told = told.with_callback(move |observer| {
                    samples().iter().for_each(|(labels, value)| observer.observe(value.amount(), labels));
                });
                told.build();
            }
        }
    }
}

impl Number {
    fn count(self) -> u64 {
        match self {
            Self::Count(count) => count,
            // Counters are counts: it never comes to this.
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

/// What follows the name of a metric in those of its instruments.
fn suffixes(metric: Metric) -> &'static [&'static str] {
    if metric.kind == MetricKind::Histogram { &[BUCKET, SUM, COUNT] } else { &[""] }
}

/// The values of one instrument at one moment.
type Samples = Vec<(Vec<KeyValue>, Number)>;

/// Where the instruments get their numbers: each is asked by itself, and all of a round are to be of the same moment.
struct Source {
    registry: Registry,
    /// By instrument.
    all: Vec<Arc<Samples>>,
    /// Which instruments have told what was collected. One that is asked again begins the next round.
    told: Vec<bool>,
}

impl Source {
    fn samples(&mut self, index: usize) -> Arc<Samples> {
        if self.told[index] {
            let stats = super::fresh(&self.registry);
            self.all = stats.metrics().iter().flat_map(samples_of).map(Arc::new).collect();
            self.told.fill(false);
        }
        self.told[index] = true;
        Arc::clone(&self.all[index])
    }
}

/// The values of a metric, by its instruments.
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
