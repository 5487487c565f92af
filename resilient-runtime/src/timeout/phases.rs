//! The limits of the phases of a call, and counters of the timeouts of each kind.
//!
//! The body of a call finds them by a number in its scope. A scope is copied at each poll, so it must be small and own
//! nothing.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::config::Config;
use crate::clock::{Clock, nanos};
use crate::component::{Core, Environment, Kind};
use crate::observe::{Event, EventKind};
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{AtomicU64, Ordering};
use crate::weak_table::WeakTable;

/// A part of a call that has a separate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connect,
    Read,
}

impl Phase {
    /// The default limit.
    pub(crate) const fn usual(self) -> Duration {
        match self {
            Self::Connect => Duration::from_secs(3),
            Self::Read => Duration::from_secs(30),
        }
    }

    pub(crate) const fn kind(self) -> RejectionKind {
        match self {
            Self::Connect => RejectionKind::ConnectTimeout,
            Self::Read => RejectionKind::ReadTimeout,
        }
    }
}

/// The kinds of timeouts that are counted.
const PLACES: [RejectionKind; 5] = [
    RejectionKind::TotalTimeout,
    RejectionKind::AttemptTimeout,
    RejectionKind::QueueTimeout,
    RejectionKind::ConnectTimeout,
    RejectionKind::ReadTimeout,
];

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Phases {
    number: u32,
    name: &'static str,
    environment: Environment,
    /// In nanoseconds, `u64::MAX` for none. Relaxed: settings. A phase can read the old or the new value.
    connect: AtomicU64,
    read: AtomicU64,
    /// In the order of [`PLACES`].
    fired: [AtomicU64; PLACES.len()],
}

impl Phases {
    pub(super) fn new(core: &Core<Config>) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        let (name, environment) = (core.name, core.environment.clone());
        known().join(|number| Self {
            number,
            name,
            environment,
            connect: zero(),
            read: zero(),
            fired: std::array::from_fn(|_| zero()),
        })
    }

    /// Returns the phases of the timeout with this number, if it still exists.
    pub(crate) fn find(number: u32) -> Option<Arc<Self>> {
        if number == 0 { None } else { known().find(number) }
    }

    pub(super) fn apply(&self, config: &Config) {
        let limit = |span: Option<Duration>| span.map_or(u64::MAX, nanos);
        self.connect.store(limit(config.connect), Ordering::Relaxed);
        self.read.store(limit(config.read), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.environment.clock
    }

    /// Returns the limit of a phase. `u64::MAX` nanoseconds if there is none.
    pub(crate) fn limit(&self, phase: Phase) -> Duration {
        let limit = match phase {
            Phase::Connect => &self.connect,
            Phase::Read => &self.read,
        };
        Duration::from_nanos(limit.load(Ordering::Relaxed))
    }

    /// Counts a timeout and returns its rejection.
    #[cold]
    pub(crate) fn fired(&self, kind: RejectionKind, elapsed: Duration) -> Rejection {
        if let Some(place) = PLACES.iter().position(|place| *place == kind) {
            self.fired[place].fetch_add(1, Ordering::Relaxed);
        }
        self.tell(kind);
        Rejection::timed_out(kind, self.name, elapsed)
    }

    #[cold]
    pub(crate) fn no_timer(&self) -> Rejection {
        self.tell(RejectionKind::NoTimer);
        Rejection::new(RejectionKind::NoTimer, self.name)
    }

    fn tell(&self, kind: RejectionKind) {
        tracing::debug!(target: "resilient_runtime::timeout", timeout = %self.name, kind = kind.as_str(), "timed out");
        let what = EventKind::Rejected { rejection: kind, retry_after: None };
        self.environment.events.publish(|| Event::now(Kind::Timeout, self.name, what));
    }

    /// Returns the counters: total, attempt, queue, connect, read.
    pub(super) fn counts(&self) -> [u64; PLACES.len()] {
        self.fired.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn reset(&self) {
        self.fired.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

impl Drop for Phases {
    fn drop(&mut self) {
        known().leave(self.number);
    }
}

/// The timeouts of all registries. The number 0 means none.
fn known() -> std::sync::MutexGuard<'static, WeakTable<Phases>> {
    static KNOWN: std::sync::Mutex<WeakTable<Phases>> = std::sync::Mutex::new(WeakTable::after(0));
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
