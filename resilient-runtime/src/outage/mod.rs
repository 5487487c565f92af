//! What is known of an outage: since when a circuit is open, why it first opened, and what its last probe said.
//!
//! A refusal must allocate nothing and share no counter of references among cores. So it carries the number of the outage and
//! the place where that is kept. The place outlives the circuit breaker: it is used again by the next one, so there are never
//! more than there were circuit breakers at the same time.

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

/// Outages of a circuit breaker that are kept, for refusals that are looked at later.
const KEPT: usize = 4;

/// The time for which a circuit breaker does not trust its dependency: from its first opening until it is closed. Times are
/// seconds when serialised.
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
    /// Why the circuit opened at first.
    pub reason: OpenReason,
    /// The text of the failure that opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Arc<str>>,
    /// How long ago it opened.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// How long the outage lasted; none while it lasts.
    #[serde(serialize_with = "optional_seconds")]
    pub lasted: Option<Duration>,
    /// How often probes have opened the circuit again.
    pub reopened: u32,
    /// The last probe that ended.
    pub last_probe: Option<LastProbe>,
}

/// The last probe of a circuit breaker.
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
    /// How long ago it ended.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// Whether it failed, or was slow.
    pub failed: bool,
    /// The text of its error.
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
            Some(span) => write!(f, "; lasted {span:.1?}, began {:.1?} ago", self.age)?,
            None if self.age.is_zero() => {}
            None => write!(f, "; it began {:.1?} ago", self.age)?,
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
    /// As it was `at` a time, as far as that is known.
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

/// The outages of one circuit breaker. Written under its lock.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    history: Mutex<History>,
    pub(crate) last_error: ErrorSlot,
}

#[derive(Debug, Default)]
struct History {
    /// Of the last one; never used again, whose place it may become.
    number: u64,
    /// The newest last.
    records: VecDeque<Record>,
}

/// Places that no circuit breaker has.
static SPARE: Mutex<Vec<&'static Outages>> = Mutex::new(Vec::new());

impl Outages {
    pub(crate) fn place() -> &'static Self {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Box::leak(Box::default()))
    }

    /// For another circuit breaker.
    pub(crate) fn give_back(&'static self) {
        self.forget();
        SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The circuit has opened; the number of the outage.
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

    /// The outage that lasts, and the last one that has ended.
    pub(crate) fn seen(&self, now: Instant) -> (Option<Outage>, Option<Outage>) {
        let history = self.history();
        let mut newest = history.records.iter().rev();
        let lasting = history.records.back().filter(|last| last.ended.is_none());
        (lasting.map(|last| last.at(now)), newest.find(|one| one.ended.is_some()).map(|last| last.at(now)))
    }
}

/// An outage as a refusal has met it.
#[derive(Clone, Copy)]
pub(crate) struct Met {
    pub(crate) place: &'static Outages,
    pub(crate) number: u64,
    pub(crate) at: Instant,
}

impl Met {
    /// `None` once it is too long ago.
    pub(crate) fn outage(self) -> Option<Outage> {
        let history = self.place.history();
        let found = history.records.iter().find(|one| one.number == self.number)?;
        let mut outage = found.at(self.at);
        // It had not when the call was refused.
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
