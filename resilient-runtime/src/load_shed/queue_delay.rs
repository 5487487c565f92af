//! Detects a standing queue by the shortest delay of an interval.
//!
//! A queue that empties from time to time absorbs bursts. A queue that never empties only delays every call. `CoDel`
//! (Nichols and Jacobson, RFC 8289) distinguishes them by the *shortest* delay of an interval. Facebook's adaptation
//! for servers (Maurer, "Fail at Scale", ACM Queue 13.8) uses fixed intervals, as this module does. The response
//! follows `WeChat` (Zhou et al., "Overload Control for Scaling `WeChat` Microservices", `SoCC` 2018): it sheds whole
//! classes of calls, the lowest first, and admits them again step by step.
//!
//! - If the delay is over its target for an interval, the lowest class that is still fully or partly admitted is
//!   shed.
//! - If the delay falls by an eighth from one interval to the next, no further class is shed.
//! - If the delay is below its target, or nothing was measured, an eighth of a class is admitted again per interval.
//! - Critical calls are never shed.

use std::time::Duration;

use super::config::Config;
use super::dice::{Dice, meets, odds};
use crate::clock::{Instant, nanos};
use crate::priority::Priority;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};

/// The kinds of delays. Each has its own minimum, and the worst one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// The time in a queue before the shedder, as reported by the caller.
    Arrival,
    /// The time in the queue of the bulkhead behind the shedder.
    Queue,
    /// The time from admission to the end.
    Latency,
}

/// Number of steps in which a class is admitted again.
const STEPS: u32 = 8;
/// The level at which all classes but the highest are shed.
const HIGHEST: u32 = 3 * STEPS;
/// One minute in nanoseconds. A reading that is older than the interval by up to this much comes from a thread that
/// was suspended before it reported. An older reading means that the clock stepped back.
const LATE: u64 = 60_000_000_000;
/// Nothing was measured, or measuring is off.
const NONE: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct QueueDelay {
    /// End of the interval.
    ends: AtomicU64,
    /// Length of the interval.
    interval: AtomicU64,
    /// By [`Measure`]: the shortest delay of this interval.
    least: [AtomicU64; 3],
    /// How much is shed: [`STEPS`] per class. Relaxed, like all here: a call can use a slightly older value.
    level: AtomicU32,
    past: Mutex<Past>,
}

#[derive(Debug)]
struct Past {
    /// By [`Measure`].
    targets: [u64; 3],
    /// The shortest delays of the interval before.
    least: [u64; 3],
}

/// The highest class that is partly or fully shed, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: Option<Priority>,
    pub(super) to: Option<Priority>,
}

