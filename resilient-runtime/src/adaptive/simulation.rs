//! Simulates the limit against a dependency in virtual time.
//!
//! Events are ordered by time, seeds are fixed, and no clock is read.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{AdaptiveLimit, AdaptiveLimitStats, LimitReason, Sample};
use crate::clock::Instant;

const MS: fn(u64) -> Duration = Duration::from_millis;
const MINUTE: Duration = Duration::from_mins(1);
const SEEDS: [u64; 3] = [1, 0xD1CE, 0x5EED_5EED];

/// How the dependency responds to more calls than it can work on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Overload {
    /// Calls wait in a queue.
    Queue,
    /// All calls are worked on at once, and each is slower.
    Share,
}

/// A dependency and its clients.
struct World {
    limit: AdaptiveLimit,
    overload: Overload,
    /// The number of calls that the dependency works on at once.
    capacity: u32,
    service: Duration,
    /// The standard deviation of the logarithm of a call's work.
    noise: f64,
    /// The number of calls that clients want to have in flight.
    demand: u32,
    /// The share of calls that fail, and the time after which they do.
    failing: f64,
    fails_after: Duration,
    /// The time after which the caller gives up.
    patience: Option<Duration>,
    random: SmallRng,
    now: u64,
    in_flight: u32,
    working: u32,
    /// Arrival times.
    queue: VecDeque<u64>,
    /// End time, arrival time, and whether the call fails.
    ends: BinaryHeap<Reverse<(u64, u64, bool)>>,
}

/// The range of the limit during a run.
#[derive(Clone, Copy, Debug)]
struct Seen {
    lowest: u32,
    highest: u32,
    /// Weighted by time.
    mean: f64,
}

impl World {
    fn new(limit: AdaptiveLimit, capacity: u32, noise: f64, seed: u64) -> Self {
        Self {
            limit,
            overload: Overload::Queue,
            capacity,
            service: MS(100),
            noise,
            demand: u32::MAX,
            failing: 0.0,
            fails_after: MS(1),
            patience: None,
            random: SmallRng::seed_from_u64(seed),
            now: 1_000_000_000,
            in_flight: 0,
            working: 0,
            queue: VecDeque::new(),
            ends: BinaryHeap::new(),
        }
    }

