//! Idempotency records in `PostgreSQL`, committed in the transaction of the business data.
//!
//! ```no_run
//! use resilient_postgres::{ClaimIn, ClaimedIn, PostgresStore};
//! use sqlx::PgPool;
//!
//! /// Charges an order once, also if it is called twice or crashes at any step.
//! async fn charge(store: &PostgresStore, pool: &PgPool, order: &str, cents: i64) -> Result<i64, Box<dyn std::error::Error>> {
//!     let mut tx = pool.begin().await?;
//!     match store.claim_in(&mut tx, ClaimIn::new("charge", order)).await? {
//!         ClaimedIn::Fresh(claim) => {
//!             sqlx::query("UPDATE accounts SET cents = cents - $1").bind(cents).execute(&mut *tx).await?;
//!             claim.complete(&mut tx, &cents).await?;
//!             tx.commit().await?;
//!             Ok(cents)
//!         }
//!         ClaimedIn::Done(result) => Ok(result.read()?),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = PgPool::connect_lazy("postgres://localhost/shop")?;
//! let store = PostgresStore::new(resilient_postgres::Config::of_pool(&pool))?;
//! store.migrate().await?;
//! charge(&store, &pool, "order 7", 995).await?;
//! # Ok(()) }
//! ```
//!
//! [`PostgresStore`] is also a store for the attribute. It describes what is stored, and what happens when the server fails.
//!
//! # Features
//! - `tls`: encrypted connections by rustls, with the certificates of the system.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod claim_error;
mod config;
mod connection;
mod connector;
mod expiry;
mod found;
mod joined;
mod migration;
mod names;
mod operation;
mod problem;
mod replica;
mod sql;
mod store;
mod transaction;

pub use claim_error::ClaimError;
pub use config::{Config, InvalidConfig};
pub use connector::{PostgresConnector, register};
pub use replica::LARGEST_RECORD;
pub use store::{LARGEST_RESULT, PostgresStore};
pub use transaction::{ClaimIn, ClaimedIn, FreshClaim, StoredResult};

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/postgres.md")]
struct Guide;
