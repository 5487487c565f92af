//! The connection to one server, which is opened when it is needed and replaced when it is lost.
//!
//! The connection of the crate `redis` never reconnects, and its `ConnectionManager` keeps the error of a refused login.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use crate::attempt::Shared;
use crate::clocks::{Clock, Clocks};
use crate::problem::Failure;
use crate::sentinel::Sentinels;
use crate::server::{self, Server};

/// How long a connection attempt may take. An operation waits only until its own time limit.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// How long finding and opening the connection may take. The rest of [`CONNECT`] is for the first request on it.
const OPEN: Duration = Duration::from_secs(4);
/// The shortest time between two lookups of where a server is.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// A random duration from `span` to one and a half of it, so that instances do not all connect at the same moment.
pub(crate) fn jittered(span: Duration) -> Duration {
    // Each `RandomState` has other keys.
    let random = RandomState::new().hash_one(0_u8) % 1024;
    span + span * u32::try_from(random).unwrap_or(0) / 2048
}

/// An open connection.
pub(crate) struct Live {
    number: u64,
    pub(crate) connection: MultiplexedConnection,
    pub(crate) server: Server,
    /// Number of responses received. Relaxed: only one thread uses it.
    responses: AtomicU64,
    clock: Arc<Clock>,
}

impl Live {
    pub(crate) fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed)
    }

    /// Notes a response and the time on the server in it, in microseconds.
    pub(crate) fn answered(&self, micros: u64) {
        self.responses.fetch_add(1, Ordering::Relaxed);
        self.clock.set(micros);
    }

    /// The time on the server at `at`, in microseconds, or earlier by at most the last response's time on the network.
    pub(crate) fn server_time(&self, at: Instant) -> u64 {
        self.clock.time(at)
    }
}

/// A server with its connection.
#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner {
    target: Target,
    connection: Shared<Arc<Live>>,
    /// The clocks of all servers of the store.
    clocks: Arc<Clocks>,
    /// The server whose settings were checked last.
    checked: Mutex<Option<Arc<str>>>,
    /// Whether the sentinels are asked to report a new primary.
    is_watched: AtomicBool,
}

enum Target {
    Server(Server),
    /// The server that is the primary when a connection is opened.
    Primary(Arc<Sentinels>),
}

impl Node {
    pub(crate) fn new(server: Server, clocks: Arc<Clocks>) -> Self {
        Self::of(Target::Server(server), Duration::ZERO, clocks)
    }

    pub(crate) fn primary(sentinels: Arc<Sentinels>) -> Self {
        Self::of(Target::Primary(sentinels), jittered(PAUSE), Arc::default())
    }

    fn of(target: Target, pause: Duration, clocks: Arc<Clocks>) -> Self {
        let (connection, checked) = (Shared::new(pause), Mutex::new(None));
        Self(Arc::new(Inner { target, connection, clocks, checked, is_watched: AtomicBool::new(false) }))
    }

    /// The address of the server, unless it is looked up.
    pub(crate) fn address(&self) -> Option<&Arc<str>> {
        match &self.0.target {
            Target::Server(server) => Some(&server.address),
            Target::Primary(_) => None,
        }
    }

    /// The server, which is looked up if another one can have become the primary.
    pub(crate) async fn server(&self) -> Result<Server, Failure> {
        match &self.0.target {
            Target::Server(server) => Ok(server.clone()),
            Target::Primary(sentinels) => {
                sentinels.primary(Instant::now() + CONNECT).await.map(|(server, _)| server)
            }
        }
    }

    /// Returns the open connection, or opens one. Concurrent callers share one attempt, which continues if they leave.
    pub(crate) async fn get(&self) -> Result<Arc<Live>, Failure> {
        self.0
            .connection
            .get(|number| {
                let node = self.clone();
                async move { node.open(number).await }
            })
            .await
    }

    async fn open(&self, number: u64) -> Result<Arc<Live>, Failure> {
        let start = Instant::now();
        let end = start + CONNECT;
        let (server, mut connection) = match &self.0.target {
            Target::Server(server) => (server.clone(), server.connect(OPEN).await?),
            Target::Primary(sentinels) => {
                self.watch(sentinels);
                sentinels.primary(start + OPEN).await?
            }
        };
        let (time, asked) = (redis::cmd("TIME"), Instant::now());
        let time = time.query_async(&mut connection);
        let (seconds, micros): (u64, u64) =
            server.within(end.saturating_duration_since(Instant::now()), time).await?;
        let clock = Arc::new(Clock::new(seconds.saturating_mul(1_000_000).saturating_add(micros)));
        self.0.clocks.compare(&server.address, &clock, asked.elapsed());
        let is_new = {
            let mut checked = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
            checked.replace(Arc::clone(&server.address)).is_none_or(|checked| checked != server.address)
        };
        if is_new {
            let check = server::check(&mut connection, &server.address);
            // Without a response, the check is left out, and the next operation notices it.
            let _ = tokio::time::timeout_at(end, check).await;
        }
        Ok(Arc::new(Live { number, connection, server, responses: AtomicU64::new(0), clock }))
    }

    /// Closes the connection when a sentinel reports that another server has become the primary.
    ///
    /// The task ends with the runtime of the store.
    fn watch(&self, sentinels: &Arc<Sentinels>) {
        // Relaxed: only one thread opens connections.
        if !self.0.is_watched.swap(true, Ordering::Relaxed) {
            let (node, sentinels) = (Arc::downgrade(&self.0), Arc::clone(sentinels));
            tokio::spawn(async move {
                let switched = |primary: &str| {
                    if let Some(node) = node.upgrade() {
                        node.connection.discard_if(|live| &*live.server.address != primary);
                    }
                };
                sentinels.watch(switched).await;
            });
        }
    }

    /// Closes a connection, so that the next operation opens another one.
    pub(crate) fn discard(&self, live: &Live) {
        self.0.connection.discard(live.number);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("address", &self.address()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_spreads_pauses_and_shortens_none() {
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|_| jittered(PAUSE)).collect();
        assert!(pauses.len() > 10, "{pauses:?}");
        assert!(pauses.iter().all(|pause| (PAUSE..=PAUSE * 3 / 2).contains(pause)), "{pauses:?}");
    }
}
