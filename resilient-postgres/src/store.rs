//! The store, and its role as a store of idempotency records.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::idempotency::{Claim, Claimed, IdempotencyStore, Owner, TransactionalStore};
use resilient_runtime::store::{Answer, Need, StoreError, Worker};
use tokio::time::Instant;

use crate::config::{Config, InvalidConfig};
use crate::expiry::Expiry;
use crate::found::{Attempt, Found};
use crate::migration;
use crate::operation::{Outcome, Session};
use crate::sql::{self, Change, Place};

/// The largest result that a [`PostgresStore`] stores: 16 MiB.
///
/// The setting `max_value` of the component applies first. Its default is 64 KiB.
///
/// ```
/// assert_eq!(resilient_postgres::LARGEST_RESULT, 16 * 1024 * 1024);
/// ```
pub const LARGEST_RESULT: usize = 16 << 20;

/// Stores idempotency records in a `PostgreSQL` database, shared by all processes that use it.
///
/// It has two interfaces that use the same records:
/// - [`claim_in`](Self::claim_in) claims a key in the transaction of the caller. The record commits together with the
///   business data, so the effect happens once, whatever crashes.
/// - As an [`IdempotencyStore`], each operation is a transaction of its own. The effect and the record are then two
///   steps, as with every other store.
///
/// The interfaces behave as follows:
/// - The program starts without the server. The first operation connects. A lost connection is opened again. An operation
///   whose connection is lost is sent a second time, which does not repeat its effect.
/// - An operation ends within [`Config::timeout`], whatever the server does. It is then unknown whether the change was
///   made. A claim that reaches the server later than that is not made.
/// - An acknowledged change is on the disk of the server: operations use `synchronous_commit = on`, also if the database
///   has another default. With asynchronous replication, a failover can lose it.
/// - Times are measured by the clock of the server.
/// - The caller's keys are hashed (SHA-256) and not stored. Results are not encrypted.
/// - The disk of the server is the limit. Clients have no shares as in
///   [`MemoryStore`](resilient_runtime::idempotency::MemoryStore).
/// - Expired records count as missing. While the store is used, it deletes them every minute, in batches of 1000: see
///   [`Config::expire_every`].
/// - Operations have up to [`Config::connections`] connections of their own and a thread, which ends after the store is
///   dropped.
///
/// It is also a member of replica sets: a [`ReplicaStore`](resilient_runtime::store::ReplicaStore), with its records in a table
/// of their own. Their keys and values are stored in plain form. A standby refuses reads too, because it can be
/// behind. This role needs `PostgreSQL` 14 or later.
///
/// It needs `PostgreSQL` 13 or later, the tables of [`migrate`](Self::migrate), and the rights `SELECT, INSERT, UPDATE,
/// DELETE` on the tables of records and `SELECT` on the table of versions. It works through pgbouncer in session mode and in
/// transaction mode.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use resilient_postgres::PostgresStore;
///
/// let store = Arc::new(PostgresStore::connect_lazily("postgres://localhost/shop")?);
/// store.migrate().await?;
/// resilient_runtime::registry().use_store("orders", store);
/// // Then use it: #[resilient(idempotent(key = &order.id, store = "orders"))]
/// # Ok(()) }
/// ```
pub struct PostgresStore {
    pub(crate) session: Session,
    worker: Arc<Worker>,
    expiry: Arc<Expiry>,
}

impl PostgresStore {
    /// Creates a store at `url` with default settings. Connects when the first operation needs it.
    ///
    /// ```
    /// use resilient_postgres::PostgresStore;
    ///
    /// let store = PostgresStore::connect_lazily("postgres://shop:secret@localhost/shop")?;
    /// assert!(!format!("{store:?}").contains("secret"));
    /// # Ok::<_, resilient_postgres::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the URL is not valid: see [`Config::new`].
    pub fn connect_lazily(url: impl AsRef<str>) -> Result<Self, InvalidConfig> {
        Self::new(Config::new(url))
    }

