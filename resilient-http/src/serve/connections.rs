//! Who is connected, and which connection gives way when another wants its place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A request is being answered.
const ANSWERS: u8 = 1;
/// Bytes of an answer wait for the client to take them.
const WRITES: u8 = 2;

/// A request whose body has come for so long may be given up for another connection, if it is slow.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes a second; below it is slow.
const SLOW: u64 = 1024;

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Somebody went, or became idle.
    changed: Notify,
    /// Counts what happens to connections: the time by which the idlest is found.
    ticks: AtomicU64,
    began: Instant,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Connection {
    /// Why it is in use: [`ANSWERS`], [`WRITES`].
    uses: AtomicU8,
    /// The tick since which it is not.
    idle_since: AtomicU64,
    body: Incoming,
    end: Notify,
    shared: Arc<Shared>,
}

/// The body of a request that is on its way.
#[derive(Debug, Default)]
struct Incoming {
    /// When it began, in milliseconds since the server did, and one; 0 where there is none.
    since: AtomicU64,
    bytes: AtomicU64,
    cut: Notify,
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

/// While it lives, the body of a request is on its way.
#[derive(Debug)]
pub(super) struct Reading(Arc<Connection>);

impl Connections {
    pub(super) fn new(most: usize) -> Self {
        let shared = Shared { changed: Notify::new(), ticks: AtomicU64::new(0), began: Instant::now() };
        Self { most, open: Mutex::default(), shared: Arc::new(shared) }
    }

    /// A place: a free one, or that of the connection that is idle for longest, or that of the slowest of those whose
    /// request is slow to come; waits while there is none of these.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // Before looking: who goes after that is not missed.
            changed.as_mut().enable();
            if let Some(place) = self.try_place() {
                return place;
            }
            if self.end_idlest()
                && let Some(place) = self.try_place()
            {
                return place;
            }
            // Who is not slow yet may be so in a moment.
            let _ = tokio::time::timeout(PATIENCE, changed).await;
        }
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        (open.len() < self.most).then(|| {
            let id = self.shared.ticks.fetch_add(1, Ordering::Relaxed);
            let connection = Arc::new(Connection {
                uses: AtomicU8::new(0),
                idle_since: AtomicU64::new(id),
                body: Incoming::default(),
                end: Notify::new(),
                shared: Arc::clone(&self.shared),
            });
            open.insert(id, Arc::clone(&connection));
            Place { id, connection, all: Arc::clone(self) }
        })
    }

    /// Ends the connection that is idle for longest, or else the slowest of the slow; whether there is one.
    pub(super) fn end_idlest(&self) -> bool {
        let mut open = self.open();
        let idle = open.iter().filter(|(_, connection)| !connection.is_busy());
        let idlest = idle.min_by_key(|(_, connection)| connection.idle_since.load(Ordering::Relaxed));
        let slowest = || {
            let slow = open.iter().filter_map(|(id, connection)| Some((id, connection.slowness()?)));
            slow.min_by_key(|&(_, rate)| rate).map(|(id, _)| *id)
        };
        let found = idlest.map(|(id, _)| *id).or_else(slowest);
        // It counts no longer, though it may take a moment to end; one that became busy meanwhile ends after its answer.
        let ended = found.and_then(|id| open.remove(&id));
        ended.inspect(|connection| connection.ask_to_end()).is_some()
    }

    /// Ends all: idle ones now, the others after their answer.
    pub(super) fn close(&self) {
        self.open().values().for_each(|connection| connection.end.notify_one());
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&self) {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
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
        self.uses.fetch_or(ANSWERS, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether bytes wait for the client to take them.
    pub(super) fn set_writing(&self, is_so: bool) {
        if is_so {
            self.uses.fetch_or(WRITES, Ordering::Relaxed);
        } else {
            self.end_use(WRITES);
        }
    }

    fn end_use(&self, of: u8) {
        if self.uses.fetch_and(!of, Ordering::Relaxed) == of {
            let now = self.shared.ticks.fetch_add(1, Ordering::Relaxed);
            self.idle_since.store(now, Ordering::Relaxed);
            self.shared.changed.notify_waiters();
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.uses.load(Ordering::Relaxed) != 0
    }

    pub(super) fn begin_body(self: &Arc<Self>) -> Reading {
        self.body.bytes.store(0, Ordering::Relaxed);
        self.body.since.store(self.millis() + 1, Ordering::Relaxed);
        Reading(Arc::clone(self))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.shared.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Bytes a second of a body that is slow to come.
    fn slowness(&self) -> Option<u64> {
        let since = self.body.since.load(Ordering::Relaxed).checked_sub(1)?;
        let took = self.millis().saturating_sub(since);
        let rate = self.body.bytes.load(Ordering::Relaxed).saturating_mul(1000) / took.max(1);
        (u128::from(took) >= PATIENCE.as_millis() && rate < SLOW).then_some(rate)
    }

    fn ask_to_end(&self) {
        self.end.notify_one();
        if self.body.since.load(Ordering::Relaxed) != 0 {
            self.body.cut.notify_one();
        }
    }

    /// Waits until its place is wanted.
    pub(super) async fn asked_to_end(&self) {
        self.end.notified().await;
    }
}

impl Reading {
    /// More of it has come.
    pub(super) fn add(&self, bytes: usize) {
        self.0.body.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits until somebody else needs the connection.
    pub(super) fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let connection = Arc::clone(&self.0);
        async move { connection.body.cut.notified().await }
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
        self.all.shared.changed.notify_waiters();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end_use(ANSWERS);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.body.since.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_idlest_gives_way_and_who_answers_does_not() {
        let all = Arc::new(Connections::new(2));
        let (first, second) = (all.place().await, all.place().await);
        // The first has just answered, so that the second is idle for longer.
        drop(first.connection().begin());
        let third = all.place().await;
        second.connection().asked_to_end().await;
        let (_busy, _also) = (first.connection().begin(), third.connection().begin());
        let mut waiting = std::pin::pin!(all.place());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        // Its place was given away long ago.
        drop(second);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(third);
        assert!(futures_util::poll!(waiting.as_mut()).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn who_becomes_idle_gives_its_place_to_who_waits_but_not_before_all_is_sent() {
        let all = Arc::new(Connections::new(1));
        let only = all.place().await;
        let busy = only.connection().begin();
        let mut waiting = std::pin::pin!(all.place());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        only.connection().set_writing(true);
        drop(busy);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        only.connection().set_writing(false);
        assert!(futures_util::poll!(waiting.as_mut()).is_ready());
        only.connection().asked_to_end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_whose_request_is_slow_to_come_the_slowest_gives_way() {
        let all = Arc::new(Connections::new(2));
        let (slow, fast) = (all.place().await, all.place().await);
        let uses = [&slow, &fast].map(|place| (place.connection().begin(), place.connection().begin_body()));
        uses[1].1.add(1 << 20);
        let began = Instant::now();
        let third = all.place().await;
        assert!(began.elapsed() >= PATIENCE);
        slow.connection().asked_to_end().await;
        uses[0].1.cut().await;
        let _third = third.connection().begin();
        assert!(tokio::time::timeout(PATIENCE * 3, all.place()).await.is_err(), "the fast one is not cut");
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
