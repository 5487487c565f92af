//! Claims in the transaction of the caller.

use std::fmt::Display;
use std::time::Duration;

use resilient_runtime::idempotency::{Claim, Claimed, Fingerprint, Owner, decode_result, encode_result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use crate::claim_error::ClaimError;
use crate::found::{Attempt, Found};
use crate::operation::{Reply, Session, send};
use crate::problem;
use crate::sql::{self, Change, Place, VERSION};
use crate::store::{LARGEST_RESULT, PostgresStore, too_large};

/// The longest key, in bytes: the same as for the attribute.
const LONGEST_KEY: usize = 1024;
/// How often a claim is repeated if the record changes between its statements.
const RACES: u32 = 3;
/// Default time for which a result is stored.
const TTL: Duration = Duration::from_hours(24);
/// Minimum time for which an unknown outcome is stored: the same as for the attribute.
const LOST_FOR: Duration = Duration::from_hours(1);
/// Default time to wait for another transaction with the same key.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// A claim for [`PostgresStore::claim_in`].
///
/// ```
/// use std::time::Duration;
/// use resilient_postgres::ClaimIn;
/// use resilient_runtime::idempotency::Fingerprint;
///
/// let claim = ClaimIn::new("charge", "order 7")
///     .fingerprint(Fingerprint::of(&995))
///     .ttl(Duration::from_hours(48))
///     .max_wait(Duration::from_secs(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ClaimIn {
    component: String,
    key: String,
    fingerprint: Fingerprint,
    ttl: Duration,
    max_wait: Duration,
}

impl ClaimIn {
    /// Creates a claim of `key`, with 1 to 1024 bytes, for the operation or component `component`.
    ///
    /// The same key of another component is another record.
    ///
    /// ```
    /// use resilient_postgres::ClaimIn;
    ///
    /// assert_ne!(ClaimIn::new("charge", 7), ClaimIn::new("refund", 7));
    /// ```
    pub fn new(component: impl Into<String>, key: impl Display) -> Self {
        Self {
            component: component.into(),
            key: key.to_string(),
            fingerprint: Fingerprint::NONE,
            ttl: TTL,
            max_wait: MAX_WAIT,
        }
    }

    /// Sets the hash of the payload. A later claim with another one is a [`ClaimError::KeyReused`].
    ///
    /// ```
    /// use resilient_postgres::ClaimIn;
    /// use resilient_runtime::idempotency::Fingerprint;
    ///
    /// let cents = 995;
    /// let claim = ClaimIn::new("charge", "order 7").fingerprint(Fingerprint::of(&cents));
    /// ```
    pub fn fingerprint(self, fingerprint: Fingerprint) -> Self {
        Self { fingerprint, ..self }
    }

    /// Sets how long the result is stored, measured from [`FreshClaim::complete`]. Default: 24 h.
    ///
    /// After that, the work of a claim with the key is done again. A `ttl` of zero stores nothing. Durations above 30 years
    /// count as 30 years.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_postgres::ClaimIn;
    ///
    /// let claim = ClaimIn::new("charge", "order 7").ttl(Duration::from_hours(30 * 24));
    /// ```
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Sets how long to wait for another transaction that has claimed the key. Default: 5 s.
    ///
    /// It is the `lock_timeout` of the claim. The `lock_timeout` of the transaction is set back after it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_postgres::ClaimIn;
    ///
    /// let impatient = ClaimIn::new("charge", "order 7").max_wait(Duration::from_millis(100));
    /// ```
    pub fn max_wait(self, max_wait: Duration) -> Self {
        // Larger values are not valid for the server.
        Self { max_wait: max_wait.min(Duration::from_hours(24)), ..self }
    }

    fn claim(&self) -> Result<Claim, ClaimError> {
        let bytes = self.key.len();
        if bytes == 0 || bytes > LONGEST_KEY {
            return Err(ClaimError::InvalidKey { bytes });
        }
        Ok(Claim {
            key: format!("{}\0{}", self.component, self.key),
            fingerprint: self.fingerprint,
            operation: "",
            owner: Owner::unique(),
            // Other transactions see the record only after the commit. If it commits without a result, no lease is waited for.
            lease: Duration::ZERO,
            lost_for: self.ttl.max(LOST_FOR),
            takes_over: false,
            client: None,
        })
    }
}

/// The result of [`PostgresStore::claim_in`].
///
/// ```no_run
/// # async fn f(store: &resilient_postgres::PostgresStore, pool: &sqlx::PgPool) -> Result<u32, Box<dyn std::error::Error>> {
/// use resilient_postgres::{ClaimIn, ClaimedIn};
///
/// let mut tx = pool.begin().await?;
/// let receipt = match store.claim_in(&mut tx, ClaimIn::new("charge", "order 7")).await? {
///     ClaimedIn::Fresh(claim) => {
///         let receipt = 995; // the work, in the same transaction
///         claim.complete(&mut tx, &receipt).await?;
///         tx.commit().await?;
///         receipt
///     }
///     ClaimedIn::Done(result) => result.read()?,
/// };
/// # Ok(receipt) }
/// ```
#[derive(Debug)]
pub enum ClaimedIn {
    /// The work is new. Do it in this transaction, complete the claim, and commit.
    Fresh(FreshClaim),
    /// The work was done by a transaction that has committed. This is its result.
    Done(StoredResult),
}

