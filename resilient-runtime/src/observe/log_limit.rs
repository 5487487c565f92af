//! A repeated message of the log, once in a second.

use crate::clock::Clock;
use crate::sync::{AtomicU64, Ordering};

/// Lets a message of the log through once in a second, and counts the others: one of these for each cause of a message
/// that callers can bring about.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{clock::ManualClock, observe::LogLimit};
///
/// let (time, limit) = (ManualClock::new(), LogLimit::new());
/// assert_eq!(limit.pass(&time.clock()), Some(0));
/// assert_eq!(limit.pass(&time.clock()), None);
/// time.advance(Duration::from_secs(1));
/// assert_eq!(limit.pass(&time.clock()), Some(1), "one was left out");
/// ```
#[derive(Debug)]
pub struct LogLimit {
    /// When the next message may come, in nanoseconds.
    next: AtomicU64,
    left_out: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl LogLimit {
    /// Lets the first message through.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, observe::LogLimit};
    ///
    /// assert_eq!(LogLimit::new().pass(&Clock::system()), Some(0));
    /// ```
    pub fn new() -> Self {
        Self { next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// How many messages were left out since the last one, if this one may be logged.
    ///
    /// ```
    /// use resilient_runtime::{clock::ManualClock, observe::LogLimit};
    ///
    /// let (clock, limit) = (ManualClock::new().clock(), LogLimit::new());
    /// assert_eq!((0..100).filter_map(|_| limit.pass(&clock)).count(), 1);
    /// ```
    pub fn pass(&self, clock: &Clock) -> Option<u64> {
        let now = clock.now().as_nanos();
        let next = self.next.load(Ordering::Relaxed);
        // Further away it can only be because the clock went back.
        let waits = now < next && next - now <= SECOND;
        let until = now.saturating_add(SECOND);
        // Of threads that come together one has the message. Relaxed: the two numbers need not fit to each other.
        if waits || self.next.compare_exchange(next, until, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

/// Logs a message at most once in a second: behind the limit, the clock and the level, as `tracing` would have it. How many
/// were left out since the last one is its field `suppressed`.
macro_rules! log_limited {
    ($limit:expr, $clock:expr, $level:ident, target: $target:expr, $($rest:tt)+) => {
        if tracing::event_enabled!(target: $target, tracing::Level::$level)
            && let Some(suppressed) = $limit.pass($clock)
        {
            let suppressed = (suppressed > 0).then_some(suppressed);
            tracing::event!(target: $target, tracing::Level::$level, suppressed, $($rest)+);
        }
    };
}

pub(crate) use log_limited;

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn of_many_messages_in_a_second_one_passes_and_the_next_counts_the_others() {
        // E1
        let (time, limit) = (ManualClock::new(), LogLimit::new());
        let clock = time.clock();
        let passed = std::sync::Mutex::new(Vec::new());
        let flood = || {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        (0..1000)
                            .filter_map(|_| limit.pass(&clock))
                            .for_each(|n| passed.lock().unwrap().push(n));
                    });
                }
            });
        };
        flood();
        assert_eq!(passed.lock().unwrap().len(), 1);
        time.advance(Duration::from_secs(1));
        assert_eq!(passed.lock().unwrap().drain(..).sum::<u64>() + limit.pass(&clock).unwrap(), 7999);
    }
}
