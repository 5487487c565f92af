//! One operation on a connection of the store: connects if needed, sends the statements, and sends them again if the
//! connection was lost.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use resilient_runtime::idempotency::StoreError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Either, Error, Row as _};
use tokio::time::{Instant, timeout_at};

use crate::connection::Connections;
use crate::names::Names;
use crate::sql::{self, VERSION};
use crate::{config, problem};

/// How often an operation is tried again after another one was faster.
const RACES: u32 = 8;

/// The connections and the settings that all operations of a store share.
#[derive(Clone)]
pub(crate) struct Session(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    connections: Connections,
    names: Names,
    address: String,
    timeout: Duration,
    time: Mutex<Option<ServerTime>>,
}

/// The time on the server, and when it was received.
#[derive(Clone, Copy, Debug)]
struct ServerTime {
    micros: u64,
    received: Instant,
}

/// The response to the statements of an operation.
pub(crate) struct Reply {
    /// The number of rows that the statement before the last one changed.
    pub(crate) changed: u64,
    /// The row of the last statement.
    pub(crate) row: PgRow,
}

/// The result of an attempt of an operation.
pub(crate) enum Outcome<T> {
    Ended(T),
    /// Another operation was faster, or the known time on the server was wrong.
    Again,
    Failed(StoreError),
}

/// The state of an operation before an attempt.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances {
    /// Whether an earlier copy may have been executed.
    pub(crate) was_sent: bool,
    /// The latest time for a claim, on the clock of the server in microseconds.
    pub(crate) until: Option<u64>,
}

