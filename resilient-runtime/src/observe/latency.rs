//! How long calls take.

use std::collections::VecDeque;
use std::time::Duration;

use histogram::{Bucket, SparseHistogram};
use serde::Serialize;

use super::buckets::Buckets;
use crate::clock::Instant;
use crate::seconds::seconds;
use crate::sync::Mutex;

/// Lock-free log-linear histograms: at most 0.8 % off, from 1 ns to 2^`POWER` ns; longer times count as that. By default
/// it is 68 s.
///
/// They only grow. What happened in the last minute is the difference to a note of what they held a minute ago;
/// notes are taken by those who look, so that a call writes one counter and nothing else.
#[derive(Debug)]
pub(crate) struct Latencies<const POWER: u8 = 36> {
    buckets: Buckets<POWER>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    taken: VecDeque<Note>,
    /// What is forgotten.
    base: Option<SparseHistogram>,
}

#[derive(Debug)]
struct Note {
    at: Instant,
    sums: SparseHistogram,
}

const WINDOW: Duration = Duration::from_mins(1);
/// Notes in a window.
const STEPS: u32 = 6;

impl<const POWER: u8> Latencies<POWER> {
    pub(crate) fn new() -> Self {
        Self { buckets: Buckets::new(), notes: Mutex::default() }
    }

    #[inline]
    pub(crate) fn record(&self, nanos: u64) {
        self.record_for(nanos, 1);
    }

    /// Records the time of one call for so many.
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

    /// What the statistics are of.
    pub(super) fn minute(&self, now: Instant) -> Option<SparseHistogram> {
        self.window(now, WINDOW)
    }

    /// The times of the last `window` in rising order, each with how often it was taken.
    pub(crate) fn recent(&self, now: Instant, window: Duration) -> Vec<(u64, u64)> {
        let recent = self.window(now, window);
        let of = |histogram: &SparseHistogram| {
            let buckets = histogram.iter().filter(|bucket| bucket.count() > 0);
            buckets.map(|bucket| (middle(&bucket), bucket.count())).collect()
        };
        recent.as_ref().map(of).unwrap_or_default()
    }

    /// All of them, since the beginning.
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

    /// As if nothing had been recorded before.
    pub(crate) fn forget(&self) {
        let mut notes = self.notes.lock();
        *notes = Notes { base: self.sums(), ..Notes::default() };
    }

    /// Of how many there is a time, and the one that this share of them does not exceed.
    pub(crate) fn quantile(&self, now: Instant, share: f64) -> (u64, Duration) {
        let window = self.window(now, WINDOW);
        window.map(|window| (window.count().iter().sum(), quantile(&window, share))).unwrap_or_default()
    }

    /// What was recorded lately, and a note for those who look later.
    fn window(&self, now: Instant, span: Duration) -> Option<SparseHistogram> {
        if self.buckets.are_empty() {
            return None;
        }
        let mut notes = self.notes.lock();
        let sums = self.sums()?;
        let is_past = |note: &Note| now.since(note.at) >= span;
        let Notes { taken, base } = &mut *notes;
        while taken.get(1).is_some_and(is_past) {
            taken.pop_front();
        }
        let before = taken.front().filter(|note| is_past(note)).map(|note| &note.sums).or(base.as_ref());
        let window = before.and_then(|before| sums.checked_sub(before).ok());
        let window = window.unwrap_or_else(|| sums.clone());
        if taken.back().is_none_or(|note| now.since(note.at) >= span / STEPS) {
            taken.push_back(Note { at: now, sums });
        }
        Some(window)
    }
}

/// Percentiles of the time from the start of a call to its end, of those that were not refused at once; in seconds
/// when serialised. Since somebody looked a minute ago: of the last minute and up to ten seconds where somebody looks
/// all the time, and of all the time since the last look before that, or since the beginning, where nobody did.
///
/// The time is taken of every call that has a stage which needs it: a timeout, a circuit breaker with a window of
/// time or slow calls. Of others, to which two readings of the clock would be most of their cost, it is taken of
/// about a thousand at first, and then of one in eight, which counts for those before it as well.
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
    /// Calls that the times stand for.
    pub measured: u64,
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

/// How often calls took how long, since the beginning: it only grows, so that the numbers of several instances can be added up.
///
/// Every call counts, as in [`LatencyStats`], but for those that were cancelled or refused at once. Where the time of one
/// in eight is taken, the count may lag behind by a dozen calls for each thread. The sum is at most 0.8 % off.
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
    /// By bound; the last one of what is above all of them.
    counts: [u64; DurationHistogram::BOUNDS.len() + 1],
    sum: f64,
}

impl DurationHistogram {
    /// The upper bounds of its buckets, in seconds.
    pub const BOUNDS: [f64; 16] =
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

    /// Calls that took so long.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::observe::DurationHistogram::default().count(), 0);
    /// ```
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What they took together, in seconds.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::observe::DurationHistogram::default().sum(), 0.0);
    /// ```
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// For each bound the calls that took no longer.
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
        #[allow(clippy::cast_precision_loss)] // of 2^53 calls one is lost
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
    fn the_histogram_only_grows_and_has_each_time_in_its_bucket() {
        // E9
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
    fn a_time_beyond_the_scale_counts_as_the_longest() {
        let latencies = Latencies::<36>::new();
        assert_eq!(latencies.stats(at(0)), LatencyStats::default());
        latencies.record(u64::MAX);
        assert!((67..=69).contains(&latencies.stats(at(0)).p50.as_secs()));
    }

    #[test]
    fn what_was_a_minute_ago_is_forgotten_by_those_who_look() {
        let latencies = Latencies::<36>::new();
        for second in 0..200 {
            latencies.record(1000 * (second + 1));
            let stats = latencies.stats(at(second));
            // The window begins with a note that is one to one and a sixth minutes old.
            let expected = if second < 60 { second + 1..=second + 1 } else { 60..=69 };
            assert!(expected.contains(&stats.measured), "{} in second {second}", stats.measured);
        }
        assert_eq!(latencies.stats(at(300)).measured, 9, "since the last note, of second 190");
        assert_eq!(latencies.stats(at(360)).measured, 0, "nothing since a minute");
    }

    #[test]
    fn nobody_has_looked_for_an_hour() {
        let latencies = Latencies::<36>::new();
        latencies.record(5);
        latencies.stats(at(0));
        (0..10).for_each(|_| latencies.record(7));
        assert_eq!(latencies.stats(at(3600)).measured, 10, "all since the last look");
        assert_eq!(latencies.stats(at(3659)).measured, 10, "the look before this one is no minute ago");
        assert_eq!(latencies.stats(at(3660)).measured, 0);
    }

    #[test]
    fn threads_that_record_at_once_lose_nothing() {
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
