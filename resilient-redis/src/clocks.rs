//! The clocks of the servers, and a warning if they differ.
//!
//! All times of a record are measured by the clock of its server. After a failover or a move of a slot, that is another clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A smaller difference is not logged.
const ALLOWED: Duration = Duration::from_secs(1);
/// The clock of this machine may gain or lose one part in so many.
const DRIFT: u32 = 10_000;
/// Maximum number of servers whose clocks are remembered.
const MOST: usize = 256;

/// The clock of a server. Each connection has its own.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<(u64, Instant)>);

impl Clock {
    /// `micros` is the time on the server that was just received.
    pub(crate) fn new(micros: u64) -> Self {
        Self(Mutex::new((micros, Instant::now())))
    }

    /// Notes the time on the server in a response, in microseconds.
    pub(crate) fn set(&self, micros: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (micros, Instant::now());
    }

    /// The time on the server at `at`, in microseconds, or earlier by at most the last response's time on the network.
    pub(crate) fn time(&self, at: Instant) -> u64 {
        let (micros, received) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = at.saturating_duration_since(received).as_micros();
        micros.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// How much the clock may have moved against the one of this machine since the last response.
    fn drift(&self, at: Instant) -> Duration {
        let (_, received) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.saturating_duration_since(received) / DRIFT
    }
}

/// The clocks of the servers of a store, the one that was connected last at the end.
#[derive(Debug, Default)]
pub(crate) struct Clocks(Mutex<Vec<(Arc<str>, Arc<Clock>)>>);

/// A clock that differs from another one.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    other: Arc<str>,
    is_ahead: bool,
    by: Duration,
}

impl Clocks {
    /// Compares the clock of a server that is connected now, and logs a warning if it differs.
    ///
    /// `delay` is how long the server took to return its time.
    pub(crate) fn compare(&self, address: &Arc<str>, clock: &Arc<Clock>, delay: Duration) {
        let Some(Difference { other, is_ahead, by }) = self.difference(address, clock, delay) else { return };
        let (relation, effect) = if is_ahead { ("ahead of", "earlier") } else { ("behind", "later") };
        tracing::warn!(
            target: "resilient_redis", address = &**address, other = &*other, difference = ?by,
            "the clock of the server is {relation} the clock of the server used before: records from there expire {effect} by the \
             difference; synchronize the clocks of the servers"
        );
    }

    /// A new server is compared with the one that was connected before it, and a known one with itself, which finds each
    /// difference once.
    fn difference(&self, address: &Arc<str>, clock: &Arc<Clock>, delay: Duration) -> Option<Difference> {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.iter().position(|(known, _)| known == address).map(|index| known.remove(index));
        let found = same.as_ref().or(known.last()).and_then(|(other, before)| {
            let (time, expected) = (clock.time(now), before.time(now));
            let by = Duration::from_micros(time.abs_diff(expected));
            let differs = by > ALLOWED + delay + before.drift(now);
            differs.then(|| Difference { other: Arc::clone(other), is_ahead: time > expected, by })
        });
        if known.len() >= MOST {
            known.remove(0);
        }
        known.push((Arc::clone(address), Arc::clone(clock)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// Connects to a server at this time on it. Returns the other server with a different clock, and the seconds.
    fn connect(clocks: &Clocks, address: &str, seconds: u64) -> Option<(String, i64)> {
        let clock = Arc::new(Clock::new(seconds * SECOND));
        let found = clocks.difference(&address.into(), &clock, Duration::ZERO)?;
        let by = i64::try_from(found.by.as_secs()).unwrap();
        Some((found.other.to_string(), if found.is_ahead { by } else { -by }))
    }

    #[tokio::test(start_paused = true)]
    async fn each_difference_between_two_clocks_is_found_once() {
        let clocks = Clocks::default();
        assert_eq!(connect(&clocks, "a", 1000), None);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(connect(&clocks, "a", 1100), None, "time has passed");
        assert_eq!(connect(&clocks, "b", 1101), None, "small");
        assert_eq!(connect(&clocks, "c", 1105), Some(("b".to_owned(), 4)));
        for (address, seconds) in [("a", 1100), ("c", 1105), ("b", 1101)] {
            assert_eq!(connect(&clocks, address, seconds), None, "{address} is known");
        }
        assert_eq!(connect(&clocks, "b", 1091), Some(("b".to_owned(), -10)), "it was set");
        assert_eq!(connect(&clocks, "d", 1100), Some(("b".to_owned(), 9)));
        tokio::time::advance(Duration::from_secs(100_000)).await;
        assert_eq!(connect(&clocks, "d", 101_105), None, "the clock of this machine is not exact");
        assert_eq!(connect(&clocks, "a", 101_085), Some(("a".to_owned(), -15)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_response_is_not_a_difference_and_servers_are_forgotten() {
        let clocks = Clocks::default();
        assert_eq!(connect(&clocks, "a", 10), None);
        let late = Arc::new(Clock::new(5 * SECOND));
        assert_eq!(clocks.difference(&"b".into(), &late, Duration::from_secs(5)), None);
        for number in 0..2 * MOST {
            connect(&clocks, &number.to_string(), 10);
        }
        assert_eq!(clocks.0.lock().unwrap().len(), MOST);
    }
}
