//! The attribute with the transaction of the function.

use std::sync::atomic::{AtomicU32, Ordering};

use resilient_runtime::clock::Clock;
use resilient_runtime::idempotency::{Config, MemoryStore};
use resilient_runtime::{
    Class, Classify, Component, Registry, Rejection, RejectionKind, replayed, resilient,
};
use sqlx::{Postgres, Transaction};

use crate::server::{PATIENCE, Server, run};

#[derive(Debug, thiserror::Error)]
enum PayError {
    #[error("declined")]
    Declined,
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("rejected: {0}")]
    Rejected(#[from] Rejection),
}

impl Classify for PayError {
    fn classify(&self) -> Class {
        match self {
            Self::Declined => Class::Permanent,
            Self::Database(error) => error.classify(),
            Self::Rejected(rejection) => rejection.classify(),
        }
    }
}

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Pays an order in the transaction of the caller. Declines a payment without cents.
#[resilient(
    registry = registry,
    timeout(total = "50s"),
    idempotent("pay", key = order, store = "orders", transaction = tx, ttl = "24h")
)]
async fn pay(
    registry: &Registry,
    tx: &mut Transaction<'_, Postgres>,
    order: &str,
    cents: i64,
) -> Result<String, PayError> {
    RUNS.fetch_add(1, Ordering::SeqCst);
    sqlx::query("INSERT INTO payments VALUES ($1, $2)").bind(order).bind(cents).execute(&mut **tx).await?;
    if cents == 0 {
        return Err(PayError::Declined);
    }
    Ok(format!("receipt of {order}"))
}

async fn with_store() -> (Server, Registry) {
    let (server, registry) = (Server::start().await, Registry::new());
    server.run("CREATE TABLE payments (ordered text, cents bigint)").await;
    registry.use_store("orders", server.store());
    let patient = Config::default().max_wait(PATIENCE).store_timeout(PATIENCE).store("orders");
    registry.idempotency("pay").reconfigure(patient).unwrap();
    (server, registry)
}

#[track_caller]
fn rejected(paid: Result<String, PayError>) -> Rejection {
    match paid {
        Err(PayError::Rejected(rejection)) => rejection,
        paid => panic!("{paid:?}"),
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_function_with_a_transaction_has_its_effect_once() {
    let (server, registry) = with_store().await;
    let pool = server.pool();
    for round in 0..2 {
        let mut tx = pool.begin().await.unwrap();
        assert_eq!(pay(&registry, &mut tx, "a", 995).await.unwrap(), "receipt of a", "rolled back: {round}");
        assert!(!replayed());
        tx.rollback().await.unwrap();
    }
    for round in 0..3 {
        let mut tx = pool.begin().await.unwrap();
        assert_eq!(pay(&registry, &mut tx, "a", 995).await.unwrap(), "receipt of a");
        assert_eq!(replayed(), round > 0);
        tx.commit().await.unwrap();
    }
    assert_eq!(RUNS.load(Ordering::SeqCst), 3, "two were rolled back");
    let count = "SELECT count(*) FROM payments";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&pool).await.unwrap(), 1);

    let mut tx = pool.begin().await.unwrap();
    assert_eq!(rejected(pay(&registry, &mut tx, "a", 1).await).kind(), RejectionKind::KeyReused);
    tx.rollback().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    assert!(matches!(pay(&registry, &mut tx, "b", 0).await, Err(PayError::Declined)));
    tx.rollback().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    assert!(matches!(pay(&registry, &mut tx, "b", 0).await, Err(PayError::Declined)), "the key was free");
    let stats = registry.idempotency("pay").stats();
    assert_eq!((stats.executed, stats.replayed, stats.abandoned, stats.key_reused), (5, 2, 2, 1));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_result_that_cannot_be_stored_is_an_error_so_that_the_caller_rolls_back() {
    let (server, registry) = with_store().await;
    let once = registry.idempotency("pay");
    once.reconfigure(Config::default().max_value(10).store("orders")).unwrap();
    let mut tx = server.pool().begin().await.unwrap();
    let rejection = rejected(pay(&registry, &mut tx, "a", 995).await);
    assert!(
        rejection.to_string().contains("more than `max_value` = 10; roll back the transaction"),
        "{rejection}"
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_store_that_cannot_join_the_transaction_is_an_error_with_the_remedy() {
    let (server, registry) = with_store().await;
    let mut tx = server.pool().begin().await.unwrap();
    registry.use_store("orders", MemoryStore::new(Clock::system(), 10));
    let rejection = rejected(pay(&registry, &mut tx, "a", 995).await);
    assert_eq!(rejection.kind(), RejectionKind::StoreUnavailable);
    assert!(rejection.to_string().contains("cannot join a transaction: use a store that can"), "{rejection}");
    registry.use_store("orders", server.store());
    run(&mut *tx, "ROLLBACK; DROP TABLE resilient_idempotency; BEGIN").await.unwrap();
    let rejection = rejected(pay(&registry, &mut tx, "a", 995).await);
    assert_eq!(rejection.kind(), RejectionKind::StoreUnavailable);
}
