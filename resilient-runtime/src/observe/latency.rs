//! How long calls take.

use std::time::Duration;

use histogram::AtomicHistogram;
use once_cell::sync::OnceCell;
use serde::Serialize;

/// A lock-free log-linear histogram: at most 0.8 % off, from 1 ns to 68 s; longer times count as 68 s.
/// Its 30 KiB are allocated with the first record.
#[derive(Debug, Default)]
pub(crate) struct Latencies(OnceCell<AtomicHistogram>);

const GROUPING_POWER: u8 = 7;
const MAX_VALUE_POWER: u8 = 36;
const LONGEST: u64 = (1 << MAX_VALUE_POWER) - 1;

impl Latencies {
    #[inline]
    pub(crate) fn record(&self, nanos: u64) {
        let histogram = self.0.get_or_try_init(|| AtomicHistogram::new(GROUPING_POWER, MAX_VALUE_POWER));
        if let Ok(histogram) = histogram {
            // In range by the `min`, so it cannot be refused.
            let _ = histogram.increment(nanos.min(LONGEST));
        }
    }

    pub(crate) fn stats(&self) -> LatencyStats {
        let Some(histogram) = self.0.get() else {
            return LatencyStats::default();
        };
        let snapshot = histogram.load();
        let at = |quantile: f64| {
            let bucket = snapshot.quantile_bucket(quantile).ok().flatten();
            bucket.map_or(Duration::ZERO, |bucket| Duration::from_nanos(bucket.end()))
        };
        LatencyStats { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999) }
    }
}

/// Percentiles of the time from the start of a call to its end, in seconds when serialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LatencyStats {
    /// Half of the calls took no longer.
    #[serde(serialize_with = "seconds")]
    pub p50: Duration,
    /// 95 % of the calls took no longer.
    #[serde(serialize_with = "seconds")]
    pub p95: Duration,
    /// 99 % of the calls took no longer.
    #[serde(serialize_with = "seconds")]
    pub p99: Duration,
    /// 99.9 % of the calls took no longer.
    #[serde(serialize_with = "seconds")]
    pub p999: Duration,
}

/// Seconds are the unit of time in everything that is serialised.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn seconds<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}

/// As [`seconds`]; null where there is none.
#[allow(clippy::ref_option)] // serde's signature
pub(crate) fn optional_seconds<S: serde::Serializer>(
    span: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => serializer.serialize_f64(span.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_one_percent() {
        let latencies = Latencies::default();
        (1..=1000).for_each(|micros| latencies.record(micros * 1000));
        let LatencyStats { p50, p95, p99, p999 } = latencies.stats();
        for (seen, exact) in [(p50, 500.0), (p95, 950.0), (p99, 990.0), (p999, 999.0)] {
            let error = (seen.as_secs_f64() * 1e6 - exact).abs() / exact;
            assert!(error < 0.01, "{seen:?} for {exact} us");
        }
    }

    #[test]
    fn a_time_beyond_the_scale_counts_as_the_longest() {
        let latencies = Latencies::default();
        latencies.record(u64::MAX);
        assert_eq!(latencies.stats().p50.as_secs(), 68);
        assert_eq!(Latencies::default().stats(), LatencyStats::default());
    }
}
