//! Claims in the transaction of the caller.

use std::sync::Arc;
use std::time::Duration;

use resilient_postgres::{ClaimError, ClaimIn, ClaimedIn, FreshClaim, PostgresStore};
use resilient_runtime::idempotency::{Claimed, Fingerprint, IdempotencyStore};
use resilient_runtime::{Class, Classify};
use sqlx::{Connection as _, PgConnection};

use crate::server::{PATIENCE, Server, pool, run};
use crate::wire::Wire;
use crate::{HOUR, claim};

fn charge(key: &str) -> ClaimIn {
    ClaimIn::new("charge", key).fingerprint(Fingerprint(7)).max_wait(PATIENCE)
}

async fn fresh(store: &PostgresStore, tx: &mut PgConnection, key: &str) -> FreshClaim {
    match store.claim_in(tx, charge(key)).await.unwrap() {
        ClaimedIn::Fresh(claim) => claim,
        ClaimedIn::Done(result) => panic!("{result:?}"),
    }
}

async fn done(store: &PostgresStore, tx: &mut PgConnection, key: &str) -> u32 {
    match store.claim_in(tx, charge(key)).await.unwrap() {
        ClaimedIn::Fresh(claim) => panic!("{claim:?}"),
        ClaimedIn::Done(result) => result.read().unwrap(),
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn the_record_commits_or_rolls_back_with_the_transaction() {
    let server = Server::start().await;
    let (store, pool) = (server.store(), server.pool());
    run(&pool, "CREATE TABLE account (cents int)").await.unwrap();
    for commits in [false, false, true] {
        let mut tx = pool.begin().await.unwrap();
        let claim = fresh(&store, &mut tx, "a").await;
        run(&mut *tx, "INSERT INTO account VALUES (995)").await.unwrap();
        claim.complete(&mut tx, &995_u32).await.unwrap();
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
    }
    let mut tx = pool.begin().await.unwrap();
    assert_eq!(done(&store, &mut tx, "a").await, 995);
    assert_eq!(done(&store, &mut tx, "a").await, 995, "the transaction is still usable");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM account").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_claim_and_its_result_take_two_round_trips() {
    // T169
    let server = Server::start().await;
    let wire = Wire::start(&server).await;
    let (store, pool) = (server.store(), pool(&wire.url()));
    let mut connection = pool.acquire().await.unwrap();
    for key in ["a", "b"] {
        let mut tx = connection.begin().await.unwrap();
        wire.round_trips();
        let claim = fresh(&store, &mut tx, key).await;
        assert_eq!(wire.round_trips(), 1);
        claim.complete(&mut tx, &995_u32).await.unwrap();
        assert_eq!(wire.round_trips(), 1);
        tx.commit().await.unwrap();
        assert_eq!(wire.round_trips(), 1);
        let mut tx = connection.begin().await.unwrap();
        wire.round_trips();
        assert_eq!(done(&store, &mut tx, key).await, 995);
        assert_eq!(wire.round_trips(), 1, "also a replay");
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_concurrent_claim_waits_for_the_end_of_the_transaction() {
    // T170
    let server = Server::start().await;
    let (store, pool) = (Arc::new(server.store()), server.pool());
    for commits in [true, false] {
        let key = commits.to_string();
        let mut first = pool.begin().await.unwrap();
        let claimed = fresh(&store, &mut first, &key).await;
        let second = {
            let (store, pool, key) = (Arc::clone(&store), pool.clone(), key.clone());
            tokio::spawn(async move {
                let mut tx = pool.begin().await.unwrap();
                let found = store.claim_in(&mut tx, charge(&key)).await.unwrap();
                let result = match found {
                    ClaimedIn::Done(result) => Some(result.read::<u32>().unwrap()),
                    ClaimedIn::Fresh(claim) => {
                        claim.complete(&mut tx, &2_u32).await.unwrap();
                        None
                    }
                };
                tx.commit().await.unwrap();
                result
            })
        };
        until_one_waits(&pool).await;
        claimed.complete(&mut first, &1_u32).await.unwrap();
        if commits {
            first.commit().await.unwrap();
        } else {
            first.rollback().await.unwrap();
        }
        assert_eq!(second.await.unwrap(), commits.then_some(1));
        let mut third = pool.begin().await.unwrap();
        assert_eq!(done(&store, &mut third, &key).await, if commits { 1 } else { 2 });
    }
}

async fn until_one_waits(pool: &sqlx::PgPool) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let start = std::time::Instant::now();
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.unwrap() == 0 {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn the_wait_is_limited_and_the_lock_timeout_of_the_transaction_is_set_back() {
    let server = Server::start().await;
    let (store, pool) = (server.store(), server.pool());
    let lock_timeout = async |tx: &mut PgConnection| {
        sqlx::query_scalar::<_, String>("SHOW lock_timeout").fetch_one(tx).await.unwrap()
    };
    let mut first = pool.begin().await.unwrap();
    run(&mut *first, "SET LOCAL lock_timeout = '7s'").await.unwrap();
    let claimed = fresh(&store, &mut first, "a").await;
    assert_eq!(lock_timeout(&mut first).await, "7s");
    let mut second = pool.begin().await.unwrap();
    let short = charge("a").max_wait(Duration::from_millis(50));
    let busy = store.claim_in(&mut second, short).await.unwrap_err();
    assert!(matches!(busy, ClaimError::Busy { .. }), "{busy:?}");
    assert!(busy.to_string().contains("did not end within 50ms: roll back"), "{busy}");
    assert_eq!(busy.classify(), Class::Transient { retry_after: None });
    second.rollback().await.unwrap();
    // An operation outside of a transaction waits for the time limit of the store.
    let limited = resilient_postgres::Config::new(server.url()).timeout(Duration::from_millis(300));
    let limited = PostgresStore::new(limited).unwrap();
    let problem = crate::problem(limited.claim(claim("charge\0a", 1)).await);
    let is_known =
        problem.contains("another transaction uses the record") || problem.contains("within 300ms");
    assert!(is_known, "{problem}");
    claimed.complete(&mut first, &1_u32).await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(lock_timeout(&mut pool.acquire().await.unwrap()).await, "0");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn with_a_stricter_isolation_level_a_lost_race_is_a_serialization_failure() {
    let server = Server::start().await;
    let (store, pool) = (server.store(), server.pool());
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let begin = async || {
            let mut tx = pool.begin().await.unwrap();
            run(&mut *tx, &format!("SET TRANSACTION ISOLATION LEVEL {level}; SELECT 1")).await.unwrap();
            tx
        };
        let (mut first, mut second) = (begin().await, begin().await);
        fresh(&store, &mut first, level).await.complete(&mut first, &1_u32).await.unwrap();
        first.commit().await.unwrap();
        let error = store.claim_in(&mut second, charge(level)).await.unwrap_err();
        assert_eq!(error.classify(), Class::Transient { retry_after: None }, "{error}");
        assert!(error.to_string().contains("repeat the transaction"), "{error}");
        second.rollback().await.unwrap();
        let mut again = begin().await;
        assert_eq!(done(&store, &mut again, level).await, 1, "the repeated transaction");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn misuse_is_an_error_that_names_the_remedy() {
    let server = Server::start().await;
    let (store, pool) = (server.store(), server.pool());
    let mut plain = pool.acquire().await.unwrap();
    let error = store.claim_in(&mut plain, charge("a")).await.unwrap_err();
    assert!(error.to_string().contains("no open transaction: pass `&mut tx`"), "{error}");

    let mut tx = pool.begin().await.unwrap();
    for (key, bytes) in [("", "0 bytes"), (&*"x".repeat(1025), "1025 bytes")] {
        let error = store.claim_in(&mut tx, charge(key)).await.unwrap_err();
        assert!(error.to_string().contains(bytes), "{error}");
    }
    let claimed = fresh(&store, &mut tx, "a").await;
    tx.commit().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    claimed.complete(&mut tx, &1_u32).await.unwrap();
    let claimed = fresh(&store, &mut tx, "b").await;
    tx.rollback().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    let error = claimed.complete(&mut tx, &1_u32).await.unwrap_err();
    assert!(error.to_string().contains("does not hold the claim"), "{error}");

    fresh(&store, &mut tx, "c").await.complete(&mut tx, "text").await.unwrap();
    let other = charge("c").fingerprint(Fingerprint(8));
    assert!(matches!(store.claim_in(&mut tx, other).await, Err(ClaimError::KeyReused)));
    let ClaimedIn::Done(text) = store.claim_in(&mut tx, charge("c")).await.unwrap() else { panic!() };
    assert_eq!(text.read::<String>().unwrap(), "text");
    assert!(text.read::<u32>().unwrap_err().to_string().contains("u32"));
    let large = "x".repeat(resilient_postgres::LARGEST_RESULT);
    let error = fresh(&store, &mut tx, "d").await.complete(&mut tx, &large).await.unwrap_err();
    assert!(error.to_string().contains("more than 16777216"), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn claims_in_and_outside_of_transactions_see_each_other() {
    let server = Server::start().await;
    let (store, pool) = (server.store(), server.pool());
    let outside = |key: &str, owner| resilient_runtime::idempotency::Claim {
        operation: "",
        ..claim(&format!("charge\0{key}"), owner)
    };
    assert_eq!(store.claim(outside("a", 1)).await, Ok(Claimed::Acquired));
    let mut tx = pool.begin().await.unwrap();
    let error = store.claim_in(&mut tx, charge("a")).await.unwrap_err();
    assert!(matches!(error, ClaimError::InProgress { retry_after } if retry_after <= HOUR), "{error}");
    fresh(&store, &mut tx, "b").await.complete(&mut tx, &995_u32).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(store.claim(outside("b", 2)).await, Ok(Claimed::Done(_))));

    let mut tx = pool.begin().await.unwrap();
    let _forgotten = fresh(&store, &mut tx, "c").await;
    tx.commit().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    let error = store.claim_in(&mut tx, charge("c")).await.unwrap_err();
    assert!(matches!(error, ClaimError::OutcomeUnknown), "{error}");
    assert_eq!(store.claim(outside("c", 3)).await, Ok(Claimed::Lost));
}
