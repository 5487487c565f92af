//! The latency of calls.

use std::collections::VecDeque;
use std::time::Duration;

use histogram::{Bucket, SparseHistogram};
use serde::Serialize;

use super::buckets::Buckets;
use crate::clock::Instant;
use crate::seconds::seconds;
use crate::sync::Mutex;

/// A lock-free log-linear histogram with an error of at most 0.8 %, from 1 ns to 2^`POWER` ns (68 s by default).
/// Longer times count as the maximum.
///
/// The counts only grow. The counts of the last minute are the difference from a snapshot taken a minute ago.
/// Readers take the snapshots, so a call only writes one counter.
#[derive(Debug)]
pub(crate) struct Latencies<const POWER: u8 = 36> {
    buckets: Buckets<POWER>,
    snapshots: Mutex<Snapshots>,
}

#[derive(Debug, Default)]
struct Snapshots {
    taken: VecDeque<Snapshot>,
    /// The counts before the last reset.
    base: Option<SparseHistogram>,
}

#[derive(Debug)]
struct Snapshot {
    at: Instant,
    sums: SparseHistogram,
}

const WINDOW: Duration = Duration::from_mins(1);
/// The number of snapshots in a window.
const STEPS: u32 = 6;

impl<const POWER: u8> Latencies<POWER> {
    pub(crate) fn new() -> Self {
        Self { buckets: Buckets::new(), snapshots: Mutex::default() }
    }

    #[inline]
    pub(crate) fn record(&self, nanos: u64) {
        self.record_for(nanos, 1);
    }

    /// Records a duration that counts for `calls` calls.
    #[inline]
    pub(crate) fn record_for(&self, nanos: u64, calls: u64) {
        self.buckets.add(nanos, calls);
    }

    fn sums(&self) -> Option<SparseHistogram> {
        self.buckets.sums().as_ref().map(SparseHistogram::from)
    }

    pub(crate) fn stats(&self, now: Instant) -> LatencyStats {
        self.minute(now).as_ref().map(LatencyStats::of).unwrap_or_default()
    }

    /// Returns the durations of the last minute.
    pub(super) fn minute(&self, now: Instant) -> Option<SparseHistogram> {
        self.window(now, WINDOW)
    }

    /// Returns the durations of the last `window` in ascending order, each with its count.
    pub(crate) fn recent(&self, now: Instant, window: Duration) -> Vec<(u64, u64)> {
        let recent = self.window(now, window);
        let of = |histogram: &SparseHistogram| {
            let buckets = histogram.iter().filter(|bucket| bucket.count() > 0);
            buckets.map(|bucket| (middle(&bucket), bucket.count())).collect()
        };
        recent.as_ref().map(of).unwrap_or_default()
    }

    /// Returns all durations since the start.
    pub(super) fn durations(&self) -> DurationHistogram {
        let mut durations = DurationHistogram::default();
        if self.buckets.are_empty() {
            return durations;
        }
        for bucket in self.buckets.sums().iter().flatten().filter(|bucket| bucket.count() > 0) {
            durations.add(middle(&bucket), bucket.count());
        }
        durations
    }

    /// Discards everything recorded so far.
    pub(crate) fn forget(&self) {
        let mut snapshots = self.snapshots.lock();
        *snapshots = Snapshots { base: self.sums(), ..Snapshots::default() };
    }

    /// Returns the number of recorded calls, and the duration that this share of them does not exceed.
    pub(crate) fn quantile(&self, now: Instant, share: f64) -> (u64, Duration) {
        let window = self.window(now, WINDOW);
        window.map(|window| (window.count().iter().sum(), quantile(&window, share))).unwrap_or_default()
    }

    /// Returns the recent durations, and takes a snapshot for later calls.
    fn window(&self, now: Instant, span: Duration) -> Option<SparseHistogram> {
        if self.buckets.are_empty() {
            return None;
        }
        let mut snapshots = self.snapshots.lock();
        let sums = self.sums()?;
        let is_past = |snapshot: &Snapshot| now.since(snapshot.at) >= span;
        let Snapshots { taken, base } = &mut *snapshots;
        while taken.get(1).is_some_and(is_past) {
            taken.pop_front();
        }
        let oldest = taken.front().filter(|snapshot| is_past(snapshot));
        let before = oldest.map(|snapshot| &snapshot.sums).or(base.as_ref());
        let window = before.and_then(|before| sums.checked_sub(before).ok());
        let window = window.unwrap_or_else(|| sums.clone());
        if taken.back().is_none_or(|snapshot| now.since(snapshot.at) >= span / STEPS) {
            taken.push_back(Snapshot { at: now, sums });
        }
        Some(window)
    }
}

