//! Reads of the store. All concurrent calls for a key share one read.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;

use super::{Distributed, DistributedKey, role};
use crate::clock::Instant;
use crate::store::wait::{guarded, within};
use crate::store::{Backend, Guard, Need, StoreError};
use crate::sync::Mutex;

/// A value in the store.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(super) bytes: Arc<[u8]>,
    /// Its age at `read`.
    pub(super) age: Duration,
    pub(super) read: Instant,
}

/// The value that a read found, and the state of the key when it began.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    /// The number of the last change of a value in memory when the read began.
    pub(super) began: u64,
    /// Whether a value of the key waited for its write, or was being written, when the read began.
    pub(super) had_write: bool,
    pub(super) value: Option<Value>,
}

/// The result of a read.
pub(crate) type Outcome = Result<Read, StoreError>;

/// The reads that are in progress. The store limits their number.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<HashMap<Arc<str>, Joined>>);

/// A read in progress that calls can join.
#[derive(Debug)]
struct Joined {
    /// See [`Read::began`].
    began: u64,
    receiver: watch::Receiver<Option<Outcome>>,
}

/// A read in progress. Other calls cannot join it after it is dropped.
struct Flight {
    cache: Arc<Distributed>,
    key: Arc<str>,
    began: u64,
    had_write: bool,
    sender: watch::Sender<Option<Outcome>>,
}

impl Flight {
    fn land(self, found: Result<Option<Value>, StoreError>) {
        let (began, had_write) = (self.began, self.had_write);
        self.sender.send_replace(Some(found.map(|value| Read { began, had_write, value })));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut all = self.cache.reads.0.lock();
        // A later read may have taken its place.
        let is_own = |joined: &Joined| joined.receiver.same_channel(&self.sender.subscribe());
        if all.get(&self.key).is_some_and(is_own) {
            all.remove(&self.key);
        }
    }
}

impl Distributed {
    /// Reads the value of a key, or waits for a read that is in progress.
    ///
    /// # Cancel safety
    /// The read continues in the background, because other calls may wait for it.
    pub(super) async fn read(self: Arc<Self>, guard: Arc<Guard>, key: DistributedKey) -> Outcome {
        let mut receiver = self.join(&guard, &key);
        match receiver.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(StoreError::TimedOut)),
            Err(_) => Err(StoreError::Unavailable("the read of the store was stopped".to_owned())),
        }
    }

    fn join(self: &Arc<Self>, guard: &Arc<Guard>, key: &DistributedKey) -> watch::Receiver<Option<Outcome>> {
        let (sender, receiver) = watch::channel(None);
        let text = key.text();
        let began = {
            let mut all = self.reads.0.lock();
            // A read that began before the key was removed may return the removed value, and one that has ended is old.
            let is_current = |joined: &&Joined| {
                let has_ended = joined.receiver.borrow().is_some();
                !has_ended && !self.near.is_removed_since(key.hash(), joined.began)
            };
            if let Some(joined) = all.get(text).filter(is_current) {
                self.counters.joined_reads.count();
                return joined.receiver.clone();
            }
            let began = self.near.changes();
            all.insert(Arc::clone(text), Joined { began, receiver: receiver.clone() });
            began
        };
        self.counters.reads.count();
        // After `began`, because a value is added to the queue before it is kept in memory.
        let had_write = self.writes.has(text);
        let flight = Flight { cache: Arc::clone(self), key: Arc::clone(text), began, had_write, sender };
        self.fly(flight, guard);
        receiver
    }

    /// Reads on this thread if the store responds at once, and otherwise in the background, so that the read does not
    /// depend on the call.
    fn fly(&self, flight: Flight, guard: &Arc<Guard>) {
        let clock = self.environment.clock.clone();
        let until = clock.now().after(guard.timeout());
        let (key, asked) = (Arc::clone(&flight.key), Arc::clone(guard));
        let mut read = Box::pin(guarded(move || {
            Box::pin(async move {
                let get = |backend: Arc<dyn Backend>| async move { role(&*backend)?.get(&key).await };
                asked.request(Need::Optional, get).await
            })
        }));
        let value = |found: Option<crate::fallback::CacheEntry>, read| {
            found.map(|entry| Value { bytes: entry.value.into(), age: entry.age, read })
        };
        if !guard.may_delay()
            && let Poll::Ready(found) = read.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            return flight.land(found.map(|found| value(found, clock.now())));
        }
        let sender = flight.sender.clone();
        let started = guard.start(async move {
            let found = within(&clock, until, read).await;
            flight.land(found.map(|found| value(found, clock.now())));
        });
        if let Err(problem) = started {
            sender.send_replace(Some(Err(StoreError::Unavailable(problem))));
        }
    }
}
