//! Those who wait, by priority, then arrival.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use crate::priority::Priority;

/// A waiter's place: the highest class first, then the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    priority: Reverse<Priority>,
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Place, Option<Waker>>,
    /// Those who have a permit and do not know it yet.
    granted: BTreeSet<Place>,
    arrivals: u64,
}

impl Queue {
    /// The class of the first.
    pub(super) fn first(&self) -> Option<Priority> {
        self.waiting.first_key_value().map(|(place, _)| place.priority.0)
    }

    pub(super) fn join(&mut self, priority: Priority, waker: Option<Waker>) -> Place {
        self.arrivals += 1;
        let place = Place { priority: Reverse(priority), number: self.arrivals };
        self.waiting.insert(place, waker);
        place
    }

    /// Gives the first a permit; returns whom to wake.
    pub(super) fn grant_first(&mut self) -> Option<Waker> {
        let (place, waker) = self.waiting.pop_first()?;
        self.granted.insert(place);
        waker
    }

    /// Takes note that the waiter knows of its permit; else keeps `waker` for it.
    pub(super) fn is_granted(&mut self, place: Place, waker: Option<&Waker>) -> bool {
        if self.granted.remove(&place) {
            return true;
        }
        if let (Some(kept), Some(waker)) = (self.waiting.get_mut(&place), waker) {
            *kept = Some(waker.clone());
        }
        false
    }

    /// Takes a waiter out; whether it had been granted a permit.
    pub(super) fn remove(&mut self, place: Place) -> bool {
        let granted = self.granted.remove(&place);
        if !granted {
            self.waiting.remove(&place);
        }
        granted
    }
}