/// Latency percentiles of calls, from start to end. Serialized in seconds.
///
/// Calls that were rejected at once are not included. If statistics are read continuously, the percentiles cover
/// the last 60 to 70 seconds. Otherwise they cover the time since the latest read that is at least a minute ago, or
/// since the start.
///
/// Every call is measured if a stage needs the time: a timeout, or a circuit breaker with a time window or slow
/// calls. For other calls, two clock reads would be most of their cost. Therefore about the first thousand calls
/// are measured, and then one in eight, which also counts for the calls before it.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Registry, clock::ManualClock};
///
/// let time = ManualClock::new();
/// let pipeline = Registry::with_clock(time.clock()).pipeline("report").timeout("report").build();
/// pipeline.call(|| Some(time.advance(Duration::from_millis(100))));
/// let latency = pipeline.stats().latency;
/// assert_eq!(latency.measured, 1);
/// assert!(latency.p50 >= Duration::from_millis(90) && latency.p50 <= Duration::from_millis(110));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LatencyStats {
    /// The number of calls that the percentiles are based on.
    pub measured: u64,
    /// The median.
    #[serde(serialize_with = "seconds")]
    pub p50: Duration,
    /// The 95th percentile.
    #[serde(serialize_with = "seconds")]
    pub p95: Duration,
    /// The 99th percentile.
    #[serde(serialize_with = "seconds")]
    pub p99: Duration,
    /// The 99.9th percentile.
    #[serde(serialize_with = "seconds")]
    pub p999: Duration,
}

/// A histogram of call durations since the start.
///
/// It only grows, so histograms of several instances can be added. Every call counts, as in [`LatencyStats`],
/// except calls that were cancelled or rejected at once. If only one call in eight is measured, the count can lag
/// behind by a dozen calls per thread. The sum has an error of at most 0.8 %.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Registry, clock::ManualClock, observe::DurationHistogram};
///
/// let time = ManualClock::new();
/// let pipeline = Registry::with_clock(time.clock()).pipeline("report").timeout("report").build();
/// pipeline.call(|| Some(time.advance(Duration::from_millis(20))));
/// let durations: DurationHistogram = pipeline.stats().durations;
/// let within = |seconds: f64| durations.cumulative().find(|(bound, _)| *bound == seconds).unwrap().1;
/// assert_eq!((within(0.01), within(0.025), durations.count()), (0, 1, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DurationHistogram {
    /// Counts per bound. The last one counts durations above all bounds.
    counts: [u64; DurationHistogram::BOUNDS.len() + 1],
    sum: f64,
}

impl DurationHistogram {
    /// The upper bounds of the buckets, in seconds.
    pub const BOUNDS: [f64; 16] =
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

    /// Returns the number of calls.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::observe::DurationHistogram::default().count(), 0);
    /// ```
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all durations, in seconds.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::observe::DurationHistogram::default().sum(), 0.0);
    /// ```
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Returns each bound with the number of calls that took at most that long.
    ///
    /// ```
    /// use resilient_runtime::observe::DurationHistogram;
    ///
    /// let none = DurationHistogram::default();
    /// assert!(none.cumulative().all(|(_, calls)| calls == 0));
    /// assert_eq!(none.cumulative().count(), DurationHistogram::BOUNDS.len());
    /// ```
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        Self::BOUNDS.into_iter().zip(self.counts).map(move |(bound, count)| {
            below += count;
            (bound, below)
        })
    }

    fn add(&mut self, nanos: u64, count: u64) {
        let seconds = Duration::from_nanos(nanos).as_secs_f64();
        self.counts[Self::BOUNDS.partition_point(|bound| *bound < seconds)] += count;
        #[allow(clippy::cast_precision_loss)] // exact up to 2^53 calls
        {
            self.sum += seconds * count as f64;
        }
    }
}

