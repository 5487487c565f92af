//! For OpenTelemetry: instruments that are read when its reader asks.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use resilient_runtime::Registry;
use resilient_runtime::observe::DurationHistogram;

use super::families;
use super::sink::{BUCKET, COUNT, SUM, Sink, Type, Value, series};

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
    let mut all = Collected::default();
    families::tell(&registry.stats(), &mut all);
    let families: Vec<_> =
        all.families.iter().map(|family| (family.name.clone(), family.kind, family.help)).collect();
    let source =
        Arc::new(Mutex::new(Source { registry: registry.clone(), told: vec![true; families.len()], all }));
    for (index, (name, kind, help)) in families.into_iter().enumerate() {
        let source = Arc::clone(&source);
        let samples = move || source.lock().unwrap_or_else(PoisonError::into_inner).samples(index);
        match kind {
            Type::Counter => {
                let name = name.strip_suffix("_total").unwrap_or(&name).to_owned();
                let told = meter.u64_observable_counter(name).with_description(help).with_callback(
                    move |observer| {
                        samples().iter().for_each(|(labels, value)| observer.observe(value.count(), labels));
                    },
                );
                told.build();
            }
            Type::Gauge => {
                let unit = if name.ends_with("_seconds") { "s" } else { "1" };
                let told = meter.f64_observable_gauge(name).with_description(help).with_unit(unit);
                let told = told.with_callback(move |observer| {
                    samples().iter().for_each(|(labels, value)| observer.observe(value.amount(), labels));
                });
                told.build();
            }
            Type::Histogram => {
                // There is no observable histogram. A sum that is not said to be monotonic keeps its name on the way to
                // Prometheus, which reads the three series as a histogram.
                let told = meter.f64_observable_up_down_counter(name).with_description(help);
                let told = told.with_callback(move |observer| {
                    samples().iter().for_each(|(labels, value)| observer.observe(value.amount(), labels));
                });
                told.build();
            }
        }
    }
}

type Samples = Vec<(Vec<KeyValue>, Value)>;

/// The families at one moment.
#[derive(Default)]
struct Collected {
    families: Vec<Family>,
}

struct Family {
    name: Cow<'static, str>,
    kind: Type,
    help: &'static str,
    samples: Arc<Samples>,
}

/// Where the instruments get their numbers: each is asked by itself, and all of a round are to be of the same moment.
struct Source {
    registry: Registry,
    all: Collected,
    /// Which instruments have told what was collected. One that is asked again begins the next round.
    told: Vec<bool>,
}

impl Source {
    fn samples(&mut self, index: usize) -> Arc<Samples> {
        if self.told[index] {
            self.all.families.clear();
            families::tell(&super::fresh(&self.registry), &mut self.all);
            self.told.fill(false);
        }
        self.told[index] = true;
        Arc::clone(&self.all.families[index].samples)
    }
}

impl Collected {
    /// Adds to the last family, or to one before it.
    fn add(&mut self, from_last: usize, labels: Vec<KeyValue>, value: Value) {
        let family = self.families.len().checked_sub(1 + from_last).and_then(|at| self.families.get_mut(at));
        // Nobody else has it yet.
        if let Some(samples) = family.and_then(|family| Arc::get_mut(&mut family.samples)) {
            samples.push((labels, value));
        }
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<KeyValue> {
    labels.iter().map(|&(name, value)| KeyValue::new(name, value.to_owned())).collect()
}

impl Sink for Collected {
    fn family(&mut self, name: &'static str, kind: Type, help: &'static str) {
        let mut add = |name| self.families.push(Family { name, kind, help, samples: Arc::default() });
        match kind {
            Type::Counter | Type::Gauge => add(name.into()),
            Type::Histogram => {
                SERIES.into_iter().for_each(|suffix| add(format!("{name}{suffix}").into()));
            }
        }
    }

    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
        self.add(0, owned(labels), value);
    }

    fn histogram(&mut self, labels: &[(&'static str, &str)], durations: &DurationHistogram) {
        series(durations, |suffix, bound, value| {
            let mut labels = owned(labels);
            labels.extend(bound.map(|bound| KeyValue::new("le", bound.to_owned())));
            let from_last = SERIES.iter().rev().position(|one| *one == suffix).unwrap_or_default();
            self.add(from_last, labels, value);
        });
    }
}

const SERIES: [&str; 3] = [BUCKET, SUM, COUNT];
