//! The connection to the server, which is opened when it is needed and replaced when it is lost.
//!
//! The connection of the crate `redis` never reconnects, and its `ConnectionManager` keeps the error of a refused login.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::server;

/// How long a connection attempt may take. An operation waits only until its own time limit.
const CONNECT: Duration = Duration::from_secs(5);

/// An open connection.
#[derive(Clone)]
pub(crate) struct Live {
    number: u64,
    pub(crate) connection: MultiplexedConnection,
    /// Number of responses received. Relaxed: only one thread uses it.
    responses: Arc<AtomicU64>,
}

impl Live {
    pub(crate) fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed)
    }
}

/// The time on the server, and when it was received.
#[derive(Clone, Copy)]
struct ServerTime {
    micros: u64,
    received: Instant,
}

#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    client: Client,
    address: String,
    slot: Mutex<Slot>,
    time: Mutex<Option<ServerTime>>,
    /// Whether the settings of the server were checked.
    checked: Mutex<bool>,
}

/// The current connection or connection attempt.
#[derive(Default)]
struct Slot {
    number: u64,
    current: Option<watch::Receiver<Option<Result<Live, RedisError>>>>,
}

impl Link {
    pub(crate) fn new(client: Client, address: String) -> Self {
        let (slot, time, checked) = (Mutex::default(), Mutex::new(None), Mutex::new(false));
        Self(Arc::new(Inner { client, address, slot, time, checked }))
    }

    /// Returns the open connection, or opens one. Concurrent callers share one attempt, which continues if they leave.
    pub(crate) async fn get(&self) -> Result<Live, RedisError> {
        let mut current = self.current();
        let found = current.wait_for(Option::is_some).await;
        // The sender is dropped without a value only if the attempt panicked.
        found.ok().and_then(|found| found.clone()).unwrap_or_else(|| {
            Err(RedisError::from((redis::ErrorKind::Client, "the connection attempt was stopped")))
        })
    }

    fn current(&self) -> watch::Receiver<Option<Result<Live, RedisError>>> {
        let mut slot = self.0.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = slot.current.as_ref().filter(|current| {
            let has_failed = matches!(&*current.borrow(), Some(Err(_)));
            !has_failed && (current.borrow().is_some() || current.has_changed().is_ok())
        });
        if let Some(usable) = usable {
            return usable.clone();
        }
        slot.number += 1;
        let (sender, receiver) = watch::channel(None);
        let (link, number) = (self.clone(), slot.number);
        tokio::spawn(async move {
            let opened = tokio::time::timeout(CONNECT, link.open(number)).await;
            let timed_out = || RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
            sender.send_replace(Some(opened.unwrap_or_else(|_| Err(timed_out()))));
        });
        slot.current = Some(receiver.clone());
        receiver
    }

    async fn open(&self, number: u64) -> Result<Live, RedisError> {
        // Each operation has a time limit of its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = self.0.client.get_multiplexed_async_connection_with_config(&config).await?;
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
        self.heard(seconds.saturating_mul(1_000_000).saturating_add(micros));
        let is_first = {
            let mut checked = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
            !std::mem::replace(&mut *checked, true)
        };
        if is_first {
            server::check(&mut connection, &self.0.address).await;
        }
        Ok(Live { number, connection, responses: Arc::default() })
    }

    /// Notes a response and the time on the server in it, in microseconds.
    pub(crate) fn answered(&self, live: &Live, micros: u64) {
        live.responses.fetch_add(1, Ordering::Relaxed);
        self.heard(micros);
    }

    fn heard(&self, micros: u64) {
        let time = ServerTime { micros, received: Instant::now() };
        *self.0.time.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    /// The time on the server at `at`, in microseconds, or earlier by at most the last response's time on the network.
    pub(crate) fn server_time(&self, at: Instant) -> u64 {
        let time = *self.0.time.lock().unwrap_or_else(PoisonError::into_inner);
        time.map_or(u64::MAX, |time| {
            let since = at.saturating_duration_since(time.received).as_micros();
            time.micros.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
        })
    }

    /// Closes a connection, so that the next operation opens another one.
    pub(crate) fn discard(&self, live: &Live) {
        let mut slot = self.0.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.number == live.number {
            slot.current = None;
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.0.address).finish_non_exhaustive()
    }
}
