//! T63: simulates how a flood of low calls affects high calls, in virtual time.
//!
//! Ten workers need 10 ms for each call, so they can handle 1000 calls per second. 5000 low and 200 high calls arrive
//! per second. Admitted calls wait for a worker in order of arrival: the queue ignores priorities.

use std::collections::VecDeque;

use super::*;
use crate::clock::ManualClock;
use crate::registry::Registry;

const MS: fn(u64) -> Duration = Duration::from_millis;
const WORKERS: usize = 10;
const WORK: u64 = 10;

/// The position of the shedder.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// There is none.
    Missing,
    /// Before the queue: admitted calls wait for a worker.
    Before,
    /// After the queue, as in a server whose requests wait to be read: a worker takes a call, then the shedder
    /// decides.
    Behind,
}

#[derive(Default)]
struct Class {
    came: usize,
    shed: usize,
    /// In milliseconds, of completed calls.
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

/// Returns the low and the high class after `seconds`. The first `warm` seconds are not counted.
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
            // In the middle, so that it is not the first or the last.
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
fn without_shedding_all_calls_wait_too_long() {
    let (_, mut high) = run(Config::default(), Place::Missing, 5, 10);
    assert!(high.percentile(50) > 4000, "median of {} ms", high.percentile(50));
}

#[test]
fn under_a_limit_high_calls_keep_their_share_and_their_latency() {
    // T63
    let config = Config::default().adaptive(false).max_in_flight(40);
    let (mut low, mut high) = run(config, Place::Before, 0, 60);
    assert_eq!(high.shed, 0, "of {}", high.came);
    let (median, late) = (high.percentile(50), high.percentile(99));
    assert!(median <= 25 && late <= 30, "{median} ms, {late} ms at the 99th percentile");
    assert!(low.took.len() > 45_000, "low calls use the rest: {}", low.took.len());
    assert!(low.percentile(99) <= 30);
}

#[test]
fn under_an_adaptive_limit_high_calls_keep_their_share_and_their_latency() {
    // T63, T57
    let (mut low, mut high) = run(Config::default(), Place::Before, 30, 90);
    assert!(high.shed_share() < 0.01, "{} of {} high calls shed", high.shed, high.came);
    let (median, late) = (high.percentile(50), high.percentile(99));
    assert!(median <= 60 && late <= 100, "{median} ms, {late} ms at the 99th percentile");
    assert!(low.took.len() > 30_000 && low.percentile(50) <= 60, "{} low calls", low.took.len());
}

#[test]
fn with_a_standing_delay_high_calls_keep_their_share_and_their_latency() {
    // T63
    let config = Config::default().adaptive(false);
    let (low, mut high) = run(config, Place::Behind, 0, 60);
    assert!(high.shed_share() < 0.01, "{} of {} high calls shed", high.shed, high.came);
    let (median, late) = (high.percentile(50), high.percentile(99));
    assert!(median <= 30 && late <= 150, "{median} ms, {late} ms at the 99th percentile");
    assert!(low.took.len() > 30_000, "low calls use the rest: {}", low.took.len());
}
