//! The queue of calls that wait for a token, by key and in order of arrival.
//!
//! Each call waits until its own deadline. The next access to the queue removes expired calls, so a future that is
//! not polled does not block the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

use crate::clock::Instant;
use crate::sync::{AtomicU32, Mutex, Ordering};

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Waiter>,
    /// Sum of the weights of all waiting calls.
    weight: u64,
}

impl Line {
    /// Takes the waker of the first waiting call.
    fn next(&mut self) -> Option<Waker> {
        self.waiting.values_mut().next().and_then(|waiter| waiter.waker.take())
    }
}

#[derive(Debug)]
struct Waiter {
    weight: u32,
    waker: Option<Waker>,
    until: Instant,
}

#[derive(Debug, Default)]
struct Lines {
    by_key: BTreeMap<u64, Line>,
    /// Deadline of each waiting call, the earliest first.
    ends: BTreeSet<(Instant, Place)>,
    /// Positions are numbered across all keys, so a number is never reused.
    arrivals: u64,
}

/// The wakers that belong to a removed position.
///
/// They must be dropped or woken after the lock is released, because a waker can hold the last reference to a task
/// that waits in this queue.
struct Removed {
    own: Option<Waker>,
    /// Waker of the call that is first now.
    next: Option<Waker>,
}

impl Lines {
    fn is_first(&self, place: Place) -> bool {
        let first = self.by_key.get(&place.key).and_then(|line| line.waiting.first_key_value());
        first.is_some_and(|(first, _)| *first == place.number)
    }

    /// Returns the state of a waiting call, and the waker that `waker` replaced.
    fn position(&mut self, place: Place, waker: &Waker) -> (Position, Option<Waker>) {
        let Some(line) = self.by_key.get_mut(&place.key) else { return (Position::Expired, None) };
        let Some(waiter) = line.waiting.get_mut(&place.number) else { return (Position::Expired, None) };
        let replaced = waiter.waker.replace(waker.clone());
        let position = match line.waiting.first_key_value() {
            Some((first, waiter)) if *first != place.number => {
                Position::Behind(waiter.until.after(Duration::from_nanos(1)))
            }
            _ => Position::First,
        };
        (position, replaced)
    }

    fn remove(&mut self, place: Place) -> Option<Removed> {
        let line = self.by_key.get_mut(&place.key)?;
        let left = line.waiting.remove(&place.number)?;
        self.ends.remove(&(left.until, place));
        line.weight -= u64::from(left.weight);
        let next = line.next();
        if line.waiting.is_empty() {
            self.by_key.remove(&place.key);
        }
        Some(Removed { own: left.waker, next })
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    /// Number of waiting calls for all keys. If it is 0, no lookup is needed. Written with the lock held.
    count: AtomicU32,
    limit: AtomicU32,
}

/// Identifies a waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    key: u64,
    number: u64,
}

/// The state of a waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The call is first in the queue.
    First,
    /// Another call is first and leaves the queue at this time at the latest.
    Behind(Instant),
    /// The deadline has passed, and the call was removed.
    Expired,
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

    /// Removes the expired calls, then runs `act` with the lock held.
    fn with_lines<R>(&self, now: Instant, act: impl FnOnce(&mut Lines) -> R) -> R {
        let mut lines = self.lines.lock();
        let woken = self.expire(&mut lines, now);
        let done = act(&mut lines);
        drop(lines);
        woken.into_iter().for_each(Waker::wake);
        done
    }

    /// Removes all expired calls. Returns the wakers of these calls and of the calls that are first now.
    fn expire(&self, lines: &mut Lines, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(&(until, place)) = lines.ends.first()
            && until < now
        {
            let Some(Removed { own, next }) = lines.remove(place) else { break };
            self.count.fetch_sub(1, Ordering::Relaxed);
            woken.extend(own.into_iter().chain(next));
        }
        woken
    }

    /// Returns the number of calls that wait now.
    pub(super) fn waiting(&self, now: Instant) -> u32 {
        if self.len() > 0 {
            self.with_lines(now, |_| {});
        }
        self.len()
    }

    /// Returns the weight of all calls that wait for the same key.
    ///
    /// Relaxed: a call that arrives at the same moment as the first waiting call can overtake it.
    pub(super) fn weight(&self, key: u64, now: Instant) -> u64 {
        if self.len() == 0 {
            return 0;
        }
        self.with_lines(now, |lines| lines.by_key.get(&key).map_or(0, |line| line.weight))
    }

    /// Adds a call to the end of the queue until its deadline. Returns `None` if the queue is full.
    pub(super) fn join(
        &self,
        (key, weight): (u64, u32),
        waker: Waker,
        now: Instant,
        until: Instant,
    ) -> Option<Place> {
        self.with_lines(now, |lines| {
            // The count only changes with the lock held.
            if self.len() >= self.limit.load(Ordering::Relaxed) {
                return None;
            }
            self.count.fetch_add(1, Ordering::Relaxed);
            lines.arrivals += 1;
            let place = Place { key, number: lines.arrivals };
            lines.ends.insert((until, place));
            let line = lines.by_key.entry(key).or_default();
            line.weight += u64::from(weight);
            line.waiting.insert(place.number, Waiter { weight, waker: Some(waker), until });
            Some(place)
        })
    }

    /// Returns whether the call is first. If not, `waker` is woken when it becomes first. The first call is never
    /// expired here.
    pub(super) fn position(&self, place: Place, waker: &Waker, now: Instant) -> Position {
        let mut lines = self.lines.lock();
        let woken = if lines.is_first(place) { Vec::new() } else { self.expire(&mut lines, now) };
        let (position, replaced) = lines.position(place, waker);
        drop(lines);
        drop(replaced);
        woken.into_iter().for_each(Waker::wake);
        position
    }

    /// Wakes the first call that waits for this key, because it might get a token sooner.
    pub(super) fn wake(&self, key: u64, now: Instant) {
        if self.len() > 0 {
            let next = self.with_lines(now, |lines| lines.by_key.get_mut(&key).and_then(Line::next));
            next.into_iter().for_each(Waker::wake);
        }
    }

    /// Wakes the first call of each key, because the rule has changed.
    pub(super) fn wake_all(&self) {
        let next: Vec<_> = self.lines.lock().by_key.values_mut().filter_map(Line::next).collect();
        next.into_iter().for_each(Waker::wake);
    }

    /// Leaves the queue and wakes the next call.
    pub(super) fn leave(&self, place: Place) {
        let mut lines = self.lines.lock();
        let left = lines.remove(place);
        if left.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        drop(lines);
        left.and_then(|left| left.next).into_iter().for_each(Waker::wake);
    }
}
