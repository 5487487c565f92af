//! Those who wait for their turn, by key, in the order of their arrival.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::sync::{AtomicU32, Mutex, Ordering};

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Waiter>,
    arrivals: u64,
    /// Of all who wait in it.
    weight: u64,
}

impl Line {
    /// Of the first who waits.
    fn next(&mut self) -> Option<Waker> {
        self.waiting.values_mut().next().and_then(|waiter| waiter.waker.take())
    }
}

#[derive(Debug)]
struct Waiter {
    weight: u32,
    waker: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct Queue {
    lines: Mutex<BTreeMap<u64, Line>>,
    /// In all lines: whoever sees 0 need not look for a line.
    count: AtomicU32,
    limit: AtomicU32,
}

/// Somebody's place in the line of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    key: u64,
    number: u64,
}

impl Queue {
    pub(super) fn new(limit: u32) -> Self {
        Self { lines: Mutex::default(), count: AtomicU32::new(0), limit: AtomicU32::new(limit) }
    }

    pub(super) fn resize(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// The weight of all who wait for the same key. Relaxed: who comes in the same moment as the first who waits may
    /// be before it.
    pub(super) fn weight(&self, key: u64) -> u64 {
        if self.len() == 0 {
            return 0;
        }
        self.lines.lock().get(&key).map_or(0, |line| line.weight)
    }

    /// A place at the end of the line; `None` where there are too many.
    pub(super) fn join(&self, key: u64, weight: u32, waker: Waker) -> Option<Place> {
        let mut lines = self.lines.lock();
        // The count is only changed with the lock held.
        if self.len() >= self.limit.load(Ordering::Relaxed) {
            return None;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let line = lines.entry(key).or_default();
        line.arrivals += 1;
        line.weight += u64::from(weight);
        line.waiting.insert(line.arrivals, Waiter { weight, waker: Some(waker) });
        Some(Place { key, number: line.arrivals })
    }

    /// Whether it is the turn of this place; else `waker` is woken when it is.
    pub(super) fn is_first(&self, place: Place, waker: &Waker) -> bool {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&place.key) else { return true };
        let is_first = line.waiting.first_key_value().is_none_or(|(first, _)| *first >= place.number);
        if let Some(waiter) = line.waiting.get_mut(&place.number) {
            waiter.waker = Some(waker.clone());
        }
        is_first
    }

    /// The first who waits for this key may have a turn sooner than it thought.
    pub(super) fn wake(&self, key: u64) {
        if self.len() == 0 {
            return;
        }
        let next = self.lines.lock().get_mut(&key).and_then(Line::next);
        next.into_iter().for_each(Waker::wake);
    }

    /// Likewise the first of each line: the rule has changed.
    pub(super) fn wake_all(&self) {
        let next: Vec<_> = self.lines.lock().values_mut().filter_map(Line::next).collect();
        next.into_iter().for_each(Waker::wake);
    }

    /// Gives a place up; the next one is woken to look whether it is the first.
    pub(super) fn leave(&self, place: Place) {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&place.key) else { return };
        let Some(left) = line.waiting.remove(&place.number) else { return };
        self.count.fetch_sub(1, Ordering::Relaxed);
        line.weight -= u64::from(left.weight);
        let next = line.next();
        if line.waiting.is_empty() {
            lines.remove(&place.key);
        }
        drop(lines);
        next.into_iter().for_each(Waker::wake);
    }
}
