//! A time window: the calls of the last span of time, from counters that are never reset.
//!
//! Each call adds to one cumulative, striped counter. The success path writes nothing else. Ten times per window the
//! sums of these counters are stored as a note. The window content is the difference between the current sums and the
//! oldest note. A count cannot be lost or counted twice at the edge of a bucket: whether or not a note includes it,
//! the sums contain it exactly once (T155).

use std::time::Duration;

use super::{Content, Grade};
use crate::clock::{Instant, nanos};
use crate::observe::Striped;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};

const BUCKETS: usize = 10;

/// Cumulative calls of each grade, modulo 2^32. Differences are exact for up to four billion calls in a window.
type Sums = [u32; 4];

/// One more bucket than a window has.
const BEYOND: u64 = BUCKETS as u64 + 1;

/// A time window over the first four counters of a [`Striped`], one for each [`Grade`].
#[derive(Debug)]
pub(in crate::circuit_breaker) struct TimeWindow {
    /// Start of the next bucket.
    next: AtomicU64,
    /// A clock that is this much behind `next` stepped back: [`BEYOND`] bucket widths.
    reach: AtomicU64,
    /// Version of `next` and `base`, for readers without the lock. Odd while they are being replaced.
    version: AtomicU32,
    /// The oldest note.
    base: [AtomicU32; 4],
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    /// The sums at the start of each bucket, as a ring.
    notes: [Sums; BUCKETS],
    oldest: usize,
    /// Bucket width in nanoseconds.
    width: u64,
    next: u64,
}

impl TimeWindow {
    /// Creates an empty window that starts now. The counters must be zero.
    pub(in crate::circuit_breaker) fn new(span: Duration, now: Instant) -> Self {
        let width = width(span);
        let next = now.as_nanos().saturating_add(width);
        Self {
            next: AtomicU64::new(next),
            reach: AtomicU64::new(width.saturating_mul(BEYOND)),
            version: AtomicU32::new(0),
            base: std::array::from_fn(|_| AtomicU32::new(0)),
            buckets: Mutex::new(Buckets { notes: [[0; 4]; BUCKETS], oldest: 0, width, next }),
        }
    }

    /// Advances the window. Must be called before a call is counted.
    ///
    /// At the normal edge between two buckets no thread waits: a thread that finds another one advancing the window
    /// can count its call in the bucket that has just ended. After a pause of more than one bucket that bucket could
    /// be too old, so the thread waits for the lock.
    #[inline]
    pub(in crate::circuit_breaker) fn touch<const N: usize>(&self, now: Instant, counters: &Striped<N>) {
        // Relaxed: a thread that acts on the value reads it again under the lock.
        let next = self.next.load(Ordering::Relaxed);
        if self.is_due(next, now) {
            self.move_on(next, now, counters);
        }
    }

    #[cold]
    fn move_on<const N: usize>(&self, next: u64, now: Instant, counters: &Striped<N>) {
        let at_edge = now.as_nanos().saturating_sub(next) < self.reach.load(Ordering::Relaxed) / BEYOND;
        let buckets = if at_edge { self.buckets.try_lock() } else { Some(self.buckets.lock()) };
        if let Some(mut buckets) = buckets {
            self.advance(&mut buckets, now, counters);
        }
    }

    /// Returns the content of the window.
    pub(in crate::circuit_breaker) fn content<const N: usize>(
        &self,
        now: Instant,
        counters: &Striped<N>,
    ) -> Content {
        if let Some(base) = self.read_base(now) {
            return since(base, counters);
        }
        let mut buckets = self.buckets.lock();
        self.advance(&mut buckets, now, counters);
        since(buckets.notes[buckets.oldest], counters)
    }

    /// Returns the oldest note, unless it is being replaced or is due to be replaced.
    fn read_base(&self, now: Instant) -> Option<Sums> {
        // Acquire: also reads what was stored before this version.
        let version = self.version.load(Ordering::Acquire);
        // Acquire: after reading newer values, the second read of the version sees the change.
        let next = self.next.load(Ordering::Acquire);
        let base = std::array::from_fn(|grade| self.base[grade].load(Ordering::Acquire));
        let settled = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (settled && !self.is_due(next, now)).then_some(base)
    }