    /// The sum of twelve uniform values approximates a normal distribution.
    fn noise(&mut self) -> f64 {
        let normal = (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0;
        (normal * self.noise).exp()
    }

    fn arrive(&mut self) {
        self.in_flight += 1;
        if self.failing > 0.0 && self.random.random::<f64>() < self.failing {
            self.working += 1;
            let end = self.now + nanos(self.fails_after);
            self.ends.push(Reverse((end, self.now, true)));
        } else if self.overload == Overload::Share || self.working < self.capacity {
            self.work(self.now);
        } else {
            self.queue.push_back(self.now);
        }
    }

    fn work(&mut self, arrived: u64) {
        self.working += 1;
        let crowd = match self.overload {
            Overload::Queue => 1.0,
            Overload::Share => (f64::from(self.working) / f64::from(self.capacity)).max(1.0),
        };
        let took = nanos_f64(self.service.as_secs_f64() * crowd * self.noise());
        self.ends.push(Reverse((self.now + took, arrived, false)));
    }

    /// Runs for `span`. Returns the range of the limit.
    fn run(&mut self, span: Duration) -> Seen {
        let (begin, until) = (self.now, self.now + nanos(span));
        let limit = self.limit.limit();
        let (mut seen, mut area) = (Seen { lowest: limit, highest: limit, mean: 0.0 }, 0.0);
        loop {
            let limit = self.limit.limit();
            seen.lowest = seen.lowest.min(limit);
            seen.highest = seen.highest.max(limit);
            while self.in_flight < limit.min(self.demand) {
                self.arrive();
            }
            let next = self.ends.peek().map_or(until, |Reverse((end, ..))| *end);
            area += f64::from(limit) * (next.min(until) - self.now) as f64;
            if next >= until {
                self.now = until;
                seen.mean = area / (until - begin) as f64;
                return seen;
            }
            self.end();
        }
    }

    fn end(&mut self) {
        let Some(Reverse((end, arrived, failed))) = self.ends.pop() else { return };
        self.now = end;
        let (started, now) = (Instant::from_nanos(arrived), Instant::from_nanos(end));
        let late = self.patience.is_some_and(|patience| now.since(started) > patience);
        let sample = match (failed, late) {
            (true, _) => Sample::Failed,
            (_, true) => Sample::CutOff,
            _ => Sample::Success,
        };
        self.limit.sample(started, now, self.in_flight, sample);
        self.in_flight -= 1;
        self.working -= 1;
        if self.working < self.capacity
            && let Some(next) = self.queue.pop_front()
        {
            self.work(next);
        }
    }

    fn stats(&self) -> AdaptiveLimitStats {
        self.limit.stats()
    }
}

fn nanos(span: Duration) -> u64 {
    crate::clock::nanos(span)
}

fn nanos_f64(seconds: f64) -> u64 {
    nanos(Duration::from_secs_f64(seconds))
}

fn default_limit() -> AdaptiveLimit {
    AdaptiveLimit::new(20, 1, 200)
}

/// Returns a world that has found its limit: after a minute, about 80 windows.
fn warm(capacity: u32, noise: f64, seed: u64) -> World {
    let mut world = World::new(default_limit(), capacity, noise, seed);
    world.run(MINUTE);
    world
}

impl World {
    /// Runs for `within` and then `then` windows. Returns the range of the limit in the second part, and the lowest
    /// limit of both.
    fn run_windows(&mut self, within: u64, then: u64) -> (Seen, u32) {
        let begin = self.stats().windows;
        let mut lowest = u32::MAX;
        while self.stats().windows < begin + within {
            lowest = lowest.min(self.run(MS(50)).lowest);
        }
        let limit = self.limit.limit();
        let mut seen = Seen { lowest: limit, highest: limit, mean: f64::from(limit) };
        while self.stats().windows < begin + within + then {
            let slice = self.run(MS(50));
            seen.lowest = seen.lowest.min(slice.lowest);
            seen.highest = seen.highest.max(slice.highest);
        }
        (seen, lowest.min(seen.lowest))
    }

