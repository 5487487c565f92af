//! Limits a repeated log message to once per second.

use crate::clock::Clock;
use crate::sync::{AtomicU64, Ordering};

/// Admits a log message once per second, and counts the others.
///
/// Use one limit for each cause of a message that callers can trigger.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{clock::ManualClock, observe::LogLimit};
///
/// let (time, limit) = (ManualClock::new(), LogLimit::new());
/// assert_eq!(limit.pass(&time.clock()), Some(0));
/// assert_eq!(limit.pass(&time.clock()), None);
/// time.advance(Duration::from_secs(1));
/// assert_eq!(limit.pass(&time.clock()), Some(1), "one message was suppressed");
/// ```
#[derive(Debug)]
pub struct LogLimit {
    /// When the next message is admitted, in nanoseconds.
    next: AtomicU64,
    suppressed: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl LogLimit {
    /// Creates a limit that admits the first message.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, observe::LogLimit};
    ///
    /// assert_eq!(LogLimit::new().pass(&Clock::system()), Some(0));
    /// ```
    pub fn new() -> Self {
        Self { next: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Returns whether a message is admitted, and how many were suppressed before it.
    ///
    /// `None` means that this message must be suppressed.
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
        // If the time is further away, the clock moved back.
        let waits = now < next && next - now <= SECOND;
        let until = now.saturating_add(SECOND);
        // One of several concurrent threads is admitted. Relaxed: the two values need not be consistent.
        if waits || self.next.compare_exchange(next, until, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

/// Logs a message at most once per second. Takes the limit, the clock and the level, then the arguments of
/// `tracing`. The field `suppressed` is the number of messages suppressed since the last one.
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
    fn one_message_per_second_is_admitted_and_the_next_counts_the_others() {
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
