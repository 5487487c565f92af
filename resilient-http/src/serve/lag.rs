//! Measures how slow a client is, and decides which connection closes first.
//!
//! The [`Lag`] of a client is the time for which the server waited for it, less one second for each [`RATE`] bytes
//! moved. A fast start earns no credit for later. Time in which the application keeps the client waiting does not
//! count. A response that has nothing to send (long polling, server-sent events) has no lag.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes per second. A client that sends or reads less is slow.
const RATE: u32 = 1024;
/// The lag from which a client is slow.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// How far a client is behind the minimum rate.
#[derive(Debug, Default)]
pub(super) struct Lag {
    before: Duration,
    /// Since when the server waits for the client.
    pub(super) since: Option<Instant>,
}

impl Lag {
    pub(super) fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.before = self.at(now).saturating_sub(Duration::from_secs(1) * bytes / RATE);
        self.since = None;
    }

    pub(super) fn at(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now - since)
    }

    /// The lag, while the server waits for the client.
    pub(super) fn now(&self, now: Instant) -> Option<Duration> {
        self.since.map(|_| self.at(now))
    }
}

pub(super) type IsIdle = bool;

/// The lag from which a connection can be closed for another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a connection that has sent nothing yet.
    pub(super) silent: Duration,
    /// For a connection that has sent a request.
    pub(super) slow: Duration,
}

impl Patience {
    pub(super) const WITH_ALL: Self = Self { silent: Duration::from_millis(10), slow: SLOW };
    /// For an address that uses its full share: the connection that lags most is closed early.
    pub(super) const AT_SHARE: Self = Self { silent: Duration::ZERO, slow: Duration::from_millis(20) };
}

/// The order in which connections are closed: the greatest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// Idle after a response, compared by a tenth of the idle time; or lagging, compared by the lag.
    Waits(Duration, IsIdle),
    /// Has never sent a request.
    Silent(Duration),
    Slow(Duration),
}
