//! The calls that wait for their turn, by key, in the order of their arrival.
//!
//! Each waits until a time of its own. A call whose time is over is taken out by the next call that looks at the queue: a
//! future that nobody polls holds nothing up.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

use crate::clock::Instant;
use crate::sync::{AtomicU32, Mutex, Ordering};

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Waiter>,
    /// The sum of all that wait in it.
    weight: u64,
}

impl Line {
    /// The waker of the first that waits.
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
    /// The last moment of each place, the next one first.
    ends: BTreeSet<(Instant, Place)>,
    /// Places are numbered over all lines: one that was taken out is never mistaken for a later one.
    arrivals: u64,
}

/// The wakers that go with a place; dropped or woken with the lines unlocked, as one may hold the last reference to a task
/// that waits here.
struct Removed {
    own: Option<Waker>,
    /// Of the first that waits now.
    next: Option<Waker>,
}

impl Lines {
    fn is_first(&self, place: Place) -> bool {
        let first = self.by_key.get(&place.key).and_then(|line| line.waiting.first_key_value());
        first.is_some_and(|(first, _)| *first == place.number)
    }

    /// What a place is worth, and the waker that `waker` has replaced.
    fn standing(&mut self, place: Place, waker: &Waker) -> (Standing, Option<Waker>) {
        let Some(line) = self.by_key.get_mut(&place.key) else { return (Standing::Expired, None) };
        let Some(waiter) = line.waiting.get_mut(&place.number) else { return (Standing::Expired, None) };
        let replaced = waiter.waker.replace(waker.clone());
        let standing = match line.waiting.first_key_value() {
            Some((first, waiter)) if *first != place.number => {
                Standing::Behind(waiter.until.after(Duration::from_nanos(1)))
            }
            _ => Standing::First,
        };
        (standing, replaced)
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
    /// In all lines: whoever sees 0 need not look for a line. Written with the lines locked.
    count: AtomicU32,
    limit: AtomicU32,
}

/// Somebody's place in the line of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    key: u64,
    number: u64,
}

/// What a place is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the turn of this place.
    First,
    /// Somebody else is first, and gives its place up at this time at the latest.
    Behind(Instant),
    /// Its time was over and somebody else came.
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

    /// Does something with the lines once those whose time is over are out of them.
    fn with_lines<R>(&self, now: Instant, act: impl FnOnce(&mut Lines) -> R) -> R {
        let mut lines = self.lines.lock();
        let woken = self.expire(&mut lines, now);
        let done = act(&mut lines);
        drop(lines);
        woken.into_iter().for_each(Waker::wake);
        done
    }

    /// Takes out all places whose last moment has passed. Returns whom to wake: them, and those behind them.
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

    /// How many wait at this time.
    pub(super) fn waiting(&self, now: Instant) -> u32 {
        if self.len() > 0 {
            self.with_lines(now, |_| {});
        }
        self.len()
    }

    /// The weight of all who wait for the same key. Relaxed: who comes in the same moment as the first who waits may
    /// be before it.
    pub(super) fn weight(&self, key: u64, now: Instant) -> u64 {
        if self.len() == 0 {
            return 0;
        }
        self.with_lines(now, |lines| lines.by_key.get(&key).map_or(0, |line| line.weight))
    }

    /// A place at the end of the line until then; `None` where there are too many.
    pub(super) fn join(
        &self,
        (key, weight): (u64, u32),
        waker: Waker,
        now: Instant,
        until: Instant,
    ) -> Option<Place> {
        self.with_lines(now, |lines| {
            // The count is only changed with the lock held.
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

    /// Whether it is the turn of this place; else `waker` is woken when it is. The first is not late for its own turn.
    pub(super) fn standing(&self, place: Place, waker: &Waker, now: Instant) -> Standing {
        let mut lines = self.lines.lock();
        let woken = if lines.is_first(place) { Vec::new() } else { self.expire(&mut lines, now) };
        let (standing, replaced) = lines.standing(place, waker);
        drop(lines);
        drop(replaced);
        woken.into_iter().for_each(Waker::wake);
        standing
    }

    /// The first who waits for this key may have a turn sooner than it thought.
    pub(super) fn wake(&self, key: u64, now: Instant) {
        if self.len() > 0 {
            let next = self.with_lines(now, |lines| lines.by_key.get_mut(&key).and_then(Line::next));
            next.into_iter().for_each(Waker::wake);
        }
    }

    /// Likewise the first of each line: the rule has changed.
    pub(super) fn wake_all(&self) {
        let next: Vec<_> = self.lines.lock().by_key.values_mut().filter_map(Line::next).collect();
        next.into_iter().for_each(Waker::wake);
    }

    /// Gives a place up; the next one is woken to look whether it is the first.
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