/// A key that this transaction has claimed.
///
/// Call [`complete`](Self::complete) before the transaction commits. A rollback frees the key. If the transaction commits
/// without a result, later claims return [`ClaimError::OutcomeUnknown`] until the record expires.
///
/// ```no_run
/// # async fn f(store: &resilient_postgres::PostgresStore, pool: &sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// use resilient_postgres::{ClaimIn, ClaimedIn};
///
/// let mut tx = pool.begin().await?;
/// if let ClaimedIn::Fresh(claim) = store.claim_in(&mut tx, ClaimIn::new("mail", "order 7")).await? {
///     sqlx::query("INSERT INTO outbox VALUES ('order 7')").execute(&mut *tx).await?;
///     claim.complete(&mut tx, &()).await?;
///     tx.commit().await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "complete the claim before the transaction commits, or roll back"]
pub struct FreshClaim {
    session: Session,
    key: String,
    owner: Owner,
    ttl: Duration,
}

impl FreshClaim {
    /// Stores the result in the transaction. It becomes visible when the transaction commits. One round trip.
    ///
    /// The text of the statement contains the result. `sqlx` logs statements at the level `debug`, and those that take
    /// longer than a second at the level `warn`. If results are confidential, call `disable_statement_logging` of
    /// [`ConnectOptions`](sqlx::ConnectOptions) on the options of the pool.
    ///
    /// ```no_run
    /// # async fn f(claim: resilient_postgres::FreshClaim, mut tx: sqlx::Transaction<'_, sqlx::Postgres>) -> Result<(), Box<dyn std::error::Error>> {
    /// claim.complete(&mut tx, &("receipt", 995)).await?;
    /// tx.commit().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the result cannot be serialized or is larger than
    /// [`LARGEST_RESULT`], if `tx` is another transaction than the one that claimed the
    /// key, or if the statement fails. Roll back then.
    ///
    /// # Cancel safety
    /// If the future is dropped, roll back.
    pub async fn complete<T: Serialize + ?Sized>(
        self,
        tx: &mut PgConnection,
        result: &T,
    ) -> Result<(), ClaimError> {
        let bytes = encode_result(result).map_err(|error| ClaimError::Result(error.to_string()))?;
        if bytes.len() > LARGEST_RESULT {
            return Err(ClaimError::Result(too_large(bytes.len())));
        }
        if complete_in(&self.session, tx, (&self.key, self.owner), &bytes, self.ttl).await? {
            Ok(())
        } else {
            Err(ClaimError::OtherTransaction)
        }
    }
}

/// The result of a transaction that has committed.
///
/// ```no_run
/// # async fn f(store: &resilient_postgres::PostgresStore, mut tx: sqlx::Transaction<'_, sqlx::Postgres>) -> Result<(), Box<dyn std::error::Error>> {
/// use resilient_postgres::{ClaimIn, ClaimedIn};
///
/// if let ClaimedIn::Done(result) = store.claim_in(&mut tx, ClaimIn::new("charge", "order 7")).await? {
///     let cents: u32 = result.read()?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult(Vec<u8>);

impl StoredResult {
    /// Reads the result. `T` must have the shape of the type that was stored.
    ///
    /// ```no_run
    /// # fn f(result: resilient_postgres::StoredResult) -> Result<(), Box<dyn std::error::Error>> {
    /// let (number, cents): (String, u32) = result.read()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the stored result has another type.
    pub fn read<T: Serialize + DeserializeOwned>(&self) -> Result<T, ClaimError> {
        decode_result(&self.0).map_err(|error| ClaimError::Result(error.to_string()))
    }
}

