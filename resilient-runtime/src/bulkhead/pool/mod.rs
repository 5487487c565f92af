//! The thread pool of a bulkhead.
//!
//! Work that hangs in the pool blocks no other thread, and its caller can stop waiting.
//!
//! - Each call in the pool, running or queued, holds a permit of the bulkhead's gate. The permit is released when the
//!   work has ended, even if the caller has stopped waiting.
//! - Threads start when there is work for them, and stay parked. After the settings ask for fewer threads, the
//!   surplus threads end, each after its current work. Threads never keep the process alive.
//! - If the system cannot start a thread, and no other thread exists, the queued work is rejected.

mod by_hand;
#[cfg(feature = "chaos")]
mod held;
mod running;
mod worker;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "chaos")]
pub(super) use held::HeldThread;
pub(crate) use running::{End, Running, Waiting, beside, in_place};
use worker::{Inside, OnThread};

use crate::observe::LogLimit;
use crate::priority::Priority;
use crate::sync::{AtomicU32, Condvar, Mutex, Ordering};

/// The work of one call. It catches its own panics, and releases its thread before it reports its end.
type Job = Box<dyn FnOnce(OnThread<'_>) + Send>;
/// Higher classes first, then the order of arrival.
type Place = (Reverse<Priority>, u64);

/// The pool of one bulkhead. Dropping it ends its threads, each after its current work.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    name: &'static str,
    not_started_log: LogLimit,
    panicked_log: LogLimit,
    /// Number of threads in the settings. 0: calls run on the caller's thread.
    wanted: AtomicU32,
    state: Mutex<State>,
    /// Signals that there is work, or that threads should end.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Maximum number of threads: the last number above 0 in the settings.
    threads: u32,
    /// Number of threads, of idle threads, and of threads that were started but have not looked for work yet.
    alive: u32,
    idle: u32,
    fresh: u32,
    /// Number of threads ever started.
    started: u64,
    queue: BTreeMap<Place, Job>,
    arrived: u64,
    running: BTreeSet<u64>,
    /// Running work whose caller no longer waits.
    abandoned: BTreeSet<u64>,
    /// Threads end when the queue is empty.
    closed: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}

/// State of the thread pool of a bulkhead.
///
/// ```
/// use resilient_runtime::{Component, Registry, bulkhead::Config};
///
/// let reports = Registry::new().bulkhead("reports");
/// assert!(reports.stats().pool.is_none(), "the bulkhead has no threads");
/// reports.reconfigure(Config::default().threads(4)).unwrap();
/// let pool = reports.stats().pool.unwrap();
/// assert_eq!((pool.threads, pool.alive), (4, 0), "threads start with the work");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// Maximum number of threads.
    pub threads: u32,
    /// Number of threads.
    pub alive: u32,
    /// Number of running calls.
    pub running: u32,
    /// Number of calls that wait for a thread.
    pub queued: u32,
    /// Number of running calls whose caller has stopped waiting.
    ///
    /// The call timed out or was cancelled.
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

    /// Sets the number of threads. With 0, queued work still runs before the threads end.
    pub(super) fn resize(&self, wanted: u32) {
        // Relaxed: a setting. A call can still use the value from before a change.
        self.0.wanted.store(wanted, Ordering::Relaxed);
        {
            let mut state = self.0.state.lock();
            state.closed = wanted == 0;
            if wanted > 0 {
                state.threads = wanted;
            }
        }
        // Surplus threads end, and queued work might get new threads.
        self.0.news.notify_all();
        self.0.grow();
    }

    /// Whether the settings enable the pool.
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
        // The queue is empty: queued work holds the bulkhead, which holds the pool.
        self.0.state.lock().closed = true;
        self.0.news.notify_all();
    }
}

/// Work that was submitted to a pool. Dropping it withdraws queued work and abandons running work.
struct Submitted {
    pool: Arc<Shared>,
    place: Place,
    /// No thread was free, and none could be added.
    has_to_wait: bool,
    is_open: bool,
}

impl Submitted {
    /// Withdraws the work if it has not started. Work that runs ends by itself and does not count as abandoned.
    #[cfg(feature = "chaos")]
    fn withdraw(mut self) {
        self.is_open = false;
        let withdrawn = self.pool.state.lock().queue.remove(&self.place);
        drop(withdrawn);
    }

    /// Stops waiting for the work. Returns whether it runs. Work that has not started never runs.
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
        // After releasing the lock: this drops the permit and everything that the work holds.
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
    /// Whether there are enough idle or starting threads for all queued work.
    fn has_thread_for_all(&self) -> bool {
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.idle + self.fresh >= waiting
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
