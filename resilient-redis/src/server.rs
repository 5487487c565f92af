//! Checks the settings of the server after the first connection.

use redis::aio::MultiplexedConnection;

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