    /// Creates a store. Connects when the first operation needs it.
    ///
    /// ```
    /// use resilient_postgres::{Config, PostgresStore};
    ///
    /// assert!(PostgresStore::new(Config::new("postgres://localhost/shop").table("records")).is_ok());
    /// assert!(PostgresStore::new(Config::new("postgres://localhost/shop").table("")).is_err());
    /// ```
    ///
    /// # Errors
    /// Returns all settings that are not valid.
    #[allow(clippy::needless_pass_by_value, reason = "the settings belong to the store")]
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        let (options, names) = config.checked()?;
        let session = Session::new(options, names, config.connections, config.timeout);
        let expiry = Arc::new(Expiry::new(config.expire_every));
        Ok(Self { session, worker: Arc::new(Worker::new("resilient-postgres")), expiry })
    }

    /// Creates or updates the tables. Does nothing if they have the current version.
    ///
    /// Several instances can call it at the same time. The user must be allowed to create tables in the schema. To run the
    /// SQL by hand, see [`Config::migrations`].
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use resilient_postgres::PostgresStore;
    ///
    /// let store = PostgresStore::connect_lazily("postgres://localhost/shop")?;
    /// store.migrate().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached, if the user lacks a right, or if the tables belong to a later
    /// version of this crate. Nothing was changed then.
    ///
    /// # Cancel safety
    /// If the future is dropped, the migration continues.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let applied = self.worker.start(Need::Optional, migration::apply(self.session.clone()));
        let applied = applied.map_err(|problem| self.session.error(&problem))?;
        match applied.await {
            Some(applied) => applied.map_err(StoreError::Unavailable),
            None => Err(self.session.error("the migration panicked")),
        }
    }

    /// Checks that the server can be reached and that the tables have the version that this crate needs.
    ///
    /// Use it at the start of a program that must not run without the store, or in a health check.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use resilient_postgres::PostgresStore;
    ///
    /// PostgresStore::connect_lazily("postgres://localhost/shop")?.check().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the problem with its remedy.
    pub async fn check(&self) -> Result<(), StoreError> {
        let session = self.session.clone();
        let checked =
            session.perform(Instant::now(), |names, _| sql::state(names), |_, _| Ok(Outcome::Ended(())));
        self.run(Need::Optional, checked).await
    }

    /// Deletes the records that have expired, in batches of 1000. Returns how many were deleted.
    ///
    /// The store calls it while it is used: see [`Config::expire_every`]. Each batch is a transaction of its own, and
    /// records that another transaction uses are skipped, so it does not block calls.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use resilient_postgres::PostgresStore;
    ///
    /// let store = PostgresStore::connect_lazily("postgres://localhost/shop")?;
    /// println!("{} expired records deleted", store.expire().await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if a batch fails. Earlier batches stay deleted.
    ///
    /// # Cancel safety
    /// If the future is dropped, the deletion continues.
    pub async fn expire(&self) -> Result<u64, StoreError> {
        self.run(Need::Optional, Expiry::delete(self.session.clone())).await
    }

    /// Returns the key of a record in the table, in hexadecimal digits.
    ///
    /// `key` is the name of the component, a zero byte, and the caller's key.
    ///
    /// ```
    /// use resilient_postgres::PostgresStore;
    ///
    /// let key = PostgresStore::connect_lazily("postgres://localhost")?.record_key("charge\0order 7");
    /// // SELECT * FROM resilient_idempotency WHERE key = decode('a1b2..', 'hex')
    /// assert_eq!(key.len(), 64);
    /// # Ok::<_, resilient_postgres::InvalidConfig>(())
    /// ```
    #[allow(clippy::unused_self, reason = "later versions may use settings of the store")]
    pub fn record_key(&self, key: &str) -> String {
        sql::hash(key)
    }

    /// Starts an operation at once on the thread of the store. The returned future waits for its result.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        need: Need,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Answer<'_, T> {
        let started = self.worker.start(need, operation);
        Box::pin(async move {
            let started = started.map_err(|problem| self.session.error(&problem))?;
            started.await.unwrap_or_else(|| Err(self.session.error("the operation panicked")))
        })
    }

    /// Starts the deletion of expired records if it is due, without waiting for it.
    pub(crate) fn expire_if_due(&self) {
        if self.expiry.is_due() {
            // The next interval starts it again if there is no thread.
            drop(self.worker.run(Arc::clone(&self.expiry).delete_and_log(self.session.clone())));
        }
    }

    fn change<'a>(&'a self, (key, owner): (&str, Owner), change: OwnedChange) -> Answer<'a, bool> {
        self.run(Need::Required, perform_change(self.session.clone(), (key.to_owned(), owner), change))
    }
}

