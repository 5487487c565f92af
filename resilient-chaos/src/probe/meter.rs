//! Takes the values of a probe from the statistics of a registry.

use std::time::Duration;

use resilient_runtime::observe::{DurationHistogram, MetricValue, OperationStats};
use resilient_runtime::registry::Stats;

use super::window::Window;
use super::{Measure, Mode, ProbeSpec};

/// Outcomes of an HTTP request and values of custom probes, by the name of the probe.
pub(crate) trait Outside {
    /// Whether the last request to this address succeeded. `None` if none has ended yet.
    fn http(&self, id: &str) -> Option<bool>;
    /// The value of a custom probe.
    fn custom(&self, name: &str) -> Option<f64>;
}

/// The bounds of the histogram, the bucket without a bound, and the number of calls.
const BUCKETS: usize = DurationHistogram::BOUNDS.len() + 1;

/// The value of a percentile above the last bound, in seconds: above every limit that a scenario can have.
const LONGER: f64 = 86_400.0;

/// A probe with what it remembers.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) spec: ProbeSpec,
    memory: Memory,
    value: Option<f64>,
}

#[derive(Debug)]
enum Memory {
    /// Calls that ended, and those among them that count.
    Calls(Window<2>),
    /// The calls of each bucket.
    Durations(Box<Window<BUCKETS>>),
    Increase(Window<1>),
    None,
}

impl Meter {
    pub(crate) fn new(spec: ProbeSpec) -> Self {
        let memory = match &spec.measure {
            Measure::SuccessRate { window, .. } | Measure::DegradedRate { window, .. } => {
                Memory::Calls(Window::new(*window))
            }
            Measure::Latency { window, .. } => Memory::Durations(Box::new(Window::new(*window))),
            Measure::Metric { mode: Mode::Rate { window }, .. } => Memory::Increase(Window::new(*window)),
            _ => Memory::None,
        };
        Self { spec, memory, value: None }
    }

    /// Reads the value.
    pub(crate) fn read(&mut self, now: Duration, stats: &Stats, outside: &dyn Outside) {
        self.value = match (&self.spec.measure, &mut self.memory) {
            (Measure::SuccessRate { operation, min_samples, .. }, Memory::Calls(window)) => {
                calls(stats, operation.as_deref(), window, now, *min_samples, |op| {
                    op.succeeded + op.fell_back + op.ignored
                })
            }
            (Measure::DegradedRate { operation, min_samples, .. }, Memory::Calls(window)) => {
                calls(stats, operation.as_deref(), window, now, *min_samples, |op| op.fell_back)
            }
            (Measure::Latency { operation, quantile, min_samples, .. }, Memory::Durations(window)) => {
                operation_of(stats, operation.as_deref()).and_then(|op| {
                    let (_, counts) = window.add(now, buckets(&op.durations));
                    percentile(&counts, *quantile, *min_samples)
                })
            }
            (Measure::Metric { metric, labels, mode, .. }, memory) => {
                let sum = metric_sum(stats, metric, labels);
                match (sum, memory, mode) {
                    (Some(sum), Memory::Increase(window), Mode::Rate { .. }) => {
                        let (span, [increase]) = window.add(now, [sum]);
                        (!span.is_zero()).then(|| increase / span.as_secs_f64())
                    }
                    (sum, ..) => sum,
                }
            }
            (Measure::Health { check, may_warn }, _) => health(stats, check.as_deref(), *may_warn),
            (Measure::Alert { alert, critical }, _) => alerts(stats, alert.as_deref(), *critical),
            (Measure::Http { .. }, _) => outside.http(&self.spec.id).map(state),
            (Measure::Custom { name, .. }, _) => outside.custom(name),
            _ => None,
        };
    }

    /// Returns the last value, if there is one.
    pub(crate) fn value(&self) -> Option<f64> {
        self.value
    }

    /// Returns whether the last value is within the limits, if there is one.
    pub(crate) fn holds(&self) -> Option<bool> {
        let (min, max) = self.spec.measure.limits();
        // A value that is not a number is outside of every limit.
        self.value.map(|value| min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max))
    }

    /// Forgets calls that were counted before now.
    pub(crate) fn restart(&mut self) {
        match &mut self.memory {
            Memory::Calls(window) => window.restart(),
            Memory::Durations(window) => window.restart(),
            Memory::Increase(window) => window.restart(),
            Memory::None => {}
        }
    }
}

