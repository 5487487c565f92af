//! Compares the two rules that keep state with simple models.

use proptest::prelude::*;

use super::throttle::{Ledger, ThrottleRule};
use super::*;
use crate::classify::Verdict;
use crate::clock::ManualClock;
use crate::registry::Registry;

const DOWN: Verdict = Verdict::Failure(Class::TRANSIENT);

// Standing delay -----------------------------------------------------------------------------------------

/// In milliseconds.
const INTERVAL: u64 = 100;
const TARGET: u64 = 20;

#[derive(Clone, Debug)]
enum Step {
    Waited(u64),
    Queued(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![0..25u64, 20..200u64];
    prop_oneof![
        3 => delay.clone().prop_map(Step::Waited),
        1 => delay.prop_map(Step::Queued),
        4 => (0..40u64).prop_map(Step::Pass),
        1 => (0..700u64).prop_map(Step::Pass),
    ]
}

/// Stores every delay with its time, and calculates the level from the beginning each time.
#[derive(Default)]
struct Model {
    now: u64,
    arrival: Vec<(u64, u64)>,
    queue: Vec<(u64, u64)>,
}

impl Model {
    fn least(of: &[(u64, u64)], interval: u64) -> Option<u64> {
        of.iter().filter(|(at, _)| at / INTERVAL == interval).map(|(_, delay)| *delay).min()
    }

    fn level(&self) -> u32 {
        let mut level = 0_u32;
        for interval in 0..self.now / INTERVAL {
            let mut over = false;
            let mut stands = false;
            for of in [&self.arrival, &self.queue] {
                let before = interval.checked_sub(1).and_then(|before| Self::least(of, before));
                let Some(now) = Self::least(of, interval).filter(|now| *now > TARGET) else { continue };
                over = true;
                // In nanoseconds the division is more precise.
                stands |= before.is_none_or(|before| now * 8 > before * 7);
            }
            level = match (stands, over) {
                (true, _) => (level / 8 * 8 + 8).min(24),
                (false, true) => level,
                (false, false) => level.saturating_sub(1),
            };
        }
        level
    }
}

proptest! {
    #[test]
    fn the_level_of_shedding_matches_the_model(steps in prop::collection::vec(step(), 1..200)) {
        let time = ManualClock::new();
        let shedder = Registry::with_seed(time.clock(), 7).load_shedder("x");
        shedder.reconfigure(Config::default().adaptive(false)).unwrap();
        shedder.reset();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Waited(delay) => {
                    shedder.waited(Duration::from_millis(delay));
                    model.arrival.push((model.now, delay));
                }
                Step::Queued(delay) => {
                    let nanos = nanos(Duration::from_millis(delay));
                    shedder.queued(nanos, time.clock().now());
                    model.queue.push((model.now, delay));
                }
                Step::Pass(millis) => {
                    time.advance(Duration::from_millis(millis));
                    model.now += millis;
                }
            }
            let level = model.level();
            shedder.keep_up(time.clock().now());
            prop_assert_eq!(shedder.queue_delay.level(), level, "at {} ms", model.now);
            let highest = level.div_ceil(8).checked_sub(1).map(|class| Priority::ALL[class as usize]);
            prop_assert_eq!(shedder.stats().shedding, highest);
        }
    }
}

// Throttle -----------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Call {
    /// This number of calls of a class, accepted or not.
    Ended(usize, bool, u32),
    Pass(u64),
    Reset,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (0..4usize, any::<bool>(), 1..30u32).prop_map(|(class, ok, calls)| Call::Ended(class, ok, calls)),
        3 => (0..4000u64).prop_map(Call::Pass),
        1 => (0..60_000u64).prop_map(Call::Pass),
        1 => Just(Call::Reset),
    ]
}

/// Bucket width of a window of 20 s.
const BUCKET: u64 = 1000;

proptest! {
    #[test]
    fn the_window_of_the_throttle_matches_the_model(calls in prop::collection::vec(call(), 1..100)) {
        let time = ManualClock::new();
        let shedder = Registry::with_seed(time.clock(), 7).load_shedder("x");
        let config = Config::default().adaptive(false).throttle(true).throttle_window(Duration::from_secs(20));
        shedder.reconfigure(config.clone()).unwrap();
        // Starts the buckets now.
        shedder.reset();
        let mut now = 0;
        // All calls, sent or rejected.
        let mut log: Vec<(u64, usize, bool)> = Vec::new();
        for call in calls {
            match call {
                Call::Ended(class, accepted, calls) => {
                    for _ in 0..calls {
                        let sent = shedder.try_acquire_as(Priority::ALL[class]).map(|permit| {
                            permit.settle(if accepted { Verdict::Success } else { DOWN });
                        });
                        log.push((now, class, accepted && sent.is_ok()));
                    }
                }
                Call::Pass(millis) => {
                    time.advance(Duration::from_millis(millis));
                    now += millis;
                }
                Call::Reset => {
                    shedder.reset();
                    log.clear();
                    // The buckets start again, and so does the model's time.
                    now = 0;
                }
            }
            let first = (now / BUCKET).saturating_sub(19) * BUCKET;
            let read = shedder.throttle.read(time.clock().now(), &shedder.counters.calls, stats::REQUESTS);
            for (class, (ledger, chance)) in read.into_iter().enumerate() {
                let inside = log.iter().filter(|(at, of, _)| *of == class && *at >= first);
                let (requests, accepts) =
                    inside.fold((0, 0), |(all, ok), (_, _, accepted)| (all + 1, ok + u32::from(*accepted)));
                prop_assert_eq!(ledger, Ledger { requests, accepts }, "class {} at {} ms", class, now);
                let wanted = (f64::from(requests) - 2.0 * f64::from(accepts)) / (f64::from(requests) + 1.0);
                let wanted = if requests < 20 { 0.0 } else { wanted.clamp(0.0, 0.9) };
                prop_assert!((chance - wanted).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn the_result_is_a_valid_probability_for_any_counts(requests: u32, accepts: u32, factor in 1.0..100.0, floor in 0.01..=1.0) {
        let chance = ThrottleRule { factor, floor, min_calls: 1 }.chance(requests, accepts);
        prop_assert!((0.0..=1.0 - floor).contains(&chance));
    }
}