    /// Asserts that the limit converges to the range `to` within that many windows, stays there, and never falls to
    /// `pinned`.
    fn converges(&mut self, within: u64, to: RangeInclusive<u32>, pinned: u32) {
        let (seen, lowest) = self.run_windows(within, 40);
        let stays = to.contains(&seen.lowest) && to.contains(&seen.highest);
        assert!(stays && lowest > pinned, "{seen:?}, lowest {lowest}, {:?}", self.stats());
    }
}

#[test]
fn under_saturating_demand_it_stays_at_the_capacity_of_40() {
    // T57: after a minute, including probes.
    for overload in [Overload::Queue, Overload::Share] {
        for noise in [0.05, 0.3] {
            let mut world = World::new(default_limit(), 40, noise, SEEDS[0]);
            world.overload = overload;
            world.run(MINUTE);
            let seen = world.run(MINUTE * 30);
            let stays = seen.lowest >= 30 && seen.highest <= 60;
            assert!(stays, "{overload:?}, noise {noise}: {seen:?}, {:?}", world.stats());
            assert!((40.0..52.0).contains(&seen.mean), "{seen:?}");
        }
    }
}

#[test]
fn it_stays_there_for_hours_with_any_seed() {
    // T57
    for seed in &SEEDS[1..] {
        let mut world = warm(40, 0.3, *seed);
        for _ in 0..3 {
            let seen = world.run(MINUTE * 30);
            assert!(seen.lowest >= 30 && seen.highest <= 60, "seed {seed}: {seen:?}, {:?}", world.stats());
        }
    }
}

#[test]
fn it_does_not_exceed_twice_a_capacity_of_4() {
    // T58
    for overload in [Overload::Queue, Overload::Share] {
        for noise in [0.05, 0.3] {
            for seed in SEEDS {
                let mut world = World::new(default_limit(), 4, noise, seed);
                world.overload = overload;
                world.run(MINUTE);
                let seen = world.run(MINUTE * 30);
                assert!(seen.highest <= 8, "{overload:?}, noise {noise}: {seen:?}, {:?}", world.stats());
                assert!(seen.mean > 4.0, "{seen:?}");
            }
        }
    }
}

#[test]
fn a_threefold_slowdown_of_the_dependency_and_its_end_leave_the_limit_unchanged() {
    // T60: within 20 windows both ways, and never below 15.
    for seed in SEEDS {
        for noise in [0.05, 0.3] {
            let mut world = warm(40, noise, seed);
            world.service = MS(300);
            world.converges(20, 30..=60, 15);
            world.service = MS(100);
            world.converges(20, 30..=60, 15);
        }
    }
}

#[test]
fn it_follows_a_capacity_that_falls_to_a_third_and_comes_back() {
    // T60
    for seed in SEEDS {
        for noise in [0.05, 0.3] {
            let mut world = warm(40, noise, seed);
            world.capacity = 13;
            world.converges(20, 7..=20, 4);
            world.capacity = 40;
            world.converges(20, 30..=60, 4);
        }
    }
}

#[test]
fn the_limit_recovers_after_an_outage_that_cut_off_all_calls() {
    // T60
    let mut world = warm(40, 0.3, SEEDS[0]);
    world.patience = Some(MS(400));
    world.service = Duration::from_secs(2);
    let (seen, _) = world.run_windows(10, 5);
    assert_eq!((seen.highest, world.stats().reason), (1, LimitReason::Overloaded));
    world.service = MS(100);
    world.converges(30, 30..=60, 0);
}

#[test]
fn it_does_not_grow_at_demand_far_below_the_limit() {
    let mut fresh = World::new(default_limit(), 40, 0.3, SEEDS[0]);
    fresh.demand = 5;
    let seen = fresh.run(MINUTE * 10);
    assert_eq!((seen.lowest, seen.highest, fresh.stats().reason), (20, 20, LimitReason::LowDemand));
    let mut grown = warm(40, 0.3, SEEDS[0]);
    grown.demand = 5;
    // The calls in flight must end first.
    grown.run(Duration::from_secs(2));
    let limit = grown.stats().limit;
    let seen = grown.run(MINUTE * 10);
    assert_eq!((seen.lowest, seen.highest), (limit, limit));
}

#[test]
fn a_slowdown_at_low_demand_does_not_cut_it() {
    // T60: there are too few calls to wait for each other.
    let mut world = World::new(default_limit(), 40, 0.3, SEEDS[0]);
    world.demand = 5;
    world.run(MINUTE);
    world.service = MS(300);
    assert_eq!(world.run(MINUTE * 5).lowest, 20);
}

#[test]
fn it_adapts_to_calls_of_50_microseconds() {
    let mut world = World::new(default_limit(), 4, 0.3, SEEDS[0]);
    world.service = Duration::from_micros(50);
    world.run(Duration::from_secs(4));
    let seen = world.run(Duration::from_secs(2));
    assert!(seen.lowest >= 2 && seen.highest <= 8, "{seen:?}, {:?}", world.stats());
    world.capacity = 12;
    world.run(Duration::from_secs(4));
    let seen = world.run(Duration::from_secs(1));
    assert!(seen.lowest >= 7 && seen.highest <= 19, "{seen:?}, {:?}", world.stats());
}

#[test]
fn fast_failures_do_not_raise_the_limit() {
    // T62
    let mut cold = World::new(default_limit(), 40, 0.3, SEEDS[0]);
    cold.failing = 1.0;
    assert_eq!(cold.run(Duration::from_secs(20)).highest, 20);
    let mut known = warm(40, 0.3, SEEDS[0]);
    known.failing = 1.0;
    known.run(Duration::from_secs(2));
    let limit = known.stats().limit;
    assert!(known.run(Duration::from_secs(20)).highest <= limit.max(50));
    let mut half = warm(4, 0.3, SEEDS[0]);
    half.failing = 0.5;
    half.run(MINUTE);
    let seen = half.run(MINUTE * 10);
    assert!(seen.highest <= 8, "{seen:?}, {:?}", half.stats());
}