impl Session {
    pub(crate) fn new(options: PgConnectOptions, names: Names, connections: u32, timeout: Duration) -> Self {
        let address = config::shown(&options);
        let connections = Connections::new(options.clone(), connections);
        Self(Arc::new(Inner { options, connections, names, address, timeout, time: Mutex::new(None) }))
    }

    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.0.options
    }

    /// The text of an error of this store, with the problem and its remedy.
    pub(crate) fn describe(&self, problem: &str) -> String {
        format!("postgres store {}: {problem}", self.0.address)
    }

    pub(crate) fn error(&self, problem: &str) -> StoreError {
        StoreError::Unavailable(self.describe(problem))
    }

    /// Performs an operation that started at `start`. `sql` writes the statements, and `read` reads the response.
    pub(crate) async fn perform<T>(
        self,
        start: Instant,
        sql: impl Fn(&Names, Circumstances) -> String,
        read: impl Fn(&Reply, Circumstances) -> Result<Outcome<T>, Error>,
    ) -> Result<T, StoreError> {
        let until = start + self.0.timeout;
        match timeout_at(until, self.attempts(until, &sql, &read)).await {
            Ok(done) => done,
            Err(_) => {
                // The other connections may be broken too, without a sign of it.
                self.0.connections.discard();
                let problem = if self.0.connections.are_all_used() {
                    "did not respond, or all `connections` are in use,"
                } else {
                    "did not respond"
                };
                let limit = self.0.timeout;
                Err(self.error(&format!(
                    "the server {problem} within {limit:?}: check the network and the load of the server, or set a longer \
                     `timeout`"
                )))
            }
        }
    }

    /// Sends the statements once more if their connection is lost.
    async fn attempts<T>(
        &self,
        until: Instant,
        sql: &impl Fn(&Names, Circumstances) -> String,
        read: &impl Fn(&Reply, Circumstances) -> Result<Outcome<T>, Error>,
    ) -> Result<T, StoreError> {
        let mut was_sent = false;
        for _ in 0..RACES {
            let mut is_sent = false;
            let mut attempt = self.attempt((until, was_sent), sql, &mut is_sent).await;
            if is_sent && !was_sent && attempt.as_ref().is_err_and(problem::is_lost) {
                was_sent = true;
                attempt = self.attempt((until, true), sql, &mut is_sent).await;
            }
            let (reply, circumstances) =
                attempt.map_err(|error| self.error(&problem::of(&error, &self.0.names)))?;
            let version = reply.row.try_get::<Option<i32>, _>("version");
            match version.map_err(|error| self.error(&problem::of(&error, &self.0.names)))? {
                Some(VERSION) => {}
                other => return Err(self.error(&problem::of_version(other, &self.0.names))),
            }
            match read(&reply, circumstances) {
                Ok(Outcome::Ended(ended)) => return Ok(ended),
                Ok(Outcome::Again) => {}
                Ok(Outcome::Failed(error)) => return Err(error),
                Err(error) => return Err(self.error(&problem::of(&error, &self.0.names))),
            }
        }
        let limit = self.0.timeout;
        Err(self.error(&format!(
            "the operation reached the server later than {limit:?}, or other operations changed the record at the same time: \
             check the network and the clock of the server"
        )))
    }

    async fn attempt(
        &self,
        (until, was_sent): (Instant, bool),
        sql: &impl Fn(&Names, Circumstances) -> String,
        is_sent: &mut bool,
    ) -> Result<(Reply, Circumstances), Error> {
        let mut open = self.0.connections.get().await?;
        let done = self.exchange(&mut open.connection, (until, was_sent), sql, is_sent).await;
        match &done {
            Err(error) if problem::is_lost(error) => {
                drop(open);
                self.0.connections.discard();
            }
            _ => self.0.connections.put_back(open),
        }
        done
    }

    async fn exchange(
        &self,
        connection: &mut PgConnection,
        (until, was_sent): (Instant, bool),
        sql: &impl Fn(&Names, Circumstances) -> String,
        is_sent: &mut bool,
    ) -> Result<(Reply, Circumstances), Error> {
        if self.server_time(until).is_none() {
            let reply = send(connection, sql::state(&self.0.names)).await?;
            self.heard(&reply.row)?;
            self.check_durability(&reply.row)?;
        }
        let circumstances = Circumstances { was_sent, until: self.server_time(until) };
        let statements = sql::settings(self.0.timeout) + &sql(&self.0.names, circumstances);
        *is_sent = true;
        let reply = send(connection, statements).await?;
        self.heard(&reply.row)?;
        Ok((reply, circumstances))
    }

    fn check_durability(&self, row: &PgRow) -> Result<(), Error> {
        if row.try_get("is_unsafe")? {
            tracing::warn!(
                target: "resilient_postgres", address = self.0.address,
                "the server may lose acknowledged records when its machine fails, so that calls are executed twice: set \
                 `fsync = on`"
            );
        }
        Ok(())
    }

    fn heard(&self, row: &PgRow) -> Result<(), Error> {
        let micros = u64::try_from(row.try_get::<i64, _>("now")?).unwrap_or(0);
        let time = ServerTime { micros, received: Instant::now() };
        *self.0.time.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
        Ok(())
    }

    /// The time on the server at `at`, or earlier by at most the last response's time on the network.
    fn server_time(&self, at: Instant) -> Option<u64> {
        let time = *self.0.time.lock().unwrap_or_else(PoisonError::into_inner);
        time.map(|time| {
            let since = at.saturating_duration_since(time.received).as_micros();
            time.micros.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options contain the password.
        f.debug_struct("Session").field("address", &self.0.address).finish_non_exhaustive()
    }
}

/// Sends statements in one message, and waits for their responses.
pub(crate) async fn send(connection: &mut PgConnection, statements: String) -> Result<Reply, Error> {
    let mut responses = sqlx::raw_sql(AssertSqlSafe(statements)).fetch_many(connection);
    let (mut counts, mut row) = (Vec::new(), None);
    while let Some(response) = responses.try_next().await? {
        match response {
            Either::Left(done) => counts.push(done.rows_affected()),
            Either::Right(found) => row = Some(found),
        }
    }
    let before_last = counts.len().checked_sub(2).and_then(|at| counts.get(at)).copied();
    let row = row.ok_or_else(|| Error::Protocol("the last statement returned no row".into()))?;
    Ok(Reply { changed: before_last.unwrap_or(0), row })
}
