//! Who is connected, and which connection gives way when another wants its place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a connection that answers a request has instead of a time since which it is idle.
const BUSY: u64 = u64::MAX;

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    /// Somebody went, or became idle.
    changed: Arc<Notify>,
    /// Counts what happens to connections: the time by which the idlest is found.
    ticks: Arc<AtomicU64>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Connection {
    /// The tick at which its last answer ended.
    idle_since: AtomicU64,
    /// Bodies of answers that are on their way, and requests: over HTTP/1 one at most.
    end: Notify,
    changed: Arc<Notify>,
    ticks: Arc<AtomicU64>,
}

/// The place of a connection; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    connection: Arc<Connection>,
    all: Arc<Connections>,
}

/// While it lives, a request is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Connections {
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default(), changed: Arc::default(), ticks: Arc::default() }
    }

    /// A place, had from the one that is idle for longest if there is no other; waits while all are busy.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking: who goes after that is not missed.
            changed.as_mut().enable();
            if let Some(place) = self.try_place() {
                return place;
            }
            if !self.end_idlest() {
                changed.await;
            } else if let Some(place) = self.try_place() {
                return place;
            }
        }
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        (open.len() < self.most).then(|| {
            let id = self.ticks.fetch_add(1, Ordering::Relaxed);
            let connection = Arc::new(Connection {
                idle_since: AtomicU64::new(id),
                end: Notify::new(),
                changed: Arc::clone(&self.changed),
                ticks: Arc::clone(&self.ticks),
            });
            open.insert(id, Arc::clone(&connection));
            Place { id, connection, all: Arc::clone(self) }
        })
    }

    /// Ends the connection that is idle for longest; whether there is one.
    pub(super) fn end_idlest(&self) -> bool {
        let mut open = self.open();
        let times = open.iter().map(|(&id, connection)| (connection.idle_since.load(Ordering::Relaxed), id));
        let idlest = times.min().filter(|&(since, _)| since != BUSY);
        // It counts no longer, though it may take a moment to end; one that became busy meanwhile ends after its answer.
        let ended = idlest.and_then(|(_, id)| open.remove(&id));
        ended.inspect(|connection| connection.end.notify_one()).is_some()
    }

    /// Ends all: idle ones now, the others after their answer.
    pub(super) fn close(&self) {
        self.open().values().for_each(|connection| connection.end.notify_one());
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.open().is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.idle_since.store(BUSY, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.idle_since.load(Ordering::Relaxed) == BUSY
    }

    /// Waits until its place is wanted.
    pub(super) async fn asked_to_end(&self) {
        self.end.notified().await;
    }
}

impl Place {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.open().remove(&self.id);
        self.all.changed.notify_waiters();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.0.ticks.fetch_add(1, Ordering::Relaxed);
        self.0.idle_since.store(now, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_idlest_gives_way_and_who_answers_does_not() {
        let all = Arc::new(Connections::new(2));
        let (first, second) = (all.place().await, all.place().await);
        // The first has just answered, so that the second is idle for longer.
        drop(first.connection().begin());
        let third = all.place().await;
        second.connection().asked_to_end().await;
        let (_busy, _also) = (first.connection().begin(), third.connection().begin());
        let waiting = all.place();
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        // Its place was given away long ago.
        drop(second);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(third);
        assert!(futures_util::poll!(waiting.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn who_becomes_idle_gives_its_place_to_who_waits() {
        let all = Arc::new(Connections::new(1));
        let only = all.place().await;
        let busy = only.connection().begin();
        let mut waiting = std::pin::pin!(all.place());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(busy);
        assert!(futures_util::poll!(waiting.as_mut()).is_ready());
        only.connection().asked_to_end().await;
    }

    #[tokio::test]
    async fn the_end_is_when_all_have_gone() {
        let all = Arc::new(Connections::new(9));
        let place = all.place().await;
        all.close();
        place.connection().asked_to_end().await;
        let mut ended = std::pin::pin!(all.ended());
        assert!(futures_util::poll!(ended.as_mut()).is_pending());
        drop(place);
        assert!(futures_util::poll!(ended.as_mut()).is_ready());
    }
}
