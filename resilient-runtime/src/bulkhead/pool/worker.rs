//! What each thread does, and whose work it is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Pool, Shared};
use crate::clock::Clock;
use crate::observe::log_limited;

/// Work on its thread; dropped, it is there no more.
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
    /// Wakes a thread for what waits, or starts some.
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

    /// The system has no thread to give. If there is none that will come to it, what waits is dropped, and so refused.
    #[cold]
    fn not_started(&self, error: &std::io::Error) {
        log_limited!(
            self.not_started_log, &Clock::system(), WARN, target: "resilient_runtime::bulkhead",
            bulkhead = %self.name, %error, "no thread could be started"
        );
        let refused = {
            let mut state = self.state.lock();
            state.alive -= 1;
            state.fresh -= 1;
            if state.alive == 0 { std::mem::take(&mut state.queue) } else { BTreeMap::new() }
        };
        // Outside of the lock: who learns of it may come again at once.
        drop(refused);
    }

    fn work(self: Arc<Self>) {
        let mut state = self.state.lock();
        state.fresh -= 1;
        loop {
            if state.alive > state.threads || (state.closed && state.queue.is_empty()) {
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
            let place = OnThread { pool: &self, number };
            // The work catches its own panic; this is for one in the drop of what nobody waited for.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(place))) {
                log_limited!(
                    self.panicked_log, &Clock::system(), ERROR, target: "resilient_runtime::bulkhead",
                    bulkhead = %self.name, "an abandoned answer panicked when it was dropped"
                );
                // Not dropped: that could panic as well.
                std::mem::forget(panic);
            }
            state = self.state.lock();
        }
    }
}

#[cfg(test)]
thread_local! {
    /// The system has no thread to give to this one.
    pub(super) static NO_THREADS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

thread_local! {
    static HERE: RefCell<Option<Arc<Inside>>> = const { RefCell::new(None) };
}

/// The pools whose threads are taken by what this thread does: its own, and those from which it was called.
pub(super) struct Inside {
    pool: Arc<Shared>,
    outer: Option<Arc<Self>>,
}

impl Inside {
    /// In `pool`, and in those that this thread is in; `None` if `pool` is one of them. To wait for it could then be to
    /// wait for oneself, round however many corners.
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

    /// Makes this what the thread is in, until the guard is dropped.
    pub(super) fn enter(self: Arc<Self>) -> Entered {
        HERE.set(Some(self));
        Entered(())
    }
}

pub(super) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        // Taken out first: what is dropped with it may look here.
        let left = HERE.take();
        drop(left);
    }
}
