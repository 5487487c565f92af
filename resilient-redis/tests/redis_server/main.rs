//! The store on real servers. The tests start `redis-server`, and are ignored without `cargo xtask redis`.
#![cfg(unix)]

mod cache;
mod circuits;
mod cluster;
mod eviction;
mod faults;
mod fleet;
mod group;
mod history;
mod instances;
mod logins;
mod lost_response;
mod process;
mod proxy;
mod rate;
mod rate_failover;
mod rate_group;
mod rate_history;
mod rate_http;
mod refusals;
mod replica;
mod replication;
mod sentinel;
mod server;
#[cfg(feature = "tls")]
mod tls;
mod wait;

use std::time::Duration;

use resilient_runtime::idempotency::{Claim, Claimed, Fingerprint, IdempotencyStore, Owner, StoreError};
use server::Server;

const HOUR: Duration = Duration::from_hours(1);

fn claim(key: &str, owner: u128) -> Claim {
    Claim {
        key: key.to_owned(),
        fingerprint: Fingerprint(7),
        operation: "shop::charge",
        owner: Owner(owner),
        lease: HOUR,
        lost_for: HOUR,
        takes_over: false,
        client: None,
    }
}

/// The message of an operation that failed.
#[track_caller]
fn problem<T: std::fmt::Debug>(found: Result<T, StoreError>) -> String {
    match found {
        Err(StoreError::Unavailable(problem) | StoreError::Refused(problem)) => problem,
        found => panic!("{found:?}"),
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn it_keeps_every_rule_of_a_store() {
    let server = Server::start(&[]).await;
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_idempotency_store(&server.store(), pass).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_record_is_a_hash_that_redis_removes_when_it_expires() {
    let server = Server::start(&[]).await;
    let store = server.store();
    let key = store.record_key("charge\0order 7");
    assert_eq!(store.claim(claim("charge\0order 7", 1)).await, Ok(Claimed::Acquired));
    let mut admin = server.admin().await;
    let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut admin).await.unwrap();
    assert!((7_000_000..=7_200_001).contains(&ttl), "lease and `lost_for`: {ttl}");
    let brief = Duration::from_millis(1);
    assert_eq!(store.complete("charge\0order 7", Owner(1), b"995".to_vec(), brief).await, Ok(true));
    let start = std::time::Instant::now();
    loop {
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut admin).await.unwrap();
        if keys.is_empty() {
            break;
        }
        assert_eq!(keys, std::slice::from_ref(&key), "one key for each record");
        assert!(start.elapsed() < server::PATIENCE);
        tokio::task::yield_now().await;
    }
}