async fn perform_change(
    session: Session,
    (key, owner): (String, Owner),
    change: OwnedChange,
) -> Result<bool, StoreError> {
    let removes = change.borrowed().removes();
    let is_completion = matches!(change, OwnedChange::Complete(..));
    let changed = session.perform(
        Instant::now(),
        move |names, _| sql::change(names, &key, owner, change.borrowed()),
        move |reply, sending| {
            use sqlx::Row as _;
            let is_changed = reply.changed > 0;
            // The first copy of the statements may have made the change.
            let was_changed = sending.was_sent
                && ((removes && !reply.row.try_get::<bool, _>("is_there")?)
                    || (is_completion && reply.row.try_get("is_completed")?));
            Ok(Outcome::Ended(is_changed || was_changed))
        },
    );
    changed.await
}

/// A claim whose caller has not received it yet. If the caller is gone, the claim is given up: the request of the caller to
/// give it up can be executed before the claim.
struct Unreceived(Option<(Arc<Worker>, Session, String, Owner)>);

impl Drop for Unreceived {
    fn drop(&mut self) {
        if let Some((worker, session, key, owner)) = self.0.take() {
            let abandoned = perform_change(session, (key, owner), OwnedChange::Abandon);
            drop(worker.start(Need::Required, abandoned));
        }
    }
}

/// A change with its own copy of the result.
enum OwnedChange {
    Renew(Duration),
    Lose,
    Abandon,
    Complete(Vec<u8>, Duration),
}

impl OwnedChange {
    fn borrowed(&self) -> Change<'_> {
        match self {
            Self::Renew(lease) => Change::Renew(*lease),
            Self::Lose => Change::Lose,
            Self::Abandon => Change::Abandon,
            Self::Complete(result, ttl) => Change::Complete(result, *ttl),
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("address", &self.session.address())
            .field("table", &self.session.names().shown)
            .field("timeout", &self.session.timeout())
            .finish_non_exhaustive()
    }
}

impl IdempotencyStore for PostgresStore {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        self.expire_if_due();
        let (session, asked) = (self.session.clone(), claim.clone());
        let unreceived = (Arc::clone(&self.worker), session.clone(), claim.key.clone(), claim.owner);
        let operation = async move {
            // Also if the outcome of the claim is unknown.
            let mut unreceived = Unreceived(Some(unreceived));
            let claimed = session.perform(
                Instant::now(),
                move |names, sending| sql::claim(names, &asked, Place::Own { until: sending.until }),
                move |reply, sending| {
                    Ok(match Found::of(&reply.row)?.answer(&claim, reply.changed > 0, sending.was_sent) {
                        Attempt::Ended(claimed) => Outcome::Ended(claimed),
                        Attempt::Missed => Outcome::Again,
                    })
                },
            );
            let claimed = claimed.await;
            if claimed.as_ref().is_ok_and(|claimed| *claimed != Claimed::Acquired) {
                unreceived.0 = None;
            }
            Ok((claimed, unreceived))
        };
        let started = self.run(Need::Optional, operation);
        Box::pin(async move {
            let (claimed, mut unreceived) = started.await?;
            unreceived.0 = None;
            claimed
        })
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        self.change((key, owner), OwnedChange::Renew(lease))
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        let bytes = answer.len();
        if bytes <= LARGEST_RESULT {
            return self.change((key, owner), OwnedChange::Complete(answer, ttl));
        }
        // The call was executed, so its key must not become free.
        let lost = self.lose(key, owner);
        Box::pin(async move {
            lost.await?;
            Err(StoreError::Refused(self.session.describe(&too_large(bytes))))
        })
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.change((key, owner), OwnedChange::Abandon)
    }

    fn lose<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.change((key, owner), OwnedChange::Lose)
    }

    fn transactional(&self) -> Option<&dyn TransactionalStore> {
        Some(self)
    }
}

pub(crate) fn too_large(bytes: usize) -> String {
    format!("the result has {bytes} bytes, more than {LARGEST_RESULT}")
}
