//! One server: its address, how to connect to it, and the check of its settings.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisError};

use crate::problem::Failure;

/// A server. It is not connected.
#[derive(Clone)]
pub(crate) struct Server {
    client: Arc<Client>,
    /// Host and port, or the path of a socket.
    pub(crate) address: Arc<str>,
}

impl Server {
    pub(crate) fn new(client: Client) -> Self {
        let address = client.get_connection_info().addr().to_string().into();
        Self { client: Arc::new(client), address }
    }

    /// The address without user and password.
    pub(crate) fn shown(&self) -> String {
        let info = self.client.get_connection_info();
        let (address, database) = (info.addr(), info.redis_settings().db());
        match address {
            ConnectionAddr::Unix(_) => format!("unix://{address}"),
            ConnectionAddr::TcpTls { .. } => format!("rediss://{address}/{database}"),
            _ => format!("redis://{address}/{database}"),
        }
    }

    #[cfg(test)]
    pub(crate) fn password(&self) -> Option<&str> {
        self.client.get_connection_info().redis_settings().password()
    }

    /// Connects, within `limit`.
    pub(crate) async fn connect(&self, limit: Duration) -> Result<MultiplexedConnection, Failure> {
        // Each operation has a time limit of its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        self.within(limit, self.client.get_multiplexed_async_connection_with_config(&config)).await
    }

    /// Opens a connection that only receives messages, within `limit`.
    pub(crate) async fn connect_to_listen(&self, limit: Duration) -> Result<PubSub, Failure> {
        self.within(limit, self.client.get_async_pubsub()).await
    }

    /// Runs something on this server that must end within `limit`.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Failure> {
        let done = tokio::time::timeout(limit, work).await;
        let timed_out = |_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)));
        done.unwrap_or_else(timed_out).map_err(|error| self.failure(error))
    }

    pub(crate) fn failure(&self, error: RedisError) -> Failure {
        Failure::Server { at: Arc::clone(&self.address), error }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Logs a warning if the server may evict records before they expire.
pub(crate) async fn check(connection: &mut MultiplexedConnection, address: &str) {
    let memory: Result<String, _> = redis::cmd("INFO").arg("memory").query_async(connection).await;
    match memory {
        Ok(memory) => {
            if let Some(policy) = evicting_policy(&memory) {
                tracing::warn!(
                    target: "resilient_redis", address, policy,
                    "the server may evict idempotency records before they expire, so that calls are executed twice: set \
                     `maxmemory-policy noeviction`"
                );
            }
        }
        Err(error) => tracing::info!(
            target: "resilient_redis", address, error = error.code().unwrap_or("no response"),
            "cannot check `maxmemory-policy`, which must be `noeviction`: the user needs the right `+info`"
        ),
    }
}

/// The eviction policy in the output of `INFO memory`, unless nothing is evicted.
fn evicting_policy(memory: &str) -> Option<&str> {
    let policy = memory.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"))?.trim();
    (policy != "noeviction").then_some(policy)
}

#[cfg(test)]
mod tests {
    use super::evicting_policy;

    #[test]
    fn each_policy_that_evicts_is_found() {
        let info = |policy: &str| format!("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:{policy}\r\nx:1\r\n");
        assert_eq!(evicting_policy(&info("noeviction")), None);
        assert_eq!(evicting_policy(&info("allkeys-lru")), Some("allkeys-lru"));
        assert_eq!(evicting_policy(&info("volatile-ttl")), Some("volatile-ttl"));
        assert_eq!(evicting_policy("# Memory\r\n"), None, "another server");
    }
}
