//! The calls that wait for a permit, by priority, then arrival.
//!
//! Each waits until a time of its own. A call whose time is over, and a permit that nobody picks up, are taken out by the
//! next call that looks at the queue: a future that nobody polls holds nothing up.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use crate::clock::Instant;
use crate::priority::Priority;

/// A waiter's place: the highest class first, then the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    priority: Reverse<Priority>,
    number: u64,
}

/// What a place in the queue is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Waiting,
    /// It has a permit.
    Granted,
    /// Its time was over and somebody else came.
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
    /// Calls that have a permit and do not know it yet, with the time until which it is kept for them.
    granted: BTreeMap<Place, Instant>,
    /// The last moment of each place, the next one first.
    ends: BTreeSet<(Instant, Place)>,
    arrivals: u64,
}

/// What was taken out because its time is over.
#[derive(Debug, Default)]
pub(super) struct Expired {
    pub(super) waiters: u64,
    pub(super) permits: u64,
    /// To be woken with the queue unlocked: a waker may hold the last reference to a task that waits here.
    pub(super) wakers: Vec<Waker>,
}

impl Queue {
    /// The class of the first.
    pub(super) fn first(&self) -> Option<Priority> {
        self.waiting.first_key_value().map(|(place, _)| place.priority.0)
    }

    /// How many permits wait to be picked up.
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

    /// Gives a permit to the first waiter and keeps it for the waiter until `until`. Returns the waker to wake.
    pub(super) fn grant_first(&mut self, until: Instant) -> Option<Waker> {
        let (place, waiter) = self.waiting.pop_first()?;
        self.ends.remove(&(waiter.until, place));
        self.granted.insert(place, until);
        self.ends.insert((until, place));
        waiter.waker
    }

    /// Hands the permit over if the place has one; else keeps `waker` for it.
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

    /// Takes a waiter out; returns what its place was worth.
    pub(super) fn remove(&mut self, place: Place) -> Claim {
        if let Some(until) = self.granted.remove(&place) {
            self.ends.remove(&(until, place));
            return Claim::Granted;
        }
        let Some(waiter) = self.waiting.remove(&place) else { return Claim::Expired };
        self.ends.remove(&(waiter.until, place));
        Claim::Waiting
    }

    /// Takes out all places whose last moment has passed.
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
