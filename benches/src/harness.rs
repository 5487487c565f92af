//! Jobs that do the same work in different ways, timed in turn.
//!
//! A machine whose speed drifts slows all jobs of a group alike, because they run A B C A B C ..; the ratio of two
//! jobs is the median of the ratios of neighbouring samples, which drift hardly touches.

use std::fmt;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Samples of each job; an odd number, so that there is a median.
    pub samples: usize,
    /// How long one sample runs at least.
    pub sample: Duration,
}

impl Effort {
    /// For the figures that are written down.
    pub const FULL: Self = Self { samples: 31, sample: Duration::from_millis(4) };
    /// For a look.
    pub const QUICK: Self = Self { samples: 15, sample: Duration::from_millis(1) };
}

/// Does the work so many times.
type Work = Box<dyn FnMut(u64, Spacing)>;

/// Whether calls may overlap in the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spacing {
    /// One begins while the one before it is still under way: how many calls a thread can make.
    Stream,
    /// A fence keeps them apart: how long a call takes that nothing else hides.
    Alone,
}

/// One way to do the work of a group.
pub struct Job {
    /// Whose way it is.
    pub who: &'static str,
    make: Box<dyn Fn() -> Work + Sync>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.who)
    }
}

impl Job {
    /// `make` is called once in each thread, so that threads share what it captured and nothing else. What it
    /// makes is called again and again; what that returns is not optimised away.
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

    /// Does the work so many times, in this thread.
    pub fn run(&self, times: u64) {
        (self.make)()(times, Spacing::Stream);
    }

    /// How often the work is done in one sample; also the warm-up.
    fn calibrate(&self, effort: Effort) -> u64 {
        let mut work = (self.make)();
        // The first calls make what the later ones find.
        work(64, Spacing::Stream);
        let mut times = 1;
        while time(&mut work, times) < effort.sample {
            times *= 2;
        }
        times
    }

    /// Nanoseconds for each call that overlaps with no other, less those of a fence around nothing.
    fn alone(&self, times: u64) -> f64 {
        // A fence takes longer than some of the work.
        let times = (times / 8).max(1);
        let with = time_spaced(&mut (self.make)(), times, Spacing::Alone);
        let mut nothing = (Job::new("", || || black_box(7_u64)).make)();
        let without = time_spaced(&mut nothing, times, Spacing::Alone);
        (with.as_secs_f64() - without.as_secs_f64()) * 1e9 / times as f64
    }

    /// Nanoseconds for each call while `threads` of them do the work at once; of all calls together, so that two
    /// threads which do not disturb each other take half as long.
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
                // A worker that panicked has said why; its sample counts as nothing.
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

/// What our job, the first of its group, is to reach.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// So many nanoseconds at most.
    AtMost(f64),
    /// So many times another job, at most.
    Times(f64, &'static str),
    /// Another job and so many nanoseconds, at most.
    Above(&'static str, f64),
    /// Two threads do so many times the work of one, at least.
    Gain(f64),
    /// It allocates nothing.
    NoAllocation,
}

/// Jobs that do the same work. The first is ours.
#[derive(Debug)]
pub struct Group {
    /// What is done.
    pub title: &'static str,
    /// What the figures mean, and which physical cost stands in the way where a goal is missed.
    pub note: &'static str,
    /// What is to be reached.
    pub goals: Vec<Goal>,
    /// In which ways it is done.
    pub jobs: Vec<Job>,
    /// Whether it is also done by two threads at once, on one component.
    pub shared: bool,
    /// Whether it is one of the few that are shown first.
    pub is_headline: bool,
}

impl Group {
    /// A group without goals and notes, for one thread.
    pub fn new(title: &'static str, jobs: Vec<Job>) -> Self {
        Self { title, note: "", goals: Vec::new(), jobs, shared: false, is_headline: false }
    }

    /// Sets what is to be reached.
    #[must_use]
    pub fn goals(mut self, goals: impl IntoIterator<Item = Goal>) -> Self {
        self.goals = goals.into_iter().collect();
        self
    }

    /// Says more about the figures.
    #[must_use]
    pub fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// Shows it among the first.
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

    /// Measures all jobs in turn, and those that are shown first also alone.
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

/// What was measured of one job, in nanoseconds for each call.
#[derive(Clone, Debug)]
pub struct Row {
    /// The job.
    pub who: &'static str,
    /// With one thread.
    pub one: Samples,
    /// With two threads on one component, if that was asked for.
    pub two: Samples,
    /// With a fence between two calls, less what the fence takes, if that was asked for.
    pub alone: Samples,
}

impl Row {
    fn new(who: &'static str) -> Self {
        Self { who, one: Samples::default(), two: Samples::default(), alone: Samples::default() }
    }

    /// How many times the work of one thread two of them do.
    pub fn gain(&self) -> Option<f64> {
        (!self.two.0.is_empty()).then(|| self.one.ratio_to(&self.two))
    }
}

/// Samples in the order they were taken.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.sorted().get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The smallest time that can be told from nothing: the median distance of a sample from the median, and more where what
    /// was taken off was more than the whole.
    pub fn resolution(&self) -> f64 {
        let median = self.median();
        let distances = Self(self.0.iter().map(|sample| (sample - median).abs()).collect());
        distances.median().max(-median)
    }

    /// The fastest and the slowest one.
    pub fn extremes(&self) -> (f64, f64) {
        let sorted = self.sorted();
        (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN))
    }

    /// The median of the ratios of samples taken one after the other.
    pub fn ratio_to(&self, other: &Self) -> f64 {
        Self(self.0.iter().zip(&other.0).map(|(this, other)| this / other).collect()).median()
    }

    /// The median of the differences of samples taken one after the other.
    pub fn above(&self, other: &Self) -> f64 {
        Self(self.0.iter().zip(&other.0).map(|(this, other)| this - other).collect()).median()
    }
}

/// Whether the harness itself measures right: an empty loop, and a body that is known to take 100 ns.
///
/// # Errors
/// What came out wrong.
pub fn check(effort: Effort) -> Result<Vec<Row>, String> {
    let clock = quanta::Clock::new();
    let spin = move || {
        let start = clock.raw();
        while clock.delta_as_nanos(start, clock.raw()) < 100 {}
    };
    let jobs = vec![
        Job::new("an empty body", || || black_box(7_u64)),
        Job::new("a body that waits for 100 ns to be over", move || spin.clone()),
    ];
    let rows = Group::new("", jobs).measure(effort);
    let (empty, known) = (rows[0].one.median(), rows[1].one.median());
    if !(0.1..2.0).contains(&empty) {
        return Err(format!("an empty body takes {empty:.2} ns: the loop is optimised away, or disturbed"));
    }
    // It sees the end of the 100 ns only at its next look at the clock.
    if !(95.0..150.0).contains(&known) {
        return Err(format!("a body of 100 ns takes {known:.1} ns"));
    }
    Ok(rows)
}