impl std::ops::AddAssign for DurationHistogram {
    fn add_assign(&mut self, other: Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }
}

impl LatencyStats {
    pub(super) fn of(histogram: &SparseHistogram) -> Self {
        let at = |share| quantile(histogram, share);
        let measured = histogram.count().iter().sum();
        Self { measured, p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999) }
    }
}

fn quantile(histogram: &SparseHistogram, share: f64) -> Duration {
    let found = histogram.quantile(share).ok().flatten();
    let span = found.and_then(|found| found.entries().values().next().map(middle));
    Duration::from_nanos(span.unwrap_or_default())
}

fn middle(bucket: &Bucket) -> u64 {
    bucket.start().midpoint(bucket.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn percentiles_are_within_one_percent() {
        let latencies = Latencies::<36>::new();
        (1..=1000).for_each(|micros| latencies.record(micros * 1000));
        let LatencyStats { measured, p50, p95, p99, p999 } = latencies.stats(at(0));
        assert_eq!(measured, 1000);
        for (seen, exact) in [(p50, 500.0), (p95, 950.0), (p99, 990.0), (p999, 999.0)] {
            let error = (seen.as_secs_f64() * 1e6 - exact).abs() / exact;
            assert!(error < 0.01, "{seen:?} for {exact} us");
        }
    }

    #[test]
    fn the_histogram_only_grows_and_counts_each_duration_in_its_bucket() {
        let latencies = Latencies::<36>::new();
        assert_eq!(latencies.durations(), DurationHistogram::default());
        for (millis, count) in [(1, 5), (40, 3), (70_000, 2)] {
            (0..count).for_each(|_| latencies.record(millis * 1_000_000 - 100_000));
            latencies.stats(at(1000 * millis));
        }
        let durations = latencies.durations();
        let cumulative: Vec<_> = durations
            .cumulative()
            .filter(|(bound, _)| [0.0005, 0.001, 0.025, 0.05, 60.0].contains(bound))
            .map(|(_, calls)| calls)
            .collect();
        assert_eq!((cumulative, durations.count()), (vec![0, 5, 5, 8, 8], 10));
        assert!((137.0..139.0).contains(&durations.sum()), "{}", durations.sum());
    }

    #[test]
    fn a_duration_beyond_the_scale_counts_as_the_longest() {
        let latencies = Latencies::<36>::new();
        assert_eq!(latencies.stats(at(0)), LatencyStats::default());
        latencies.record(u64::MAX);
        assert!((67..=69).contains(&latencies.stats(at(0)).p50.as_secs()));
    }

    #[test]
    fn durations_older_than_a_minute_are_not_included() {
        let latencies = Latencies::<36>::new();
        for second in 0..200 {
            latencies.record(1000 * (second + 1));
            let stats = latencies.stats(at(second));
            // The window begins with a snapshot that is 60 to 70 seconds old.
            let expected = if second < 60 { second + 1..=second + 1 } else { 60..=69 };
            assert!(expected.contains(&stats.measured), "{} in second {second}", stats.measured);
        }
        assert_eq!(latencies.stats(at(300)).measured, 9, "since the last snapshot, at second 190");
        assert_eq!(latencies.stats(at(360)).measured, 0, "nothing in the last minute");
    }

    #[test]
    fn after_an_hour_without_reads_the_window_starts_at_the_last_read() {
        let latencies = Latencies::<36>::new();
        latencies.record(5);
        latencies.stats(at(0));
        (0..10).for_each(|_| latencies.record(7));
        assert_eq!(latencies.stats(at(3600)).measured, 10, "everything since the last read");
        assert_eq!(latencies.stats(at(3659)).measured, 10, "the last read is less than a minute ago");
        assert_eq!(latencies.stats(at(3660)).measured, 0);
    }

    #[test]
    fn concurrent_recording_loses_nothing() {
        // T156
        let latencies = Latencies::<36>::new();
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let latencies = &latencies;
                scope.spawn(move || (0..1000).for_each(|_| latencies.record(thread)));
            }
        });
        assert_eq!(latencies.stats(at(0)).measured, 16_000);
    }
}