impl QueueDelay {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let queue_delay = Self {
            ends: AtomicU64::new(now.as_nanos()),
            interval: AtomicU64::new(1),
            least: std::array::from_fn(|_| AtomicU64::new(NONE)),
            level: AtomicU32::new(0),
            past: Mutex::new(Past { targets: [NONE; 3], least: [NONE; 3] }),
        };
        queue_delay.apply(config);
        queue_delay
    }

    /// Applies new settings. The level stays. The current interval gets the new length.
    pub(super) fn apply(&self, config: &Config) {
        let mut past = self.past.lock();
        let delay = nanos(config.target_delay);
        past.targets = [delay, delay, config.target_latency.map_or(NONE, nanos)];
        let (old, new) = (self.interval.load(Ordering::Relaxed), nanos(config.interval).max(1));
        let ends = self.ends.load(Ordering::Relaxed);
        self.ends.store(ends.saturating_sub(old).saturating_add(new), Ordering::Relaxed);
        self.interval.store(new, Ordering::Relaxed);
    }

    pub(super) fn clear(&self, now: Instant) {
        let mut past = self.past.lock();
        past.least = [NONE; 3];
        self.least.iter().for_each(|least| least.store(NONE, Ordering::Relaxed));
        self.level.store(0, Ordering::Relaxed);
        let interval = self.interval.load(Ordering::Relaxed);
        self.ends.store(now.as_nanos().saturating_add(interval), Ordering::Relaxed);
    }

    /// Records a delay. Must be called after [`turn`](Self::turn).
    #[inline]
    pub(super) fn sample(&self, measure: Measure, delay: u64) {
        let least = &self.least[measure as usize];
        if delay < least.load(Ordering::Relaxed) {
            least.fetch_min(delay, Ordering::Relaxed);
        }
    }

    /// Whether the interval has ended, so that [`turn`](Self::turn) must be called.
    ///
    /// One comparison covers this and a clock that stepped back: the difference wraps around once `now` has reached
    /// the end.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let ahead = self.ends.load(Ordering::Relaxed).wrapping_sub(now.as_nanos()).wrapping_sub(1);
        ahead >= self.interval.load(Ordering::Relaxed).saturating_add(LATE)
    }

    /// Ends the intervals that are over.
    ///
    /// One of several threads does this, and the others do not wait. A change is passed to `put` under the lock,
    /// before any call can be shed because of it.
    #[cold]
    pub(super) fn turn(&self, now: Instant, put: impl FnOnce(&Change)) -> Option<Change> {
        let mut past = self.past.try_lock()?;
        if !self.is_due(now) {
            return None;
        }
        let interval = self.interval.load(Ordering::Relaxed);
        let ends = self.ends.load(Ordering::Relaxed);
        let before = self.level.load(Ordering::Relaxed);
        let least = std::array::from_fn(|measure| self.least[measure].swap(NONE, Ordering::Relaxed));
        // Further intervals that have passed without measurements.
        let idle = now.as_nanos().saturating_sub(ends) / interval;
        let after = past.judge(before, least);
        let after = after.saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX));
        if idle > 0 {
            past.least = [NONE; 3];
        }
        let (from, to) = (highest(before), highest(after));
        let change = (from != to).then_some(Change { from, to });
        if let Some(change) = &change {
            put(change);
        }
        self.level.store(after, Ordering::Relaxed);
        let next = if now.as_nanos() < ends {
            now.as_nanos().saturating_add(interval)
        } else {
            ends.saturating_add((idle + 1).saturating_mul(interval))
        };
        self.ends.store(next, Ordering::Relaxed);
        change
    }

    /// Returns the odds that a call of this class is shed, as the bound for a roll. `None` if it is never shed.
    #[inline]
    fn odds(&self, priority: Priority) -> Option<u32> {
        let level = self.level.load(Ordering::Relaxed);
        match level.saturating_sub(priority as u32 * STEPS) {
            0 => None,
            steps if steps >= STEPS => Some(u32::MAX),
            steps => Some(odds(f64::from(steps) / f64::from(STEPS))),
        }
    }

    /// Whether calls of this class can be shed now.
    #[inline]
    pub(super) fn sheds(&self, priority: Priority) -> bool {
        self.odds(priority).is_some()
    }

    /// Whether to shed this call.
    pub(super) fn shed(&self, priority: Priority, dice: &Dice) -> bool {
        self.odds(priority).is_some_and(|odds| odds == u32::MAX || meets(dice.roll(), odds))
    }

    /// Returns the highest class that is partly or fully shed.
    pub(super) fn highest(&self) -> Option<Priority> {
        highest(self.level.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(super) fn level(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    /// Returns the shortest delays of the last interval: in queues, and from admission to the end.
    pub(super) fn least(&self) -> (Option<Duration>, Option<Duration>) {
        let [arrival, queue, latency] = self.past.lock().least;
        let span = |nanos: u64| (nanos != NONE).then(|| Duration::from_nanos(nanos));
        (span(arrival).max(span(queue)), span(latency))
    }
}

impl Past {
    /// Returns the level after an interval with these shortest delays.
    fn judge(&mut self, level: u32, least: [u64; 3]) -> u32 {
        let (mut is_over, mut stands) = (false, false);
        for (measure, now) in least.into_iter().enumerate() {
            if now == NONE || now <= self.targets[measure] {
                continue;
            }
            is_over = true;
            let before = self.least[measure];
            stands |= before == NONE || now > before - before / 8;
        }
        self.least = least;
        if stands {
            ((level / STEPS + 1) * STEPS).min(HIGHEST)
        } else if is_over {
            level
        } else {
            level.saturating_sub(1)
        }
    }
}

fn highest(level: u32) -> Option<Priority> {
    let classes = level.div_ceil(STEPS) as usize;
    Priority::ALL.get(classes.checked_sub(1)?).copied()
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_reported_late_does_not_end_an_interval() {
        // T156
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let config =
            Config::default().target_delay(Duration::from_millis(1)).interval(Duration::from_millis(100));
        let delay = QueueDelay::new(&config, at(10_000));
        delay.turn(at(10_000), |_| ());
        assert!(!delay.is_due(at(10_050)) && delay.is_due(at(10_200)));
        // Its thread was suspended for some seconds between the end of the call and its report.
        assert!(!delay.is_due(at(9_000)) && !delay.is_due(at(1)));
    }
}
