//! The store on real servers. The tests start `PostgreSQL`, and are ignored without `cargo xtask postgres`.
#![cfg(target_os = "linux")]

mod attribute;
mod classify;
mod faults;
mod fleet;
mod histories;
mod kills;
mod lost_response;
mod payments;
mod pooled;
mod refusals;
mod replica;
mod replica_faults;
mod replica_set;
mod server;
mod standby;
#[cfg(feature = "tls")]
mod tls;
mod transactions;
mod wire;

use std::time::Duration;

use resilient_postgres::PostgresStore;
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

/// The message of a store that cannot be used.
#[track_caller]
fn problem<T: std::fmt::Debug>(found: Result<T, StoreError>) -> String {
    match found {
        Err(StoreError::Unavailable(problem)) => problem,
        found => panic!("{found:?}"),
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn it_keeps_every_rule_of_a_store() {
    let server = Server::start().await;
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_idempotency_store(&server.store(), pass).await.unwrap();
    resilient_runtime::testing::check_replica_store(&server.store()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn expired_records_count_as_missing_and_are_deleted_in_batches() {
    let server = Server::start().await;
    let store = PostgresStore::new(server.config().expire_every(None)).unwrap();
    let pool = server.pool();
    let insert = "INSERT INTO resilient_idempotency SELECT sha256(n::text::bytea), gen_random_uuid(), '', gen_random_uuid(), \
                  now(), now() + (CASE WHEN n <= 2500 THEN '-1' ELSE '1' END || ' hours')::interval, NULL \
                  FROM generate_series(1, 2510) n";
    assert_eq!(server::run(&pool, insert).await.unwrap(), 2510);
    assert_eq!(store.claim(claim("1", 1)).await, Ok(Claimed::Acquired), "the record has expired");
    // A transaction that uses an expired record does not block the others.
    let mut other = pool.begin().await.unwrap();
    let change = "UPDATE resilient_idempotency SET result = '' WHERE key = sha256('2')";
    assert_eq!(server::run(&mut *other, change).await.unwrap(), 1);
    assert_eq!(store.expire().await, Ok(2498));
    other.rollback().await.unwrap();
    assert_eq!(store.expire().await, Ok(1));
    assert_eq!(store.expire().await, Ok(0));
    let left = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM resilient_idempotency").fetch_one(&pool).await.unwrap()
    };
    assert_eq!(left().await, 11, "10 live records and the claim");

    assert_eq!(server::run(&pool, "UPDATE resilient_idempotency SET expires_at = now()").await.unwrap(), 11);
    let automatic = server.store();
    let mut tx = pool.begin().await.unwrap();
    drop(automatic.claim_in(&mut tx, resilient_postgres::ClaimIn::new("charge", "x")).await.unwrap());
    let start = std::time::Instant::now();
    while left().await > 0 {
        assert!(start.elapsed() < server::PATIENCE);
    }
}