fn state(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

fn operation_of<'s>(stats: &'s Stats, operation: Option<&str>) -> Option<&'s OperationStats> {
    operation.map_or(Some(&stats.total), |operation| stats.operations.get(operation))
}

fn calls(
    stats: &Stats,
    operation: Option<&str>,
    window: &mut Window<2>,
    now: Duration,
    min_samples: u64,
    good: impl Fn(&OperationStats) -> u64,
) -> Option<f64> {
    let op = operation_of(stats, operation)?;
    let ended =
        op.succeeded + op.fell_back + op.ignored + op.failed + op.rejected + op.timed_out + op.panicked;
    let (_, [ended, good]) = window.add(now, [ended as f64, good(op) as f64]);
    (ended >= min_samples as f64).then(|| good / ended)
}

/// Returns the number of calls in each bucket.
fn buckets(histogram: &DurationHistogram) -> [f64; BUCKETS] {
    let mut counts = [0.0; BUCKETS];
    let mut below = 0;
    for (count, (_, cumulative)) in counts.iter_mut().zip(histogram.cumulative()) {
        *count = cumulative.saturating_sub(below) as f64;
        below = cumulative;
    }
    counts[BUCKETS - 1] = histogram.count().saturating_sub(below) as f64;
    counts
}

/// Interpolates within a bucket, as `histogram_quantile` of Prometheus does.
fn percentile(counts: &[f64; BUCKETS], quantile: f64, min_samples: u64) -> Option<f64> {
    let total: f64 = counts.iter().sum();
    if total < min_samples.max(1) as f64 {
        return None;
    }
    let rank = quantile * total;
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, upper) in counts.iter().zip(DurationHistogram::BOUNDS) {
        if below + count >= rank && *count > 0.0 {
            return Some(lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0));
        }
        below += count;
        lower = upper;
    }
    Some(LONGER)
}

fn metric_sum(stats: &Stats, name: &str, labels: &std::collections::BTreeMap<String, String>) -> Option<f64> {
    let mut sum = None;
    for family in stats.metrics().iter().filter(|family| family.metric().name == name) {
        family.each(|have, value| {
            let fits = labels.iter().all(|(name, value)| have.iter().any(|(n, v)| n == name && v == value));
            let value = match value {
                MetricValue::Count(count) => count as f64,
                MetricValue::Amount(amount) => amount,
                MetricValue::Durations(_) => return,
            };
            if fits {
                *sum.get_or_insert(0.0) += value;
            }
        });
    }
    sum
}

fn health(stats: &Stats, check: Option<&str>, may_warn: bool) -> Option<f64> {
    use resilient_runtime::health::Status;
    let worst = match check {
        Some(check) => stats.health.get(check)?.status,
        None => stats.health.values().map(|check| check.status).max()?,
    };
    match worst {
        Status::Pass => Some(1.0),
        Status::Warn => Some(state(may_warn)),
        Status::Unknown => None,
        _ => Some(0.0),
    }
}

fn alerts(stats: &Stats, alert: Option<&str>, critical: bool) -> Option<f64> {
    use resilient_runtime::alert::Severity;
    let fires = |severity: Option<Severity>| match severity {
        Some(Severity::Critical) => true,
        Some(_) => !critical,
        None => false,
    };
    match alert {
        Some(alert) => Some(state(!fires(stats.alert.get(alert)?.severity))),
        None => Some(state(!stats.alert.values().any(|alert| fires(alert.severity)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(usize, f64)]) -> [f64; BUCKETS] {
        let mut counts = [0.0; BUCKETS];
        pairs.iter().for_each(|(index, count)| counts[*index] = *count);
        counts
    }

    #[test]
    fn percentiles_are_interpolated_and_exact_at_the_bounds() {
        // 99 calls of up to 5 ms and one of up to 100 ms.
        let calls = counts(&[(3, 99.0), (7, 1.0)]);
        assert!((percentile(&calls, 0.99, 1).unwrap() - 0.005).abs() < 1e-9);
        assert!(percentile(&calls, 0.995, 1).unwrap() > 0.05);
        assert_eq!(percentile(&calls, 0.5, 101), None, "too few calls");
        assert_eq!(percentile(&counts(&[(BUCKETS - 1, 5.0)]), 0.5, 1), Some(LONGER));
    }
}
