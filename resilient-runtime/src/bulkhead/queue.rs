//! The queue of calls that wait for a permit, by priority, then by arrival.
//!
//! Each call waits until its own deadline. The next access to the queue removes expired calls and permits that were
//! not picked up, so a future that is not polled does not block the queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use crate::clock::Instant;
use crate::priority::Priority;

/// The position of a waiting call: the highest class first, then the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    priority: Reverse<Priority>,
    number: u64,
}

/// The state of a call in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Waiting,
    /// The call has a permit.
    Granted,
    /// The deadline has passed, and the call was removed.
    Expired,
}

#[derive(Debug)]
struct Waiter {
    waker: Option<Waker>,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Place, Waiter>,
    /// Calls that were granted a permit but have not picked it up, with the time until which it is reserved.
    granted: BTreeMap<Place, Instant>,
    /// Deadline of each entry, the earliest first.
    ends: BTreeSet<(Instant, Place)>,
    arrivals: u64,
}

/// The expired entries that were removed.
#[derive(Debug, Default)]
pub(super) struct Expired {
    pub(super) waiters: u64,
    pub(super) permits: u64,
    /// Must be woken after the lock is released: a waker can hold the last reference to a task that waits in this
    /// queue.
    pub(super) wakers: Vec<Waker>,
}

impl Queue {
    /// Returns the class of the first waiting call.
    pub(super) fn first(&self) -> Option<Priority> {
        self.waiting.first_key_value().map(|(place, _)| place.priority.0)
    }

    /// Returns the number of permits that wait to be picked up.
    pub(super) fn granted(&self) -> usize {
        self.granted.len()
    }

    pub(super) fn join(&mut self, priority: Priority, waker: Option<Waker>, until: Instant) -> Place {
        self.arrivals += 1;
        let place = Place { priority: Reverse(priority), number: self.arrivals };
        self.waiting.insert(place, Waiter { waker, until });
        self.ends.insert((until, place));
        place
    }

    /// Grants a permit to the first waiting call and reserves it until `until`. Returns the waker to wake.
    pub(super) fn grant_first(&mut self, until: Instant) -> Option<Waker> {
        let (place, waiter) = self.waiting.pop_first()?;
        self.ends.remove(&(waiter.until, place));
        self.granted.insert(place, until);
        self.ends.insert((until, place));
        waiter.waker
    }

    /// Picks up the permit if the call has one. If not, stores `waker`.
    pub(super) fn claim(&mut self, place: Place, waker: Option<&Waker>) -> Claim {
        match self.waiting.get_mut(&place) {
            Some(waiter) => {
                if let Some(waker) = waker {
                    waiter.waker = Some(waker.clone());
                }
                Claim::Waiting
            }
            None => self.remove(place),
        }
    }

    /// Removes a call and returns its state.
    pub(super) fn remove(&mut self, place: Place) -> Claim {
        if let Some(until) = self.granted.remove(&place) {
            self.ends.remove(&(until, place));
            return Claim::Granted;
        }
        let Some(waiter) = self.waiting.remove(&place) else { return Claim::Expired };
        self.ends.remove(&(waiter.until, place));
        Claim::Waiting
    }

    /// Removes all expired entries.
    pub(super) fn expire(&mut self, now: Instant) -> Expired {
        let mut expired = Expired::default();
        while let Some(&(until, place)) = self.ends.first()
            && until < now
        {
            self.ends.pop_first();
            if let Some(waiter) = self.waiting.remove(&place) {
                expired.waiters += 1;
                expired.wakers.extend(waiter.waker);
            } else if self.granted.remove(&place).is_some() {
                expired.permits += 1;
            }
        }
        expired
    }
}
