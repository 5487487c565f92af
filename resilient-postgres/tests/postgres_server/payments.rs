//! A payment in a transaction, and the check that no payment was lost or made twice.

use std::collections::BTreeMap;
use std::error::Error;

use resilient_postgres::{ClaimIn, ClaimedIn, PostgresStore};
use resilient_runtime::idempotency::Fingerprint;
use sqlx::{PgPool, Row as _};

use crate::server::{PATIENCE, run};

/// The steps of a payment.
pub(crate) const STEPS: [&str; 8] =
    ["begin", "claim", "debit", "credit", "receipt", "complete", "commit", "committed"];

const CENTS: i64 = 995;

pub(crate) async fn create_tables(pool: &PgPool) {
    let tables = "CREATE TABLE accounts (name text PRIMARY KEY, cents bigint NOT NULL); \
                  INSERT INTO accounts VALUES ('customer', 0), ('shop', 0); \
                  CREATE TABLE receipts (number bigserial PRIMARY KEY, ordered int NOT NULL)";
    run(pool, tables).await.unwrap();
}

/// Pays an order once. Returns the number of its receipt.
pub(crate) async fn pay(
    store: &PostgresStore,
    pool: &PgPool,
    order: i32,
    step: impl Fn(&str),
) -> Result<i64, Box<dyn Error>> {
    step("begin");
    let mut tx = pool.begin().await?;
    step("claim");
    let claim = ClaimIn::new("pay", order).fingerprint(Fingerprint::of(&CENTS)).max_wait(PATIENCE);
    let claim = match store.claim_in(&mut tx, claim).await? {
        ClaimedIn::Fresh(claim) => claim,
        ClaimedIn::Done(result) => return Ok(result.read()?),
    };
    for (account, cents, name) in [("customer", -CENTS, "debit"), ("shop", CENTS, "credit")] {
        step(name);
        let change = sqlx::query("UPDATE accounts SET cents = cents + $1 WHERE name = $2").persistent(false);
        change.bind(cents).bind(account).execute(&mut *tx).await?;
    }
    step("receipt");
    let insert = sqlx::query("INSERT INTO receipts (ordered) VALUES ($1) RETURNING number").persistent(false);
    let number: i64 = insert.bind(order).fetch_one(&mut *tx).await?.try_get(0)?;
    step("complete");
    claim.complete(&mut tx, &number).await?;
    step("commit");
    tx.commit().await?;
    step("committed");
    Ok(number)
}

/// Checks the balances, and that each acknowledged receipt is the only one of its order.
pub(crate) async fn check(pool: &PgPool, acknowledged: &BTreeMap<i32, i64>) {
    let receipts = sqlx::query("SELECT ordered, number FROM receipts").fetch_all(pool).await.unwrap();
    let receipts: Vec<(i32, i64)> = receipts.iter().map(|row| (row.get(0), row.get(1))).collect();
    let by_order: BTreeMap<i32, i64> = receipts.iter().copied().collect();
    assert_eq!(by_order.len(), receipts.len(), "no order was paid twice");
    for (order, number) in acknowledged {
        assert_eq!(by_order.get(order), Some(number), "the acknowledged payment of order {order}");
    }
    let paid = CENTS * i64::try_from(by_order.len()).unwrap();
    let cents = async |name| -> i64 {
        let query = sqlx::query_scalar("SELECT cents FROM accounts WHERE name = $1").persistent(false);
        query.bind(name).fetch_one(pool).await.unwrap()
    };
    assert_eq!((cents("customer").await, cents("shop").await), (-paid, paid));
}