    /// Clears the window.
    pub(in crate::circuit_breaker) fn clear<const N: usize>(&self, now: Instant, counters: &Striped<N>) {
        let mut buckets = self.buckets.lock();
        buckets.notes = [sums(counters); BUCKETS];
        buckets.next = now.as_nanos().saturating_add(buckets.width);
        self.publish(&buckets);
    }

    /// Changes the span and keeps the calls inside the new one, to the precision of an old bucket.
    pub(in crate::circuit_breaker) fn resize(&self, span: Duration) {
        let mut buckets = self.buckets.lock();
        let (old, new) = (buckets.width, width(span));
        if old == new {
            return;
        }
        let begin = buckets.next.saturating_sub(old);
        let newest_first = |age: usize| buckets.notes[(buckets.oldest + BUCKETS - 1 - age) % BUCKETS];
        // For each start of a new bucket: the note taken at that time, or the last one before it.
        let notes = std::array::from_fn(|index| {
            let age = (BUCKETS - 1 - index) as u64 * new;
            newest_first(usize::try_from(age.div_ceil(old)).unwrap_or(BUCKETS).min(BUCKETS - 1))
        });
        *buckets = Buckets { notes, oldest: 0, width: new, next: begin.saturating_add(new) };
        self.reach.store(new.saturating_mul(BEYOND), Ordering::Relaxed);
        self.publish(&buckets);
    }

    /// Whether a new bucket has started, or the clock stepped back by more than the window.
    ///
    /// One comparison covers both: the difference wraps around once `now` has reached `next`.
    #[inline]
    fn is_due(&self, next: u64, now: Instant) -> bool {
        let ahead = next.wrapping_sub(now.as_nanos()).wrapping_sub(1);
        ahead >= self.reach.load(Ordering::Relaxed)
    }

    fn advance<const N: usize>(&self, buckets: &mut Buckets, now: Instant, counters: &Striped<N>) {
        if !self.is_due(buckets.next, now) {
            return;
        }
        let now = now.as_nanos();
        let width = buckets.width;
        if now < buckets.next {
            // T10: after the clock stepped back, the current bucket starts again.
            buckets.next = now.saturating_add(width);
            return self.publish(buckets);
        }
        // T12: however many buckets have started, at most all notes are replaced.
        let begun = (now - buckets.next) / width + 1;
        let sums = sums(counters);
        for _ in 0..begun.min(BUCKETS as u64) {
            let oldest = buckets.oldest;
            buckets.notes[oldest] = sums;
            buckets.oldest = (oldest + 1) % BUCKETS;
        }
        buckets.next = buckets.next.saturating_add(begun.saturating_mul(width));
        self.publish(buckets);
    }

