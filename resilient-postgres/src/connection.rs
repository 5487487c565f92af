//! The connections of a store, which are opened when they are needed and closed when one is lost.
//!
//! The pool of `sqlx` tries again until its time limit if the server refuses a connection, and keeps connections to a
//! server that was restarted.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How long a connection may be unused.
const IDLE: Duration = Duration::from_mins(5);

pub(crate) struct Connections {
    options: PgConnectOptions,
    permits: Semaphore,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// Rises when a connection is lost. Earlier connections are not used again.
    generation: u64,
    connections: Vec<(PgConnection, Instant)>,
}

/// A connection in use. It is closed when it is dropped, unless it is [returned](Connections::put_back).
pub(crate) struct Open<'a> {
    pub(crate) connection: PgConnection,
    generation: u64,
    _permit: SemaphorePermit<'a>,
}

impl Connections {
    pub(crate) fn new(options: PgConnectOptions, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(1);
        Self { options, permits: Semaphore::new(limit), idle: Mutex::default() }
    }

    /// Waits for a free connection, or opens one.
    pub(crate) async fn get(&self) -> Result<Open<'_>, sqlx::Error> {
        let permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let (generation, idle) = self.take();
        let connection = match idle {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.options).await?,
        };
        Ok(Open { connection, generation, _permit: permit })
    }

    fn take(&self) -> (u64, Option<PgConnection>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.connections.retain(|(_, since)| since.elapsed() < IDLE);
        (idle.generation, idle.connections.pop().map(|(connection, _)| connection))
    }

    /// Whether all connections are in use.
    pub(crate) fn are_all_used(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Keeps a connection for the next operation.
    pub(crate) fn put_back(&self, open: Open<'_>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.generation == open.generation {
            idle.connections.push((open.connection, Instant::now()));
        }
    }

    /// Closes all connections that are not in use: they lead to the same server as the one that was lost.
    pub(crate) fn discard(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.generation += 1;
        idle.connections.clear();
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("free", &self.permits.available_permits()).finish_non_exhaustive()
    }
}
