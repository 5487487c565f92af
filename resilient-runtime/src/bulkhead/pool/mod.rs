//! Threads of a bulkhead's own: what runs there can hang without taking anybody else's thread with it, and whoever
//! waits for it can stop waiting.
//!
//! - A place in the pool, running or queued, is a permit of the bulkhead's gate; it goes back when the work has really
//!   ended, and not when its caller has left.
//! - Threads are started when there is work for them, and stay, parked. Those that are too many after a change of the
//!   settings end, each after what it does. They belong to the process and never keep it alive.
//! - Should the system give no thread, and there is none that will come to it, what waits is refused.

mod by_hand;
mod running;
mod worker;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub(crate) use running::{End, Running, Waiting, beside, in_place};
use worker::{Inside, OnThread};

use crate::observe::LogLimit;
use crate::priority::Priority;
use crate::sync::{AtomicU32, Condvar, Mutex, Ordering};

/// The work of one call. It catches its own panic, and gives its thread back before it says that it has ended.
type Job = Box<dyn FnOnce(OnThread<'_>) + Send>;
/// Higher classes first, then in the order of arrival.
type Place = (Reverse<Priority>, u64);

/// The pool of one bulkhead; with it its threads end, each after what it does.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    name: &'static str,
    not_started_log: LogLimit,
    panicked_log: LogLimit,
    /// How many threads the settings want; 0: calls run where they are made.
    wanted: AtomicU32,
    state: Mutex<State>,
    /// There is work, or nothing more to wait for.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// How many threads there may be: as many as were wanted last.
    threads: u32,
    /// How many there are; those of them that wait for work, and those that were started and have not looked yet.
    alive: u32,
    idle: u32,
    fresh: u32,
    /// How many there ever were.
    started: u64,
    queue: BTreeMap<Place, Job>,
    arrived: u64,
    running: BTreeSet<u64>,
    /// Those of the running ones that nobody waits for any more.
    abandoned: BTreeSet<u64>,
    /// Threads end when nothing waits for them.
    closed: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}

/// What the threads of a bulkhead do.
///
/// ```
/// use resilient_runtime::{Component, Registry, bulkhead::Config};
///
/// let reports = Registry::new().bulkhead("reports");
/// assert!(reports.stats().pool.is_none(), "it has no threads of its own");
/// reports.reconfigure(Config::default().threads(4)).unwrap();
/// let pool = reports.stats().pool.unwrap();
/// assert_eq!((pool.threads, pool.alive), (4, 0), "they start with the work");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// Threads that there may be.
    pub threads: u32,
    /// Threads that there are.
    pub alive: u32,
    /// Calls that run.
    pub running: u32,
    /// Calls that wait for a thread.
    pub queued: u32,
    /// Those of the running ones whose caller has left, because its time was over or it was cancelled.
    pub abandoned: u32,
}

impl Pool {
    pub(super) fn new(name: &'static str) -> Self {
        Self(Arc::new(Shared {
            name,
            not_started_log: LogLimit::new(),
            panicked_log: LogLimit::new(),
            wanted: AtomicU32::new(0),
            state: Mutex::default(),
            news: Condvar::new(),
        }))
    }

    /// So many threads from now on. None: what waits is still done, and then the threads end.
    pub(super) fn resize(&self, wanted: u32) {
        // Relaxed: a setting. A call may still go by the one before the change.
        self.0.wanted.store(wanted, Ordering::Relaxed);
        {
            let mut state = self.0.state.lock();
            state.closed = wanted == 0;
            if wanted > 0 {
                state.threads = wanted;
            }
        }
        // Those that are too many end; and for what waits there may be room for more.
        self.0.news.notify_all();
        self.0.grow();
    }

    /// Whether calls run here, by the settings.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.0.wanted.load(Ordering::Relaxed) > 0
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.0.state.lock();
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        PoolStats {
            threads: self.0.wanted.load(Ordering::Relaxed),
            alive: state.alive,
            running: count(state.running.len()),
            queued: count(state.queue.len()),
            abandoned: count(state.abandoned.len()),
        }
    }

    /// Queues work.
    fn submit(&self, priority: Priority, job: Job) -> Submitted {
        let (place, has_to_wait) = {
            let mut state = self.0.state.lock();
            state.arrived += 1;
            let place = (Reverse(priority), state.arrived);
            state.queue.insert(place, job);
            (place, !state.has_thread_for_all() && state.alive >= state.threads)
        };
        self.0.grow();
        Submitted { pool: Arc::clone(&self.0), place, has_to_wait, is_open: true }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Nothing waits: what does holds the bulkhead, and that the pool.
        self.0.state.lock().closed = true;
        self.0.news.notify_all();
    }
}

/// Work that was handed to a pool. Dropped before it began, it never will; while it runs, it is abandoned.
struct Submitted {
    pool: Arc<Shared>,
    place: Place,
    /// No thread was free, and none could be added.
    has_to_wait: bool,
    is_open: bool,
}

impl Submitted {
    /// Nobody waits for it any more. Whether it runs: what has not begun never will.
    fn leave(&mut self) -> bool {
        self.is_open = false;
        let (withdrawn, runs) = {
            let mut state = self.pool.state.lock();
            let withdrawn = state.queue.remove(&self.place);
            let runs = state.running.contains(&self.place.1);
            if runs {
                state.abandoned.insert(self.place.1);
            }
            (withdrawn, runs)
        };
        // Outside of the lock: with it goes its permit, and whatever the work holds.
        drop(withdrawn);
        runs
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        if self.is_open {
            self.leave();
        }
    }
}

impl State {
    /// Whether the threads that look for work find all that waits.
    fn has_thread_for_all(&self) -> bool {
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.idle + self.fresh >= waiting
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
