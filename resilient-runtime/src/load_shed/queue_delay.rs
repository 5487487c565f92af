//! Whether a queue stands: the delay that even the luckiest call of an interval had.
//!
//! A queue that comes and goes does its work; one that never empties only makes everybody late. `CoDel` (Nichols and
//! Jacobson, RFC 8289) tells them apart by the *least* delay of an interval, and Facebook's adaptation for servers
//! (Maurer, "Fail at Scale", ACM Queue 13.8) by that of fixed intervals, as here. What follows from it is `WeChat`'s
//! (Zhou et al., "Overload Control for Scaling `WeChat` Microservices", `SoCC` 2018): not single calls are dropped, but
//! classes of them, the lowest first, and they are let back in step by step.
//!
//! - Over its target for an interval, the lowest class that is still admitted, in part or whole, is shed.
//! - Where the delay falls by an eighth from one interval to the next, what was shed is enough: nothing more is.
//! - Below it, an eighth of a class comes back at each interval. So is it where nothing was measured.
//! - Critical calls are never shed.

use std::time::Duration;

use super::config::Config;
use super::dice::{Dice, meets, odds};
use crate::clock::{Instant, nanos};
use crate::priority::Priority;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering};

/// What is measured, each with a least of its own: the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// The time in a queue before the shedder, as the caller says.
    Arrival,
    /// The time in the queue of the bulkhead behind it.
    Queue,
    /// The time from admission to the end.
    Latency,
}

/// In how many steps a class comes back.
const STEPS: u32 = 8;
/// With all classes but the highest shed.
const HIGHEST: u32 = 3 * STEPS;
/// A minute, in nanoseconds. A time that is up to this much older than the interval is that of a call whose thread was
/// stopped before it reported. An older time shows that the clock went back.
const LATE: u64 = 60_000_000_000;
/// Nothing was measured, or nothing is to be.
const NONE: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct QueueDelay {
    /// When the interval ends.
    ends: AtomicU64,
    /// Its length.
    interval: AtomicU64,
    /// By [`Measure`]: the least of this interval.
    least: [AtomicU64; 3],
    /// How much is shed: [`STEPS`] for a class. Relaxed, as all here: a call may go by that of a moment ago.
    level: AtomicU32,
    past: Mutex<Past>,
}

#[derive(Debug)]
struct Past {
    /// By [`Measure`].
    targets: [u64; 3],
    /// The leasts of the interval before.
    least: [u64; 3],
}

/// The classes of which some calls are shed, before and after.
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

    /// The level survives, and the interval that runs ends when it would have, if that is not later.
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

    /// Takes note of a delay. To be called after [`turn`](Self::turn).
    #[inline]
    pub(super) fn sample(&self, measure: Measure, delay: u64) {
        let least = &self.least[measure as usize];
        if delay < least.load(Ordering::Relaxed) {
            least.fetch_min(delay, Ordering::Relaxed);
        }
    }

    /// Whether the interval is over: [`turn`](Self::turn) is to be called. One comparison for this and for a clock
    /// that went back: the distance wraps around once `now` has reached the end.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let ahead = self.ends.load(Ordering::Relaxed).wrapping_sub(now.as_nanos()).wrapping_sub(1);
        ahead >= self.interval.load(Ordering::Relaxed).saturating_add(LATE)
    }

    /// Ends the intervals that are over. Of several threads one does, and the others do not wait. A change is told to `put`
    /// under the lock, before anybody can be shed by it.
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
        // More that have passed since without anything measured in them.
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

    /// The chance of a call of this class to be shed: `None` for never, as what a roll of the dice must be below.
    #[inline]
    fn odds(&self, priority: Priority) -> Option<u32> {
        let level = self.level.load(Ordering::Relaxed);
        match level.saturating_sub(priority as u32 * STEPS) {
            0 => None,
            steps if steps >= STEPS => Some(u32::MAX),
            steps => Some(odds(f64::from(steps) / f64::from(STEPS))),
        }
    }

    /// Whether calls of this class may be shed now.
    #[inline]
    pub(super) fn sheds(&self, priority: Priority) -> bool {
        self.odds(priority).is_some()
    }

    /// Whether this call is.
    pub(super) fn shed(&self, priority: Priority, dice: &Dice) -> bool {
        self.odds(priority).is_some_and(|odds| odds == u32::MAX || meets(dice.roll(), odds))
    }

    /// The highest class of which calls are shed.
    pub(super) fn highest(&self) -> Option<Priority> {
        highest(self.level.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(super) fn level(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    /// The leasts of the last whole interval: of the time in queues, and from admission to the end.
    pub(super) fn least(&self) -> (Option<Duration>, Option<Duration>) {
        let [arrival, queue, latency] = self.past.lock().least;
        let span = |nanos: u64| (nanos != NONE).then(|| Duration::from_nanos(nanos));
        (span(arrival).max(span(queue)), span(latency))
    }
}

impl Past {
    /// The level after an interval with these leasts.
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
        // Its thread was stopped for some seconds between its end and its report.
        assert!(!delay.is_due(at(9_000)) && !delay.is_due(at(1)));
    }
}
