//! Writes to the store, in the background.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Distributed, TARGET, role};
use crate::observe::log_limited;
use crate::store::wait::guarded;
use crate::store::{Backend, Guard, Need, StoreError};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Maximum number of keys that wait. Further values are not written to the store.
const MAX_QUEUED: usize = 1_024;
/// Maximum number of writes at the same time.
const MAX_WORKERS: u32 = 8;

/// A value to write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Arc<str>,
    pub(super) bytes: Arc<[u8]>,
    pub(super) ttl: Duration,
    pub(super) guard: Arc<Guard>,
    /// Checks that the value can be read.
    pub(super) check: fn(&[u8]) -> Result<(), String>,
}

#[derive(Debug, Default)]
pub(super) struct Writes {
    queue: Mutex<Queue>,
    /// Whether a value was read back before it was written. Relaxed: two values may be checked.
    is_checked: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    /// The keys with a value that waits, and those that are being written.
    slots: HashMap<Arc<str>, Slot>,
    /// The keys that can be written next.
    order: VecDeque<Arc<str>>,
    workers: u32,
}

#[derive(Debug, Default)]
struct Slot {
    /// The newest value that waits.
    next: Option<Write>,
    /// Writes of one key never overtake each other.
    is_written: bool,
}

/// The result of adding a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queued {
    Waits,
    /// It waits in place of an older one.
    Replaced,
    Dropped,
}

impl Writes {
    pub(super) fn len(&self) -> u64 {
        self.queue.lock().slots.len() as u64
    }

    /// Forgets a value that waits.
    pub(super) fn forget(&self, key: &Arc<str>) {
        if let Some(slot) = self.queue.lock().slots.get_mut(key) {
            slot.next = None;
        }
    }

    /// Adds a value. Returns whether the caller must start a worker too.
    fn push(&self, write: Write) -> (Queued, bool) {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        if let Some(slot) = queue.slots.get_mut(&write.key) {
            let was = slot.next.replace(write);
            // A worker may have been dropped together with its thread.
            let starts = queue.workers == 0;
            queue.workers += u32::from(starts);
            return (if was.is_some() { Queued::Replaced } else { Queued::Waits }, starts);
        }
        if queue.slots.len() >= MAX_QUEUED {
            return (Queued::Dropped, false);
        }
        let key = Arc::clone(&write.key);
        queue.order.push_back(Arc::clone(&key));
        queue.slots.insert(key, Slot { next: Some(write), is_written: false });
        let starts = queue.workers < MAX_WORKERS;
        queue.workers += u32::from(starts);
        (Queued::Waits, starts)
    }

    /// Returns the next value to write. Without one, the worker ends.
    fn next(&self) -> Option<Write> {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        while let Some(key) = queue.order.pop_front() {
            let Some(slot) = queue.slots.get_mut(&key) else { continue };
            if let Some(write) = slot.next.take() {
                slot.is_written = true;
                return Some(write);
            }
            queue.slots.remove(&key);
        }
        // Under the lock, so that the next value starts a worker again.
        queue.workers -= 1;
        None
    }

    /// A write of this key has ended.
    fn written(&self, key: &Arc<str>) {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        let Some(slot) = queue.slots.get_mut(key) else { return };
        slot.is_written = false;
        if slot.next.is_some() {
            queue.order.push_back(Arc::clone(key));
        } else {
            queue.slots.remove(key);
        }
    }
}

/// A worker in the background. Its counter is right even if its task is dropped.
struct Worker {
    cache: Arc<Distributed>,
    writes: Option<Arc<str>>,
    has_ended: bool,
}

impl Worker {
    fn next(&mut self) -> Option<Write> {
        let write = self.cache.writes.next();
        self.has_ended = write.is_none();
        self.writes = write.as_ref().map(|write| Arc::clone(&write.key));
        write
    }

    fn written(&mut self) {
        if let Some(key) = self.writes.take() {
            self.cache.writes.written(&key);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.written();
        if !self.has_ended {
            self.cache.writes.queue.lock().workers -= 1;
        }
    }
}

impl Distributed {
    pub(super) fn enqueue(self: &Arc<Self>, write: Write) {
        let guard = Arc::clone(&write.guard);
        let (queued, starts) = self.writes.push(write);
        match queued {
            Queued::Waits => {}
            Queued::Replaced => self.counters.replaced_writes.count(),
            Queued::Dropped => {
                self.counters.dropped_writes.count();
                log_limited!(
                    self.logs.dropped, &self.environment.clock, WARN, target: TARGET,
                    fallback = %self.name, waiting = MAX_QUEUED,
                    "a result was not written to the distributed cache: too many results wait for the store"
                );
            }
        }
        if starts {
            let mut worker = Worker { cache: Arc::clone(self), writes: None, has_ended: false };
            let started = guard.start(async move {
                while let Some(write) = worker.next() {
                    let cache = Arc::clone(&worker.cache);
                    cache.perform(write).await;
                    worker.written();
                }
            });
            if let Err(problem) = started {
                self.write_failed(&StoreError::Unavailable(problem));
            }
        }
    }

    async fn perform(&self, write: Write) {
        // Checks whether the type can be read back, without the caller. Each read checks its value.
        if !self.writes.is_checked.load(Ordering::Relaxed) {
            if let Err(problem) = (write.check)(&write.bytes) {
                return self.not_stored(&problem);
            }
            self.writes.is_checked.store(true, Ordering::Relaxed);
        }
        let Write { key, bytes, ttl, guard, .. } = write;
        let put = guarded(|| {
            Box::pin(guard.within(Need::Optional, move |backend: Arc<dyn Backend>| async move {
                role(&*backend)?.put(&key, bytes.to_vec(), ttl).await
            }))
        });
        match put.await {
            Ok(()) => self.counters.written.count(),
            Err(error) => self.write_failed(&error),
        }
    }

    #[cold]
    fn write_failed(&self, error: &StoreError) {
        self.counters.failed_writes.count();
        let problem = self.environment.texts().clean(&error.to_string()).unwrap_or_default();
        log_limited!(
            self.logs.failed_write, &self.environment.clock, WARN, target: TARGET,
            fallback = %self.name, problem, "a result was not written to the distributed cache"
        );
    }
}
