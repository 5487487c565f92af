//! T63: what a flood of low calls does to the high ones, in virtual time.
//!
//! A thousand calls a second can be served, by ten workers in 10 ms each; 5000 low ones and 200 high ones come. Whoever
//! is served waits for a worker in the order of arrival, whatever the class: the queue knows no priority.

use std::collections::VecDeque;

use super::*;
use crate::clock::ManualClock;
use crate::registry::Registry;

const MS: fn(u64) -> Duration = Duration::from_millis;
const WORKERS: usize = 10;
const WORK: u64 = 10;

/// Where the shedder stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Nowhere.
    Missing,
    /// Before the queue: what is admitted waits for a worker.
    Before,
    /// Behind it, as in a server whose requests wait to be read: a worker takes one, and only then is it judged.
    Behind,
}

#[derive(Default)]
struct Class {
    came: usize,
    shed: usize,
    /// In milliseconds, of those served.
    took: Vec<u64>,
}

impl Class {
    fn percentile(&mut self, percent: usize) -> u64 {
        self.took.sort_unstable();
        self.took[(self.took.len() * percent / 100).min(self.took.len() - 1)]
    }

    fn shed_share(&self) -> f64 {
        self.shed as f64 / self.came as f64
    }
}

struct Work<'a> {
    priority: Priority,
    arrived: u64,
    permit: Option<Permit<'a>>,
}

/// The low and the high class after `seconds`, of which the first `warm` do not count.
fn run(config: Config, place: Place, warm: u64, seconds: u64) -> (Class, Class) {
    let time = ManualClock::new();
    let shedder = Registry::with_seed(time.clock(), 7).load_shedder("x");
    shedder.reconfigure(config).unwrap();
    let (mut low, mut high) = (Class::default(), Class::default());
    let mut queue = VecDeque::<Work<'_>>::new();
    let mut busy: Vec<(u64, Work<'_>)> = Vec::new();
    for now in 0..seconds * 1000 {
        let counts = now >= warm * 1000;
        let arriving = if now % 5 == 0 { 6 } else { 5 };
        for index in 0..arriving {
            // The one in between, so that it is neither the first nor the last.
            let priority = if index == 3 && arriving == 6 { Priority::High } else { Priority::Low };
            let class = if priority == Priority::High { &mut high } else { &mut low };
            class.came += usize::from(counts);
            let permit = match place {
                Place::Before => match shedder.try_acquire_as(priority) {
                    Ok(permit) => Some(permit),
                    Err(_) => {
                        class.shed += usize::from(counts);
                        continue;
                    }
                },
                _ => None,
            };
            queue.push_back(Work { priority, arrived: now, permit });
        }
        while busy.len() < WORKERS
            && let Some(mut work) = queue.pop_front()
        {
            if place == Place::Behind {
                shedder.waited(MS(now - work.arrived));
                match shedder.try_acquire_as(work.priority) {
                    Ok(permit) => work.permit = Some(permit),
                    Err(_) => {
                        let class = if work.priority == Priority::High { &mut high } else { &mut low };
                        class.shed += usize::from(counts);
                        continue;
                    }
                }
            }
            busy.push((now + WORK, work));
        }
        time.advance(MS(1));
        for (_, work) in busy.extract_if(.., |(ends, _)| *ends == now + 1) {
            let class = if work.priority == Priority::High { &mut high } else { &mut low };
            if counts {
                class.took.push(now + 1 - work.arrived);
            }
            if let Some(permit) = work.permit {
                permit.settle(Verdict::Success);
            }
        }
    }
    (low, high)
}

#[test]
fn without_shedding_everybody_waits_for_ever() {
    let (_, mut high) = run(Config::default(), Place::Missing, 5, 10);
    assert!(high.percentile(50) > 4000, "half take longer than {} ms", high.percentile(50));
}

#[test]
fn under_a_limit_high_calls_keep_their_share_and_their_latency() {
    // T63
    let config = Config::default().adaptive(false).max_in_flight(40);
    let (mut low, mut high) = run(config, Place::Before, 0, 60);
    assert_eq!(high.shed, 0, "of {}", high.came);
    let (median, late) = (high.percentile(50), high.percentile(99));
    assert!(median <= 25 && late <= 30, "{median} ms, {late} ms at the 99th percentile");
    assert!(low.took.len() > 45_000, "the rest is for the low ones: {}", low.took.len());
    assert!(low.percentile(99) <= 30);
}

#[test]
fn under_a_limit_that_finds_itself_high_calls_keep_their_share_and_their_latency() {
    // T63, T57
    let (mut low, mut high) = run(Config::default(), Place::Before, 30, 90);
    assert!(high.shed_share() < 0.01, "{} of {} high calls shed", high.shed, high.came);
    let (median, late) = (high.percentile(50), high.percentile(99));
    assert!(median <= 60 && late <= 100, "{median} ms, {late} ms at the 99th percentile");
    assert!(low.took.len() > 30_000 && low.percentile(50) <= 60, "{} low ones", low.took.len());
}

#[test]
fn where_a_delay_stands_high_calls_keep_their_share_and_their_latency() {
    // T63
    let config = Config::default().adaptive(false);
    let (low, mut high) = run(config, Place::Behind, 0, 60);
    assert!(high.shed_share() < 0.01, "{} of {} high calls shed", high.shed, high.came);
    let (median, late) = (high.percentile(50), high.percentile(99));
    assert!(median <= 30 && late <= 150, "{median} ms, {late} ms at the 99th percentile");
    assert!(low.took.len() > 30_000, "the rest is for the low ones: {}", low.took.len());
}
