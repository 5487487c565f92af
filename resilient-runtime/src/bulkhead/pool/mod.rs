//! Threads of a bulkhead's own: what runs there can hang without taking anybody else's thread with it, and whoever
//! waits for it can stop waiting.
//!
//! A place in the pool, running or queued, is a permit of the bulkhead's gate; it goes back when the work has really
//! ended, and not when its caller has left. Threads are started when there is work for them, and stay. They belong to the
//! process and never keep it alive.

mod running;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(crate) use running::{Phase, Running};

use crate::priority::Priority;
use crate::sync::{Condvar, Mutex};

/// The work of one call. It catches its own panic.
type Job = Box<dyn FnOnce() + Send>;
/// Higher classes first, then in the order of arrival.
type Place = (Reverse<Priority>, u64);

/// The pool of one bulkhead; with it its threads end, each after what it does.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    name: &'static str,
    state: Mutex<State>,
    /// There is work, or nothing more to wait for.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// How many threads there may be.
    threads: u32,
    /// How many there are, and those of them that wait for work.
    alive: u32,
    idle: u32,
    queue: BTreeMap<Place, Job>,
    arrived: u64,
    running: BTreeSet<u64>,
    /// Those of the running ones that nobody waits for any more.
    abandoned: BTreeSet<u64>,
    closed: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}

/// What the threads of a bulkhead do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
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

/// No thread could be started.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoThread;

thread_local! {
    /// The address of the pool that this thread belongs to; 0 for none.
    static POOL: Cell<usize> = const { Cell::new(0) };
}

impl Pool {
    pub(super) fn new(name: &'static str, threads: u32) -> Self {
        let state = Mutex::new(State { threads, ..State::default() });
        Self(Arc::new(Shared { name, state, news: Condvar::new() }))
    }

    pub(super) fn resize(&self, threads: u32) {
        self.0.state.lock().threads = threads;
        // Those that are too many end; and for what waits there may be room for more.
        self.0.news.notify_all();
        let waits = !self.0.state.lock().queue.is_empty();
        if waits {
            let _ = self.0.grow();
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.0.state.lock();
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        PoolStats {
            threads: state.threads,
            alive: state.alive,
            running: count(state.running.len()),
            queued: count(state.queue.len()),
            abandoned: count(state.abandoned.len()),
        }
    }

    /// Whether this thread is one of the pool's: to wait here for the pool could be to wait for oneself.
    pub(super) fn is_here(&self) -> bool {
        POOL.get() == Arc::as_ptr(&self.0).addr()
    }

    /// Queues work; its place, by which it can be withdrawn.
    pub(super) fn submit(&self, priority: Priority, job: Job) -> Result<Submitted, NoThread> {
        let place = {
            let mut state = self.0.state.lock();
            state.arrived += 1;
            let place = (Reverse(priority), state.arrived);
            state.queue.insert(place, job);
            place
        };
        let submitted = Submitted { pool: Arc::clone(&self.0), place };
        // If none can be started and there is none, dropping it takes the work out again.
        self.0.grow()?;
        Ok(submitted)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.news.notify_all();
    }
}

/// Work that was handed to a pool. Dropped before it began, it never will; while it runs, it is abandoned.
pub(super) struct Submitted {
    pool: Arc<Shared>,
    place: Place,
}

impl Drop for Submitted {
    fn drop(&mut self) {
        let withdrawn = {
            let mut state = self.pool.state.lock();
            let withdrawn = state.queue.remove(&self.place);
            if withdrawn.is_none() && state.running.contains(&self.place.1) {
                state.abandoned.insert(self.place.1);
            }
            withdrawn
        };
        // Outside of the lock: with it goes its permit, and whatever the work holds.
        drop(withdrawn);
    }
}

impl Shared {
    /// Wakes a thread for what waits, or starts one more. The error: there is none, and none can be started.
    fn grow(self: &Arc<Self>) -> Result<(), NoThread> {
        {
            let mut state = self.state.lock();
            let waiting = u32::try_from(state.queue.len()).unwrap_or(u32::MAX);
            if state.idle >= waiting || state.alive >= state.threads {
                drop(state);
                self.news.notify_one();
                return Ok(());
            }
            state.alive += 1;
        }
        let shared = Arc::clone(self);
        let name = format!("resilient-{}", self.name);
        let Err(error) = std::thread::Builder::new().name(name).spawn(move || shared.work()) else {
            return Ok(());
        };
        tracing::warn!(target: "resilient::bulkhead", bulkhead = %self.name, %error, "no thread could be started");
        let mut state = self.state.lock();
        state.alive -= 1;
        if state.alive == 0 { Err(NoThread) } else { Ok(()) }
    }

    /// What each thread does.
    fn work(self: Arc<Self>) {
        POOL.set(Arc::as_ptr(&self).addr());
        let mut state = self.state.lock();
        loop {
            if state.closed || state.alive > state.threads {
                state.alive -= 1;
                drop(state);
                // It may have been woken for work that another has to do now.
                self.news.notify_one();
                return;
            }
            let Some(((_, number), job)) = state.queue.pop_first() else {
                state.idle += 1;
                state = self.news.wait(state);
                state.idle -= 1;
                continue;
            };
            state.running.insert(number);
            drop(state);
            // The work catches its own panic; this is for one in the drop of what nobody waited for.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!(target: "resilient::bulkhead", bulkhead = %self.name, "an abandoned answer panicked when it was dropped");
            }
            state = self.state.lock();
            state.running.remove(&number);
            state.abandoned.remove(&number);
        }
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
