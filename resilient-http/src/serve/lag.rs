//! How far a client is behind, and which connection is closed first.
//!
//! Whether a client is slow is measured by its [`Lag`]: the time for which the server waited for this client, less a second
//! for each [`RATE`] bytes that moved. A fast start earns no credit for later, and time in which the application keeps the
//! client waiting does not count. A response without anything to send (a long poll, server-sent events) has no lag.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes a second. A client that sends or takes less is slow.
const RATE: u32 = 1024;
/// With this lag a client is slow.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// How far a client is behind.
#[derive(Debug, Default)]
pub(super) struct Lag {
    before: Duration,
    /// Since when the client is waited for.
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

    /// While the client is waited for.
    pub(super) fn now(&self, now: Instant) -> Option<Duration> {
        self.since.map(|_| self.at(now))
    }
}

pub(super) type IsIdle = bool;

/// From which lag on a connection may be closed for another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Of one that has sent nothing yet.
    pub(super) silent: Duration,
    /// Of one with a request.
    pub(super) slow: Duration,
}

impl Patience {
    pub(super) const WITH_ALL: Self = Self { silent: Duration::from_millis(10), slow: SLOW };
    /// Where an address uses all its places: the one of them that lags most is closed early.
    pub(super) const AT_SHARE: Self = Self { silent: Duration::ZERO, slow: Duration::from_millis(20) };
}

/// The order in which connections are closed: those later in it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// By a tenth of how long it is idle, or by its lag: a client that was answered before is believed longer.
    Waits(Duration, IsIdle),
    /// It has never sent a request.
    Silent(Duration),
    Slow(Duration),
}
