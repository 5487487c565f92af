//! For the crate `metrics`: whatever recorder its user has installed.

use std::time::Duration;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, Unit, with_recorder};
use resilient_runtime::Registry;
use resilient_runtime::observe::DurationHistogram;

use super::families;
use super::sink::{BUCKET, COUNT, SUM, Sink, Type, Value, series};

/// Writes all metrics of a registry to the recorder of the crate [`metrics`], under the names of
/// [`render`](super::render()). A histogram comes as its series `.._bucket` with the label `le`, `.._count` and `.._sum`, which
/// Prometheus reads as one.
///
/// ```
/// # let recorder = metrics::NoopRecorder;
/// let registry = resilient_runtime::Registry::new();
/// metrics::with_local_recorder(&recorder, || resilient_http::metrics::publish(&registry));
/// ```
pub fn publish(registry: &Registry) {
    let stats = super::fresh(registry);
    with_recorder(|recorder| families::tell(&stats, &mut Facade { recorder, family: ("", Type::Gauge) }));
}

/// [Publishes](publish) them again and again, for ever: to be spawned. The numbers of a call are there within the period; a
/// second is usual, and nothing is added to a call.
///
/// # Cancel safety
/// Dropping the future ends it, at any time.
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
    // Zero is no period.
    let mut rounds = tokio::time::interval(period.max(Duration::from_millis(1)));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        publish(&registry);
    }
}

struct Facade<'r> {
    recorder: &'r dyn Recorder,
    family: (&'static str, Type),
}

static METADATA: Metadata<'static> = Metadata::new("resilient", Level::INFO, Some("resilient"));

fn owned<'l>(labels: &'l [(&'static str, &str)]) -> impl Iterator<Item = Label> + use<'l> {
    labels.iter().map(|&(name, value)| Label::new(name, value.to_owned()))
}

impl Facade<'_> {
    fn tell(&self, key: &Key, is_counter: bool, value: Value) {
        if is_counter {
            self.recorder.register_counter(key, &METADATA).absolute(value.count());
        } else {
            self.recorder.register_gauge(key, &METADATA).set(value.amount());
        }
    }
}

impl Sink for Facade<'_> {
    fn family(&mut self, name: &'static str, kind: Type, help: &'static str) {
        self.family = (name, kind);
        let unit = name.ends_with("_seconds").then_some(Unit::Seconds);
        let key = KeyName::from_const_str(name);
        match kind {
            Type::Counter => self.recorder.describe_counter(key, unit, help.into()),
            Type::Gauge => self.recorder.describe_gauge(key, unit, help.into()),
            Type::Histogram => {
                // The recorder's own histograms take one value after the other; these are counted already.
                let describe = |suffix| KeyName::from(format!("{name}{suffix}"));
                self.recorder.describe_counter(describe(BUCKET), None, help.into());
                self.recorder.describe_counter(describe(COUNT), None, help.into());
                self.recorder.describe_gauge(describe(SUM), unit, help.into());
            }
        }
    }

    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
        let (name, kind) = self.family;
        let labels = owned(labels).collect::<Vec<_>>();
        self.tell(&Key::from_parts(name, labels), kind == Type::Counter, value);
    }

    fn histogram(&mut self, labels: &[(&'static str, &str)], durations: &DurationHistogram) {
        let (name, _) = self.family;
        series(durations, |suffix, bound, value| {
            let bound = bound.map(|bound| Label::new("le", bound.to_owned()));
            let labels: Vec<_> = owned(labels).chain(bound).collect();
            // A sum of seconds is no whole number, which a counter must be.
            self.tell(&Key::from_parts(format!("{name}{suffix}"), labels), suffix != SUM, value);
        });
    }
}
