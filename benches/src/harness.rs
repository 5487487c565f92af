//! Measures jobs that do the same work in different ways.
//!
//! The jobs of a group run alternately (A B C A B C ..), so that a drift of the machine's speed affects all of them
//! equally. The ratio of two jobs is the median of the ratios of adjacent samples, which is nearly independent of
//! drift.

use std::fmt;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// Number and duration of the samples.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Number of samples per job. An odd number, so that the median is a sample.
    pub samples: usize,
    /// Minimum duration of a sample.
    pub sample: Duration,
}

impl Effort {
    /// For the report.
    pub const FULL: Self = Self { samples: 31, sample: Duration::from_millis(4) };
    /// For a quick check.
    pub const QUICK: Self = Self { samples: 15, sample: Duration::from_millis(1) };
}

/// Does the work a number of times.
type Work = Box<dyn FnMut(u64, Spacing)>;

/// Whether calls can overlap in the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spacing {
    /// Calls overlap: measures the throughput of a thread.
    Stream,
    /// A fence separates the calls: measures the latency of a call.
    Alone,
}

/// One way to do the work of a group.
pub struct Job {
    /// Name of the row.
    pub who: &'static str,
    make: Box<dyn Fn() -> Work + Sync>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.who)
    }
}

impl Job {
    /// Creates a job. `make` is called once per thread, so that threads share only what it captures.
    ///
    /// The returned closure is called repeatedly. Its result is not optimized away.
    pub fn new<T, W: FnMut() -> T + 'static>(
        who: &'static str,
        make: impl Fn() -> W + Sync + 'static,
    ) -> Self {
        let make = move || {
            let mut work = make();
            Box::new(move |times: u64, spacing: Spacing| {
                if spacing == Spacing::Stream {
                    for _ in 0..times {
                        black_box(work());
                    }
                } else {
                    for _ in 0..times {
                        // The loads of the next call wait for the stores of this one.
                        fence(Ordering::SeqCst);
                        black_box(work());
                    }
                }
            }) as Work
        };
        Self { who, make: Box::new(make) }
    }

    /// Does the work `times` times, in this thread.
    pub fn run(&self, times: u64) {
        (self.make)()(times, Spacing::Stream);
    }

    /// Returns how often the work is done in one sample. Also warms up.
    fn calibrate(&self, effort: Effort) -> u64 {
        let mut work = (self.make)();
        // The first calls create state that later calls use.
        work(64, Spacing::Stream);
        let mut times = 1;
        while time(&mut work, times) < effort.sample {
            times *= 2;
        }
        times
    }

    /// Nanoseconds per call without overlap, less the time of the fence.
    fn alone(&self, times: u64) -> f64 {
        // A fence takes longer than some of the work.
        let times = (times / 8).max(1);
        let with = time_spaced(&mut (self.make)(), times, Spacing::Alone);
        let mut nothing = (Job::new("", || || black_box(7_u64)).make)();
        let without = time_spaced(&mut nothing, times, Spacing::Alone);
        (with.as_secs_f64() - without.as_secs_f64()) * 1e9 / times as f64
    }

    /// Nanoseconds per call while `threads` threads do the work concurrently.
    ///
    /// The calls of all threads count, so that two independent threads take half the time of one.
    fn sample(&self, threads: usize, times: u64) -> f64 {
        let elapsed = if threads == 1 {
            time(&mut (self.make)(), times)
        } else {
            let (barrier, handle) = (Barrier::new(threads), Handle::current());
            std::thread::scope(|scope| {
                let started: Vec<_> = (0..threads)
                    .map(|_| {
                        scope.spawn(|| {
                            let _runtime = handle.enter();
                            let mut work = (self.make)();
                            work(times / 8, Spacing::Stream);
                            barrier.wait();
                            time(&mut work, times)
                        })
                    })
                    .collect();
                // A worker that panicked has printed the reason. Its sample counts as zero.
                let ended = started.into_iter().map(|worker| worker.join().unwrap_or_default());
                ended.max().unwrap_or_default()
            })
        };
        elapsed.as_secs_f64() * 1e9 / (times as f64 * threads as f64)
    }
}

fn time(work: &mut Work, times: u64) -> Duration {
    time_spaced(work, times, Spacing::Stream)
}

fn time_spaced(work: &mut Work, times: u64, spacing: Spacing) -> Duration {
    let start = Instant::now();
    work(times, spacing);
    start.elapsed()
}