impl PostgresStore {
    /// Claims a key in the transaction of the caller, or returns the result of the transaction that has done the work.
    ///
    /// The record commits together with the business data, so the effect happens once:
    /// - A crash of the program or of the server before the commit rolls back both, and the key is free again.
    /// - After the commit, every later claim returns the result. This includes the repetition of a call whose commit was
    ///   not acknowledged because the connection was lost.
    /// - If another transaction has claimed the key and is still open, the claim waits for its end, at most
    ///   [`ClaimIn::max_wait`]. If it commits, the claim returns its result. If it rolls back, the claim is fresh.
    ///
    /// A claim takes one round trip, and a second one if it had to wait. [`FreshClaim::complete`] takes one. Keep the
    /// transaction short, because it holds its locks until it ends. An effect outside of the database, such as a call to
    /// a payment provider, is not part of the transaction: pass the key on to it.
    ///
    /// `tx` is a `&mut sqlx::Transaction<'_, Postgres>`, or a `&mut PgConnection` with an open transaction.
    ///
    /// ```no_run
    /// use resilient_postgres::{ClaimIn, ClaimedIn, PostgresStore};
    /// use resilient_runtime::idempotency::Fingerprint;
    /// use sqlx::PgPool;
    ///
    /// async fn charge(store: &PostgresStore, pool: &PgPool, order: &str, cents: i64) -> Result<i64, Box<dyn std::error::Error>> {
    ///     let mut tx = pool.begin().await?;
    ///     let claim = ClaimIn::new("charge", order).fingerprint(Fingerprint::of(&cents));
    ///     match store.claim_in(&mut tx, claim).await? {
    ///         ClaimedIn::Fresh(claim) => {
    ///             sqlx::query("UPDATE accounts SET cents = cents - $1").bind(cents).execute(&mut *tx).await?;
    ///             claim.complete(&mut tx, &cents).await?;
    ///             tx.commit().await?;
    ///             Ok(cents)
    ///         }
    ///         ClaimedIn::Done(result) => Ok(result.read()?),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns a [`ClaimError`]. Roll back then: after most errors, the server refuses other statements of the transaction.
    /// With the isolation levels `REPEATABLE READ` and `SERIALIZABLE`, a claim that had to wait fails with the SQLSTATE
    /// 40001. Repeat the whole transaction after 40001, after a deadlock (40P01) and after
    /// [`Busy`](ClaimError::Busy): [`Classify`](resilient_runtime::Classify) returns `Transient` for them.
    ///
    /// # Cancel safety
    /// If the future is dropped, roll back.
    pub async fn claim_in(&self, tx: &mut PgConnection, claim: ClaimIn) -> Result<ClaimedIn, ClaimError> {
        let asked = claim.claim()?;
        self.expire_if_due();
        match claim_in(&self.session, tx, &asked, claim.max_wait).await? {
            Claimed::Acquired => Ok(ClaimedIn::Fresh(FreshClaim {
                session: self.session.clone(),
                key: asked.key,
                owner: asked.owner,
                ttl: claim.ttl,
            })),
            Claimed::Done(result) => Ok(ClaimedIn::Done(StoredResult(result))),
            Claimed::InProgress { retry_after } => Err(ClaimError::InProgress { retry_after }),
            Claimed::KeyReused => Err(ClaimError::KeyReused),
            Claimed::OtherOperation(by) => Err(ClaimError::OtherOperation(by)),
            Claimed::Lost => Err(ClaimError::OutcomeUnknown),
        }
    }
}

/// Claims a record in a transaction.
pub(crate) async fn claim_in(
    session: &Session,
    tx: &mut PgConnection,
    claim: &Claim,
    max_wait: Duration,
) -> Result<Claimed, ClaimError> {
    if !tx.is_in_transaction() {
        return Err(ClaimError::NoTransaction);
    }
    for _ in 0..RACES {
        let sent = send(tx, sql::claim(session.names(), claim, Place::Within { max_wait })).await;
        let reply = sent.map_err(|error| failed(session, error, max_wait))?;
        check_version(session, &reply)?;
        let found = Found::of(&reply.row).map_err(|error| failed(session, error, max_wait))?;
        if let Attempt::Ended(claimed) = found.answer(claim, reply.changed > 0, false) {
            return Ok(claimed);
        }
    }
    Err(ClaimError::Busy { max_wait })
}

/// Stores a result in a transaction. Returns whether the transaction holds the claim.
pub(crate) async fn complete_in(
    session: &Session,
    tx: &mut PgConnection,
    (key, owner): (&str, Owner),
    result: &[u8],
    ttl: Duration,
) -> Result<bool, ClaimError> {
    if !tx.is_in_transaction() {
        return Err(ClaimError::NoTransaction);
    }
    let sent = send(tx, sql::change(session.names(), key, owner, Change::Complete(result, ttl))).await;
    let reply = sent.map_err(|error| failed(session, error, Duration::ZERO))?;
    check_version(session, &reply)?;
    Ok(reply.changed > 0)
}

fn check_version(session: &Session, reply: &Reply) -> Result<(), ClaimError> {
    match reply.row.try_get::<Option<i32>, _>("version") {
        Ok(Some(VERSION)) => Ok(()),
        Ok(other) => Err(ClaimError::Schema(session.describe(&problem::of_version(other, session.names())))),
        Err(error) => Err(failed(session, error, Duration::ZERO)),
    }
}

fn failed(session: &Session, error: sqlx::Error, max_wait: Duration) -> ClaimError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match code.as_deref() {
        Some("55P03") => ClaimError::Busy { max_wait },
        _ => ClaimError::Database {
            problem: session.describe(&problem::of(&error, session.names())),
            source: error,
        },
    }
}
