//! The threads of a pool.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Pool, Shared};
use crate::clock::Clock;
use crate::observe::log_limited;

/// Work that runs on a thread. Dropping it ends the run.
pub(super) struct OnThread<'a> {
    pool: &'a Shared,
    number: u64,
}

impl Drop for OnThread<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        state.running.remove(&self.number);
        state.abandoned.remove(&self.number);
    }
}

impl Shared {
    /// Wakes a thread for the queued work, or starts threads.
    pub(super) fn grow(self: &Arc<Self>) {
        loop {
            let number = {
                let mut state = self.state.lock();
                if state.has_thread_for_all() || state.alive >= state.threads {
                    break;
                }
                state.alive += 1;
                state.fresh += 1;
                state.started += 1;
                state.started
            };
            if let Err(error) = self.start(number) {
                self.not_started(&error);
                break;
            }
        }
        self.news.notify_one();
    }

    fn start(self: &Arc<Self>, number: u64) -> std::io::Result<()> {
        #[cfg(test)]
        if NO_THREADS.get() {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let shared = Arc::clone(self);
        let name = format!("resilient-{}-{number}", self.name);
        std::thread::Builder::new().name(name).spawn(move || shared.work()).map(drop)
    }

    /// Handles a thread that could not be started. If there is no other thread, the queued work is dropped, which
    /// rejects it.
    #[cold]
    fn not_started(&self, error: &std::io::Error) {
        log_limited!(
            self.not_started_log, &Clock::system(), WARN, target: "resilient_runtime::bulkhead",
            bulkhead = %self.name, %error, "could not start a thread"
        );
        let refused = {
            let mut state = self.state.lock();
            state.alive -= 1;
            state.fresh -= 1;
            if state.alive == 0 { std::mem::take(&mut state.queue) } else { BTreeMap::new() }
        };
        // After releasing the lock: a rejected caller might call again at once.
        drop(refused);
    }

    fn work(self: Arc<Self>) {
        let mut state = self.state.lock();
        state.fresh -= 1;
        loop {
            if state.alive > state.threads || (state.closed && state.queue.is_empty()) {
                state.alive -= 1;
                drop(state);
                // This thread might have been woken for work that another thread must do now.
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
            let place = OnThread { pool: &self, number };
            // The work catches its own panic. This catches a panic in the drop of an abandoned result.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(place))) {
                log_limited!(
                    self.panicked_log, &Clock::system(), ERROR, target: "resilient_runtime::bulkhead",
                    bulkhead = %self.name, "an abandoned result panicked when it was dropped"
                );
                // Not dropped, because that could panic too.
                std::mem::forget(panic);
            }
            state = self.state.lock();
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Simulates that this thread cannot start threads.
    pub(super) static NO_THREADS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

thread_local! {
    static HERE: RefCell<Option<Arc<Inside>>> = const { RefCell::new(None) };
}

/// The pools that the work on this thread occupies: its own, and those that it was called from.
pub(super) struct Inside {
    pool: Arc<Shared>,
    outer: Option<Arc<Self>>,
}

impl Inside {
    /// Adds `pool` to the pools that this thread is in. Returns `None` if it is already one of them, because waiting
    /// for it could deadlock.
    pub(super) fn of(pool: &Pool) -> Option<Arc<Self>> {
        let outer = HERE.with_borrow(Clone::clone);
        let mut next = outer.as_ref();
        while let Some(inside) = next {
            if Arc::ptr_eq(&inside.pool, &pool.0) {
                return None;
            }
            next = inside.outer.as_ref();
        }
        Some(Arc::new(Self { pool: Arc::clone(&pool.0), outer }))
    }

    /// Sets the pools of this thread until the guard is dropped.
    pub(super) fn enter(self: Arc<Self>) -> Entered {
        HERE.set(Some(self));
        Entered(())
    }
}

pub(super) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        // Taken out first: dropping it might read the variable.
        let left = HERE.take();
        drop(left);
    }
}