/// A goal for the first job of a group.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At most this number of nanoseconds.
    AtMost(f64),
    /// At most this multiple of another job.
    Times(f64, &'static str),
    /// At most this number of nanoseconds more than another job.
    Above(&'static str, f64),
    /// Two threads do at least this multiple of the work of one.
    Gain(f64),
    /// No allocations.
    NoAllocation,
}

/// Jobs that do the same work. The first one is a job of this library.
#[derive(Debug)]
pub struct Group {
    /// Title of the section.
    pub title: &'static str,
    /// Explains the figures, and the inherent cost behind a missed goal.
    pub note: &'static str,
    /// Goals for the first job.
    pub goals: Vec<Goal>,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Whether two threads also do the work concurrently, on one component.
    pub shared: bool,
    /// Whether `docs/performance.md` shows this group.
    pub is_headline: bool,
    /// Whether the README shows this group.
    pub is_in_readme: bool,
}

impl Group {
    /// Creates a group without goals and notes, for one thread.
    pub fn new(title: &'static str, jobs: Vec<Job>) -> Self {
        Self {
            title,
            note: "",
            goals: Vec::new(),
            jobs,
            shared: false,
            is_headline: false,
            is_in_readme: false,
        }
    }

    /// Sets the goals.
    #[must_use]
    pub fn goals(mut self, goals: impl IntoIterator<Item = Goal>) -> Self {
        self.goals = goals.into_iter().collect();
        self
    }

    /// Sets the note.
    #[must_use]
    pub fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// Shows this group in the README and in `docs/performance.md`.
    #[must_use]
    pub fn in_readme(mut self) -> Self {
        self.is_in_readme = true;
        self.headline()
    }

    /// Shows this group in `docs/performance.md`.
    #[must_use]
    pub fn headline(mut self) -> Self {
        self.is_headline = true;
        self
    }

    /// Also measures two threads on one component.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// Measures all jobs alternately. For a headline group, also measures calls without overlap.
    pub fn measure(&self, effort: Effort) -> Vec<Row> {
        let counts: Vec<u64> = self.jobs.iter().map(|job| job.calibrate(effort)).collect();
        let threads: &[usize] = if self.shared { &[1, 2] } else { &[1] };
        let mut rows: Vec<Row> = self.jobs.iter().map(|job| Row::new(job.who)).collect();
        for _ in 0..effort.samples {
            for ((job, times), row) in self.jobs.iter().zip(&counts).zip(&mut rows) {
                for (&threads, samples) in threads.iter().zip([&mut row.one, &mut row.two]) {
                    samples.0.push(job.sample(threads, *times));
                }
                if self.is_headline {
                    row.alone.0.push(job.alone(*times));
                }
            }
        }
        rows
    }
}

/// Measurements of one job, in nanoseconds per call.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the job.
    pub who: &'static str,
    /// With one thread.
    pub one: Samples,
    /// With two threads on one component, for a shared group.
    pub two: Samples,
    /// With a fence between calls, less the time of the fence, for a headline group.
    pub alone: Samples,
}

impl Row {
    fn new(who: &'static str) -> Self {
        Self { who, one: Samples::default(), two: Samples::default(), alone: Samples::default() }
    }

    /// Work of two threads relative to one.
    pub fn gain(&self) -> Option<f64> {
        (!self.two.0.is_empty()).then(|| self.one.ratio_to(&self.two))
    }
}

/// Samples in the order of measurement.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// Median of the samples.
    pub fn median(&self) -> f64 {
        self.sorted().get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The smallest time that can be distinguished from zero.
    ///
    /// This is the median distance of the samples from their median, or more if the subtracted time exceeded the
    /// measured time.
    pub fn resolution(&self) -> f64 {
        let median = self.median();
        let distances = Self(self.0.iter().map(|sample| (sample - median).abs()).collect());
        distances.median().max(-median)
    }

    /// The fastest and the slowest sample.
    pub fn extremes(&self) -> (f64, f64) {
        let sorted = self.sorted();
        (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN))
    }

    /// Median of the ratios of adjacent samples.
    pub fn ratio_to(&self, other: &Self) -> f64 {
        Self(self.0.iter().zip(&other.0).map(|(this, other)| this / other).collect()).median()
    }

    /// Median of the differences of adjacent samples.
    pub fn above(&self, other: &Self) -> f64 {
        Self(self.0.iter().zip(&other.0).map(|(this, other)| this - other).collect()).median()
    }
}

/// Checks the harness with an empty loop and with a body that takes 100 ns.
///
/// # Errors
/// Returns an error if a measured time is wrong.
pub fn check(effort: Effort) -> Result<Vec<Row>, String> {
    let clock = quanta::Clock::new();
    let spin = move || {
        let start = clock.raw();
        while clock.delta_as_nanos(start, clock.raw()) < 100 {}
    };
    let jobs = vec![
        Job::new("an empty body", || || black_box(7_u64)),
        Job::new("a body that spins for 100 ns", move || spin.clone()),
    ];
    let rows = Group::new("", jobs).measure(effort);
    let (empty, known) = (rows[0].one.median(), rows[1].one.median());
    if !(0.1..2.0).contains(&empty) {
        return Err(format!(
            "an empty body takes {empty:.2} ns: the loop was optimized away, or other programs interfered"
        ));
    }
    // The body notices the end of the 100 ns only when it reads the clock again.
    if !(95.0..150.0).contains(&known) {
        return Err(format!("a body of 100 ns takes {known:.1} ns"));
    }
    Ok(rows)
}
