//! One operation on a record: connects if needed, sends the script, and sends it again if the connection was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Client, RedisError};
use resilient_runtime::idempotency::StoreError;
use tokio::time::{Instant, timeout_at};

use crate::connection::{Link, Live};
use crate::problem;
use crate::script::{Response, Script};

/// The connection and the settings that all operations of a store share.
#[derive(Clone, Debug)]
pub(crate) struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    address: String,
    prefix: String,
    timeout: Duration,
    /// The number of the next request.
    requests: AtomicU64,
}

/// A script with its arguments. The scripts expect the number of the request, and whether it was sent before, first.
pub(crate) struct Operation {
    pub(crate) script: &'static Script,
    pub(crate) key: String,
    /// Whether a request must not be executed after the time limit.
    pub(crate) has_deadline: bool,
    pub(crate) arguments: Vec<Vec<u8>>,
}

/// A response that is not an error of the server or the connection.
pub(crate) struct Reply {
    pub(crate) status: String,
    pub(crate) detail: Vec<u8>,
}

impl Session {
    pub(crate) fn new(client: Client, address: String, prefix: String, timeout: Duration) -> Self {
        let link = Link::new(client, address.clone());
        Self(Arc::new(Inner { link, address, prefix, timeout, requests: AtomicU64::new(0) }))
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// An error of this store, with the problem and its remedy.
    pub(crate) fn error(&self, problem: &str) -> StoreError {
        StoreError::Unavailable(format!("redis store {}: {problem}", self.0.address))
    }

    /// Performs an operation that started at `start`.
    pub(crate) async fn perform(self, operation: Operation, start: Instant) -> Result<Reply, StoreError> {
        let until = start + self.0.timeout;
        let mut sent = None;
        let replied = timeout_at(until, self.attempts(&operation, until, &mut sent)).await;
        match replied {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(self.error(&problem::of(&error, &self.0.prefix))),
            Err(_) => {
                // If nothing has arrived since, the connection may be broken without a sign of it.
                let silent = sent.filter(|(live, responses): &(Live, u64)| live.responses() == *responses);
                let problem = match &silent {
                    Some((live, _)) => {
                        self.0.link.discard(live);
                        "did not respond"
                    }
                    None => "did not accept the connection or is slow",
                };
                let limit = self.0.timeout;
                Err(self.error(&format!(
                    "the server {problem} within {limit:?}: check the network and the load of the server, or set a longer \
                     `timeout`"
                )))
            }
        }
    }

    /// Sends the request once more if its connection is lost or if the known time on the server was wrong.
    async fn attempts(
        &self,
        operation: &Operation,
        until: Instant,
        sent: &mut Option<(Live, u64)>,
    ) -> Result<Reply, RedisError> {
        let request = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let first = self.attempt(operation, (request, false), until, sent).await;
        match first {
            Err(error) if sent.is_some() && problem::is_lost(&error) => {
                self.attempt(operation, (request, true), until, sent).await
            }
            // The clock of the server was changed. The response contained its time.
            Ok(reply) if reply.status == "late" => {
                self.attempt(operation, (request, false), until, sent).await
            }
            first => first,
        }
    }

    async fn attempt(
        &self,
        operation: &Operation,
        (request, is_resent): (u64, bool),
        until: Instant,
        sent: &mut Option<(Live, u64)>,
    ) -> Result<Reply, RedisError> {
        let mut live = self.0.link.get().await?;
        *sent = Some((live.clone(), live.responses()));
        let number = request.to_string();
        let deadline = self.0.link.server_time(until).to_string();
        let mut arguments: Vec<&[u8]> = vec![number.as_bytes(), if is_resent { b"1" } else { b"0" }];
        if operation.has_deadline {
            arguments.push(deadline.as_bytes());
        }
        arguments.extend(operation.arguments.iter().map(Vec::as_slice));
        let response = operation.script.run(&mut live.connection, &operation.key, &arguments).await;
        match response {
            Ok(Response { request: of, time, status, detail }) if of == request => {
                self.0.link.answered(&live, time);
                Ok(Reply { status, detail })
            }
            Ok(_) => {
                self.0.link.discard(&live);
                Err((redis::ErrorKind::Parse, "the response belongs to another request").into())
            }
            Err(error) => {
                if problem::is_lost(&error) {
                    self.0.link.discard(&live);
                }
                Err(error)
            }
        }
    }
}
