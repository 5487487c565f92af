//! Outages of a circuit breaker: when and why the circuit opened, and the result of its last probe.
//!
//! A rejection must not allocate and must not share a reference counter between cores. It therefore holds the number of
//! the outage and a `'static` reference to the history that stores it. A history outlives its circuit breaker and is
//! reused by the next one, so there are never more histories than there were circuit breakers at the same time.

mod open_reason;

pub use open_reason::OpenReason;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Instant;
use crate::last_error::ErrorSlot;
use crate::seconds::{optional_seconds, seconds};

/// Outages stored for each circuit breaker, for rejections that are examined later.
const KEPT: usize = 4;

/// The period from the first opening of a circuit until it closes. Times are serialized in seconds.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Component, OpenReason, Registry, circuit_breaker::{Config, Outage}, clock::ManualClock};
///
/// let time = ManualClock::new();
/// let breaker = Registry::with_clock(time.clock()).circuit_breaker("payment");
/// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
/// breaker.call(|| None::<u32>);
/// time.advance(Duration::from_secs(60));
/// breaker.call(|| None::<u32>); // a probe
/// let Outage { reason, age, last_probe, .. } = breaker.stats().outage.unwrap();
/// assert_eq!((reason, age), (OpenReason::Consecutive { failures: 1 }, Duration::from_secs(60)));
/// assert!(last_probe.unwrap().failed);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outage {
    /// Why the circuit first opened.
    pub reason: OpenReason,
    /// The text of the error that opened the circuit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Arc<str>>,
    /// How long ago the circuit first opened.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// How long the outage lasted. `None` until it ends.
    #[serde(serialize_with = "optional_seconds")]
    pub lasted: Option<Duration>,
    /// How often a failed probe reopened the circuit.
    pub reopened: u32,
    /// The last completed probe.
    pub last_probe: Option<LastProbe>,
}

/// The last completed probe of a circuit breaker.
///
/// ```
/// use resilient_runtime::{Component, Registry, circuit_breaker::{Config, LastProbe}, clock::ManualClock};
///
/// let time = ManualClock::new();
/// let breaker = Registry::with_clock(time.clock()).circuit_breaker("payment");
/// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
/// breaker.call(|| None::<u32>);
/// time.advance(breaker.stats().retry_after.unwrap());
/// breaker.call(|| Some(995));
/// let LastProbe { failed, .. } = breaker.stats().outage.unwrap().last_probe.unwrap();
/// assert!(!failed);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LastProbe {
    /// How long ago the probe ended.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// Whether the probe failed or was slow.
    pub failed: bool,
    /// The text of the probe's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Arc<str>>,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(error) = &self.error {
            write!(f, ", last error: {error}")?;
        }
        match self.lasted {
            Some(span) => write!(f, "; lasted {span:.1?}, opened {:.1?} ago", self.age)?,
            None if self.age.is_zero() => {}
            None => write!(f, "; opened {:.1?} ago", self.age)?,
        }
        let Some(LastProbe { age, failed, error }) =
            self.last_probe.as_ref().filter(|_| self.lasted.is_none())
        else {
            return Ok(());
        };
        write!(f, "; last probe {} {age:.1?} ago", if *failed { "failed" } else { "succeeded" })?;
        if let Some(error) = error {
            write!(f, ": {error}")?;
        }
        Ok(())
    }
}

impl Outage {
    pub(crate) fn without_errors(mut self) -> Self {
        self.error = None;
        if let Some(probe) = &mut self.last_probe {
            probe.error = None;
        }
        self
    }
}

#[derive(Debug)]
struct Record {
    number: u64,
    reason: OpenReason,
    error: Option<Arc<str>>,
    began: Instant,
    ended: Option<Instant>,
    reopened: u32,
    probe: Option<(Instant, bool, Option<Arc<str>>)>,
}

impl Record {
    /// Returns the outage with times relative to `at`.
    fn at(&self, at: Instant) -> Outage {
        Outage {
            reason: self.reason,
            error: self.error.clone(),
            age: at.since(self.began),
            lasted: self.ended.map(|ended| ended.since(self.began)),
            reopened: self.reopened,
            last_probe: self.probe.as_ref().map(|(ended, failed, error)| LastProbe {
                age: at.since(*ended),
                failed: *failed,
                error: error.clone(),
            }),
        }
    }
}

/// The outages of one circuit breaker. Written only under the lock of the circuit breaker.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    history: Mutex<History>,
    pub(crate) last_error: ErrorSlot,
}

#[derive(Debug, Default)]
struct History {
    /// The number of the last outage. Never reused, even when another circuit breaker takes over the history.
    number: u64,
    /// The newest is last.
    records: VecDeque<Record>,
}

/// Histories that no circuit breaker uses.
static SPARE: Mutex<Vec<&'static Outages>> = Mutex::new(Vec::new());

impl Outages {
    pub(crate) fn place() -> &'static Self {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Box::leak(Box::default()))
    }

    /// Releases the history for another circuit breaker.
    pub(crate) fn give_back(&'static self) {
        self.forget();
        SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the circuit opened, and returns the number of the outage.
    pub(crate) fn begin(&self, reason: OpenReason, error: Option<Arc<str>>, began: Instant) -> u64 {
        self.end(began);
        let mut history = self.history();
        history.number += 1;
        let number = history.number;
        if history.records.len() == KEPT {
            history.records.pop_front();
        }
        history.records.push_back(Record {
            number,
            reason,
            error,
            began,
            ended: None,
            reopened: 0,
            probe: None,
        });
        number
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        if let Some(last) = self.history().records.back_mut().filter(|last| last.ended.is_none()) {
            change(last);
        }
    }

    pub(crate) fn reopened(&self) {
        self.change(|last| last.reopened = last.reopened.saturating_add(1));
    }

    pub(crate) fn probed(&self, ended: Instant, failed: bool, error: Option<Arc<str>>) {
        self.change(|last| last.probe = Some((ended, failed, error)));
    }

    pub(crate) fn end(&self, ended: Instant) {
        self.change(|last| last.ended = Some(ended));
    }

    pub(crate) fn forget(&self) {
        self.history().records.clear();
        self.last_error.forget();
    }

    /// Returns the current outage and the last one that ended.
    pub(crate) fn seen(&self, now: Instant) -> (Option<Outage>, Option<Outage>) {
        let history = self.history();
        let mut newest = history.records.iter().rev();
        let lasting = history.records.back().filter(|last| last.ended.is_none());
        (lasting.map(|last| last.at(now)), newest.find(|one| one.ended.is_some()).map(|last| last.at(now)))
    }
}

/// The outage at the time of a rejection.
#[derive(Clone, Copy)]
pub(crate) struct Met {
    pub(crate) place: &'static Outages,
    pub(crate) number: u64,
    pub(crate) at: Instant,
}

impl Met {
    /// Returns the outage, or `None` if it is no longer stored.
    pub(crate) fn outage(self) -> Option<Outage> {
        let history = self.place.history();
        let found = history.records.iter().find(|one| one.number == self.number)?;
        let mut outage = found.at(self.at);
        // The outage had not ended when the call was rejected.
        outage.lasted = None;
        Some(outage)
    }
}

impl PartialEq for Met {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.place, other.place) && self.number == other.number
    }
}

impl fmt::Debug for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outage {}", self.number)
    }
}
