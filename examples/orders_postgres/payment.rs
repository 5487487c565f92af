//! A payment: a debit, a credit and a receipt in one transaction.

use resilient_runtime::{Rejection, resilient};
use sqlx::{PgPool, Postgres, Row as _, Transaction};

/// The price of every order.
pub(crate) const CENTS: i64 = 995;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PayError {
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Called at each step.
pub(crate) type Step<'a> = &'a (dyn Fn(&str) + Sync);

/// Pays an order in a transaction of its own. Returns the number of the receipt.
pub(crate) async fn pay_in_transaction(pool: &PgPool, order: i32, step: Step<'_>) -> Result<i64, PayError> {
    step("begin");
    let mut tx = pool.begin().await?;
    let receipt = pay(&mut tx, order, step).await?;
    step("commit");
    tx.commit().await?;
    step("committed");
    Ok(receipt)
}

/// The record of the order commits with the payment. A second call with the order returns the first receipt.
#[resilient(idempotent("payment", key = order, fingerprint = CENTS, store = "orders", transaction = tx, ttl = "24h"))]
async fn pay(tx: &mut Transaction<'_, Postgres>, order: i32, step: Step<'_>) -> Result<i64, PayError> {
    step("debit");
    change(tx, "customer", -CENTS).await?;
    step("credit");
    change(tx, "shop", CENTS).await?;
    step("receipt");
    let insert = sqlx::query("INSERT INTO example_receipts (ordered) VALUES ($1) RETURNING number");
    let receipt = insert.bind(order).fetch_one(&mut **tx).await?.try_get(0)?;
    step("paid");
    Ok(receipt)
}

async fn change(tx: &mut Transaction<'_, Postgres>, account: &str, cents: i64) -> sqlx::Result<()> {
    let update = sqlx::query("UPDATE example_accounts SET cents = cents + $1 WHERE name = $2");
    update.bind(cents).bind(account).execute(&mut **tx).await.map(drop)
}

pub(crate) async fn create_tables(pool: &PgPool, orders: i32) -> sqlx::Result<()> {
    let tables = "DROP TABLE IF EXISTS example_accounts, example_receipts; \
                  TRUNCATE example_idempotency; \
                  CREATE TABLE example_accounts (name text PRIMARY KEY, cents bigint NOT NULL); \
                  CREATE TABLE example_receipts (number bigserial PRIMARY KEY, ordered int NOT NULL)";
    sqlx::raw_sql(tables).execute(pool).await?;
    let accounts = sqlx::query("INSERT INTO example_accounts VALUES ('customer', $1), ('shop', 0)");
    accounts.bind(CENTS * i64::from(orders)).execute(pool).await.map(drop)
}