    /// Publishes the base to readers without the lock. The caller holds the lock.
    fn publish(&self, buckets: &Buckets) {
        let version = self.version.load(Ordering::Relaxed);
        // Relaxed: the Release stores below publish it to readers of the newer values.
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        for (place, sum) in self.base.iter().zip(buckets.notes[buckets.oldest]) {
            place.store(sum, Ordering::Release);
        }
        self.next.store(buckets.next, Ordering::Release);
        // Release: a thread that reads this version also reads the base above.
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

fn width(span: Duration) -> u64 {
    (nanos(span) / BUCKETS as u64).max(1)
}

fn sums<const N: usize>(counters: &Striped<N>) -> Sums {
    // Modulo 2^32, as documented at `Sums`.
    #[allow(clippy::cast_possible_truncation)]
    Grade::ALL.map(|grade| counters.sum(grade as usize) as u32)
}

fn since<const N: usize>(base: Sums, counters: &Striped<N>) -> Content {
    // The base was read from the same counters earlier, and each counter only grows.
    let sums = sums(counters);
    Content::of_grades(std::array::from_fn(|grade| u64::from(sums[grade].wrapping_sub(base[grade]))))
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const SPAN: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    struct Bench {
        time: ManualClock,
        counters: Striped<4>,
        window: TimeWindow,
    }

    impl Bench {
        fn new() -> Self {
            let time = ManualClock::new();
            let window = TimeWindow::new(SPAN, time.clock().now());
            Self { time, counters: Striped::new(), window }
        }

        fn record(&self, grade: Grade) {
            self.window.touch(self.time.clock().now(), &self.counters);
            self.counters.add(grade as usize);
        }

        fn calls(&self) -> u64 {
            self.window.content(self.time.clock().now(), &self.counters).calls
        }
    }

    #[test]
    fn a_call_leaves_after_nine_tenths_to_all_of_the_span() {
        let bench = Bench::new();
        bench.record(Grade::Failed);
        bench.time.advance(Duration::from_millis(999));
        bench.record(Grade::Slow);
        bench.time.advance(Duration::from_secs(9));
        assert_eq!(bench.calls(), 2, "9.999 s after the first call, 9 s after the second");
        bench.time.advance(Duration::from_millis(1));
        assert_eq!(bench.calls(), 0);
    }

    #[test]
    fn each_second_removes_exactly_its_own_calls() {
        let bench = Bench::new();
        for second in 1..=30_u64 {
            (0..second).for_each(|_| bench.record(Grade::Good));
            let first = second.saturating_sub(9).max(1);
            assert_eq!(bench.calls(), (first..=second).sum::<u64>(), "in second {second}");
            bench.time.advance(SECOND);
        }
    }

    #[test]
    fn a_long_pause_empties_the_window_at_once() {
        // T12
        let bench = Bench::new();
        (0..100).for_each(|_| bench.record(Grade::Failed));
        bench.time.advance(Duration::from_hours(40));
        bench.record(Grade::Good);
        assert_eq!(bench.calls(), 1);
        bench.time.advance(Duration::MAX);
        assert_eq!(bench.calls(), 0, "at the end of time");
        bench.record(Grade::Good);
        assert_eq!(bench.calls(), 1);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_stop_the_window() {
        // T10
        let bench = Bench::new();
        bench.record(Grade::Failed);
        bench.time.rewind(Duration::from_mins(50));
        bench.record(Grade::Failed);
        assert_eq!(bench.calls(), 2);
        bench.time.advance(SPAN);
        assert_eq!(bench.calls(), 0, "not only an hour later");
    }

    #[test]
    fn a_longer_span_keeps_the_calls_and_a_shorter_one_drops_the_oldest() {
        // T117
        let bench = Bench::new();
        for _ in 0..10 {
            bench.record(Grade::Good);
            bench.time.advance(SECOND);
        }
        bench.window.resize(Duration::from_secs(20));
        bench.time.advance(Duration::from_secs(7));
        assert_eq!(bench.calls(), 10, "17 s after the oldest");
        bench.time.advance(Duration::from_secs(5));
        assert!((6..=9).contains(&bench.calls()), "the calls of the last 18 to 20 s, to one old bucket");
        bench.time.advance(Duration::from_secs(8));
        assert_eq!(bench.calls(), 0);

        let bench = Bench::new();
        for _ in 0..10 {
            bench.record(Grade::Good);
            bench.time.advance(SECOND);
        }
        bench.window.resize(Duration::from_secs(2));
        assert!((1..=3).contains(&bench.calls()), "the calls of the last two seconds, to one old bucket");
    }

    #[test]
    fn a_shorter_span_drops_nothing_that_is_inside_it() {
        // T117
        let bench = Bench::new();
        bench.time.advance(Duration::from_millis(4700));
        bench.record(Grade::Failed);
        bench.time.advance(Duration::from_millis(4500));
        assert_eq!(bench.calls(), 1);
        bench.window.resize(Duration::from_secs(5));
        assert_eq!(bench.calls(), 1, "4.5 s after the call, in the middle of an old bucket");
    }

    #[test]
    fn totals_are_exact_while_64_threads_record_and_time_passes() {
        // T155, T156
        let bench = Bench::new();
        std::thread::scope(|scope| {
            for thread in 0..64 {
                let bench = &bench;
                scope.spawn(move || {
                    for call in 0..1000_usize {
                        bench.record(Grade::ALL[(thread + call) % 4]);
                        if call % 400 == 0 {
                            // 64 x 3 x 40 ms: 7.68 s in all, so nothing leaves the window.
                            bench.time.advance(Duration::from_millis(40));
                        }
                        assert!(bench.calls() <= 64_000);
                    }
                });
            }
        });
        let content = bench.window.content(bench.time.clock().now(), &bench.counters);
        let expected = Content { calls: 64_000, failed: 32_000, slow: 32_000, failed_or_slow: 48_000 };
        assert_eq!(content, expected);
    }
}
