//! A small harness: jobs run in turn (A B C A B C ..), so that a machine whose speed drifts slows all of them
//! alike; the median of many short samples is reported, with the smallest and the largest.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one sample runs.
const SAMPLE: Duration = Duration::from_millis(3);
/// Samples of each job.
const SAMPLES: usize = 31;

/// Something to measure.
pub struct Job<'a> {
    name: &'static str,
    work: Box<dyn FnMut(u64) + 'a>,
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl<'a> Job<'a> {
    /// A job whose `work` is called again and again; what it returns is not optimised away.
    pub fn new<T>(name: &'static str, mut work: impl FnMut() -> T + 'a) -> Self {
        let work = move |times: u64| {
            for _ in 0..times {
                black_box(work());
            }
        };
        Self { name, work: Box::new(work) }
    }

    fn time(&mut self, times: u64) -> Duration {
        let start = Instant::now();
        (self.work)(times);
        start.elapsed()
    }
}

/// Nanoseconds for one call of a job.
#[derive(Clone, Debug)]
pub struct Row {
    /// The job.
    pub name: &'static str,
    /// The middle sample.
    pub median: f64,
    /// The fastest sample.
    pub min: f64,
    /// The slowest sample.
    pub max: f64,
}

/// Measures all jobs in turn.
pub fn measure(mut jobs: Vec<Job<'_>>) -> Vec<Row> {
    let counts: Vec<u64> = jobs.iter_mut().map(calibrate).collect();
    let mut samples = vec![Vec::with_capacity(SAMPLES); jobs.len()];
    for _ in 0..SAMPLES {
        for ((job, count), samples) in jobs.iter_mut().zip(&counts).zip(&mut samples) {
            // Below 2^53 by far.
            #[allow(clippy::cast_precision_loss)]
            samples.push(job.time(*count).as_secs_f64() * 1e9 / *count as f64);
        }
    }
    let row = |(job, mut samples): (&Job<'_>, Vec<f64>)| {
        samples.sort_by(f64::total_cmp);
        Row { name: job.name, median: samples[SAMPLES / 2], min: samples[0], max: samples[SAMPLES - 1] }
    };
    jobs.iter().zip(samples).map(row).collect()
}

/// How many calls make a sample; also the warm-up.
fn calibrate(job: &mut Job<'_>) -> u64 {
    let mut count = 1;
    while job.time(count) < SAMPLE {
        count *= 2;
    }
    count
}
