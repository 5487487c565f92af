//! Writes to the store, in the background.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{Distributed, TARGET, role};
use crate::clock::Instant;
use crate::fallback::CacheEntry;
use crate::observe::log_limited;
use crate::store::wait::guarded;
use crate::store::{Backend, Guard, Need, StoreError};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Maximum number of keys that wait. Further values are not written to the store.
const MAX_QUEUED: usize = 1_024;
/// Maximum total size of the values that wait or are being written.
const MAX_BYTES: usize = 64 << 20;
/// Maximum number of writes at the same time.
const MAX_WORKERS: u32 = 8;

/// A value to write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Arc<str>,
    pub(super) bytes: Arc<[u8]>,
    /// When the value was added. Its age counts from here.
    pub(super) added: Instant,
    pub(super) ttl: Duration,
    pub(super) guard: Arc<Guard>,
    /// Checks that the value can be read.
    pub(super) check: fn(&[u8]) -> Result<(), String>,
}

#[derive(Debug, Default)]
pub(super) struct Writes {
    queue: Mutex<Queue>,
    /// A write has ended.
    ended: Notify,
    /// Whether a value was read back before it was written. Relaxed: two values may be checked.
    is_checked: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    /// The keys with a value that waits, and those that are being written.
    slots: HashMap<Arc<str>, Slot>,
    /// The keys that can be written next.
    order: VecDeque<Arc<str>>,
    /// The total size of the values in `slots`.
    bytes: usize,
    /// The number of writes that were started.
    started: u64,
    workers: u32,
}

#[derive(Debug, Default)]
struct Slot {
    /// The newest value that waits.
    next: Option<Write>,
    /// The write in progress. Writes of one key never overtake each other.
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    number: u64,
    bytes: usize,
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

    /// Returns whether a value of this key waits or is being written.
    pub(super) fn has(&self, key: &Arc<str>) -> bool {
        let queue = self.queue.lock();
        queue.slots.get(key).is_some_and(|slot| slot.next.is_some() || slot.current.is_some())
    }

    /// Forgets a value that waits. Returns the number of the write of this key that is in progress.
    pub(super) fn forget(&self, key: &Arc<str>) -> Option<u64> {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        let slot = queue.slots.get_mut(key)?;
        queue.bytes -= slot.next.take().map_or(0, |write| write.bytes.len());
        slot.current.map(|current| current.number)
    }

    /// Waits until this write of the key has ended.
    pub(super) async fn end_of(&self, key: &Arc<str>, number: u64) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            let current = self.queue.lock().slots.get(key).and_then(|slot| slot.current);
            if current.is_none_or(|current| current.number != number) {
                return;
            }
            ended.await;
        }
    }

    /// Adds a value. Returns whether the caller must start a worker too.
    fn push(&self, write: Write) -> (Queued, bool) {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        let new = write.bytes.len();
        if let Some(slot) = queue.slots.get_mut(&write.key) {
            let old = slot.next.as_ref().map_or(0, |write| write.bytes.len());
            if queue.bytes - old + new > MAX_BYTES {
                return (Queued::Dropped, false);
            }
            queue.bytes = queue.bytes - old + new;
            let was = slot.next.replace(write);
            // A worker may have been dropped together with its thread.
            let starts = queue.workers == 0;
            queue.workers += u32::from(starts);
            return (if was.is_some() { Queued::Replaced } else { Queued::Waits }, starts);
        }
        if queue.slots.len() >= MAX_QUEUED || queue.bytes + new > MAX_BYTES {
            return (Queued::Dropped, false);
        }
        let key = Arc::clone(&write.key);
        queue.order.push_back(Arc::clone(&key));
        queue.bytes += new;
        queue.slots.insert(key, Slot { next: Some(write), current: None });
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
                queue.started += 1;
                slot.current = Some(Current { number: queue.started, bytes: write.bytes.len() });
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
        queue.bytes -= slot.current.take().map_or(0, |current| current.bytes);
        if slot.next.is_some() {
            queue.order.push_back(Arc::clone(key));
        } else {
            queue.slots.remove(key);
        }
        self.ended.notify_waiters();
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
            Queued::Dropped => self.dropped("too many results wait for the store"),
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
        let Write { key, bytes, added, ttl, guard, .. } = write;
        let clock = &self.environment.clock;
        let put = guarded(|| {
            Box::pin(guard.within(Need::Optional, move |backend: Arc<dyn Backend>| async move {
                let age = clock.now().since(added);
                let Some(left) = ttl.checked_sub(age).filter(|left| !left.is_zero()) else {
                    return Ok(false);
                };
                role(&*backend)?.put(&key, CacheEntry::new(bytes.to_vec(), age), left).await?;
                Ok(true)
            }))
        });
        match put.await {
            Ok(true) => self.counters.written.count(),
            Ok(false) => self.dropped("it waited longer than its maximum age"),
            Err(error) => self.write_failed(&error),
        }
    }

    #[cold]
    fn dropped(&self, problem: &str) {
        self.counters.dropped_writes.count();
        log_limited!(
            self.logs.dropped, &self.environment.clock, WARN, target: TARGET,
            fallback = %self.name, problem, "a result was not written to the distributed cache"
        );
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
