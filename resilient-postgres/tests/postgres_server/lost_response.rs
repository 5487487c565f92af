//! A response that is lost after the server has made the change.

use std::time::Duration;

use resilient_postgres::{ClaimIn, ClaimedIn, Config, PostgresStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore, Owner};
use resilient_runtime::{Class, Classify};

use crate::server::{PATIENCE, Server, pool, run};
use crate::wire::Wire;
use crate::{HOUR, claim};

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_lost_response_changes_neither_the_record_nor_the_result_of_the_operation() {
    // T160
    let server = Server::start().await;
    let wire = Wire::start(&server).await;
    let config = Config::new(wire.url()).timeout(PATIENCE).expire_every(None);
    let store = PostgresStore::new(config).unwrap();
    let cut = || {
        assert!(wire.has_cut(), "the last response was not lost");
        wire.cut();
    };
    for key in ["a", "b", "c", "d"] {
        cut();
        assert_eq!(store.claim(claim(key, 1)).await, Ok(Claimed::Acquired), "not in progress by itself");
        cut();
        assert!(matches!(store.claim(claim(key, 2)).await, Ok(Claimed::InProgress { .. })));
        cut();
        assert_eq!(store.renew(key, Owner(1), HOUR).await, Ok(true));
        cut();
        assert_eq!(store.renew(key, Owner(2), HOUR).await, Ok(false));
    }
    cut();
    assert_eq!(store.complete("a", Owner(1), vec![1], HOUR).await, Ok(true), "not taken over by itself");
    cut();
    assert_eq!(store.complete("a", Owner(1), vec![2], HOUR).await, Ok(true));
    cut();
    assert_eq!(store.complete("a", Owner(2), vec![2], HOUR).await, Ok(false));
    cut();
    assert_eq!(store.complete("b", Owner(1), vec![1], Duration::ZERO).await, Ok(true));
    cut();
    assert_eq!(store.abandon("c", Owner(1)).await, Ok(true));
    cut();
    assert_eq!(store.lose("d", Owner(1)).await, Ok(true));
    cut();
    assert_eq!(store.claim(claim("a", 3)).await, Ok(Claimed::Done(vec![1])));
    for key in ["b", "c"] {
        assert_eq!(store.claim(claim(key, 3)).await, Ok(Claimed::Acquired), "{key}");
    }
    assert_eq!(store.claim(claim("d", 3)).await, Ok(Claimed::Lost));
    assert!(wire.has_cut(), "all responses were lost once");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_transaction_whose_commit_was_not_acknowledged_is_replayed() {
    let server = Server::start().await;
    let wire = Wire::start(&server).await;
    let (store, pool) = (server.store(), pool(&wire.url()));
    run(&pool, "CREATE TABLE account (cents int)").await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    let claim = || ClaimIn::new("charge", "order 7");
    let ClaimedIn::Fresh(claimed) = store.claim_in(&mut tx, claim()).await.unwrap() else { panic!() };
    run(&mut *tx, "INSERT INTO account VALUES (995)").await.unwrap();
    claimed.complete(&mut tx, "receipt").await.unwrap();
    wire.cut();
    let error = tx.commit().await.unwrap_err();
    // T33
    assert_eq!(error.classify(), Class::UNCERTAIN, "{error:?}");
    let mut tx = pool.begin().await.unwrap();
    let ClaimedIn::Done(result) = store.claim_in(&mut tx, claim()).await.unwrap() else { panic!() };
    assert_eq!(result.read::<String>().unwrap(), "receipt");
}
