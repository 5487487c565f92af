//! Records in the transaction of the caller.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::claiming::LOST_FOR;
use super::ended::{Mark, Unsaved, mark};
use super::ending::Ending;
use super::{Codec, Effect, Idempotency, OnUnknown, Stored};
use crate::clock::Instant;
use crate::rejection::{Rejection, RejectionKind};
use crate::store::StoreError;
use crate::store::idempotency::{Claim, Claimed, Fingerprint, IdempotencyStore, Owner};
use crate::store::wait::Mode;

/// A transaction of a database, which `idempotent(transaction = ..)` uses.
///
/// With the feature `sqlx`, `sqlx::Transaction` implements it for every database.
///
/// ```
/// use resilient_runtime::idempotency::StoreTransaction;
///
/// /// A connection of a database driver.
/// struct Connection;
/// struct Transaction<'c>(&'c mut Connection);
/// impl StoreTransaction for Transaction<'_> {
///     type Connection = Connection;
///     fn connection(&mut self) -> &mut Connection { self.0 }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`idempotent(transaction = ..)` cannot use a `{Self}`",
    label = "expected `&mut sqlx::Transaction<'_, _>`",
    note = "take the transaction as an argument, as in `tx: &mut sqlx::Transaction<'_, sqlx::Postgres>`, and enable the feature `sqlx` of `resilient-runtime`"
)]
pub trait StoreTransaction {
    /// The connection that has the transaction.
    type Connection: Any + Send;

    /// Returns the connection.
    ///
    /// ```
    /// # use resilient_runtime::idempotency::StoreTransaction;
    /// fn connection_of<T: StoreTransaction>(tx: &mut T) -> &mut T::Connection {
    ///     tx.connection()
    /// }
    /// ```
    fn connection(&mut self) -> &mut Self::Connection;
}

#[cfg(feature = "sqlx")]
impl<DB: sqlx::Database<Connection: 'static>> StoreTransaction for sqlx::Transaction<'_, DB> {
    type Connection = DB::Connection;

    fn connection(&mut self) -> &mut DB::Connection {
        self
    }
}

/// Whether the body runs in the transaction, or a stored result is replayed.
#[derive(Debug)]
pub enum TransactionClaim<'a> {
    /// Run the body. Without a lease, the call has no key.
    Run(Option<TransactionLease<'a>>),
    /// Replay this result.
    Replay(Stored<'a>),
}

/// A key that is claimed in a transaction. A rollback frees it.
#[derive(Debug)]
pub struct TransactionLease<'a> {
    idempotency: &'a Idempotency,
    store: Arc<dyn IdempotencyStore>,
    key: String,
    owner: Owner,
    operation: &'static str,
}

impl Idempotency {
    /// Claims a key in a transaction. `key` comes from [`record_key`](Self::record_key).
    pub(crate) async fn claim_in_transaction<'a>(
        &'a self,
        connection: &mut (dyn Any + Send),
        key: String,
        (fingerprint, operation): (Fingerprint, &'static str),
        deadline: Instant,
    ) -> Result<TransactionClaim<'a>, Rejection> {
        let (clock, config) = (self.core.clock(), self.core.config());
        let store = self.store_of(&config)?;
        let claim = Claim {
            key,
            fingerprint,
            operation,
            owner: Owner(self.core.environment.random.unique()),
            // Other transactions see the record only after the commit. Without a result by then, the outcome is unknown.
            lease: Duration::ZERO,
            lost_for: config.ttl.max(LOST_FOR),
            takes_over: config.on_unknown == OnUnknown::Reexecute,
            client: None,
        };
        let now = clock.now();
        let max_wait = now.after(config.max_wait).min(deadline).since(now);
        let (key, owner) = (claim.key.clone(), claim.owner);
        let Some(transactional) = store.transactional() else {
            let name = config.store.as_deref().unwrap_or("default");
            let problem = format!(
                "the store `{name}` cannot join a transaction: use a store that can, such as `PostgresStore` of the crate \
                 resilient-postgres, or remove `transaction`"
            );
            self.note_failure(&StoreError::Unavailable(problem.clone()));
            return Err(self.refuse(RejectionKind::StoreUnavailable, None).explained(problem));
        };
        let asked = self.ask(Mode::Async, || transactional.claim_in(connection, claim, max_wait));
        let limit = config.store_timeout.saturating_add(max_wait);
        let claimed = Mode::Async.answer((clock, self.core.name), limit, asked).await;
        match claimed {
            Ok(Claimed::Acquired) => {
                self.counters.executed.count();
                Ok(TransactionClaim::Run(Some(TransactionLease {
                    idempotency: self,
                    store,
                    key,
                    owner,
                    operation,
                })))
            }
            Ok(Claimed::Done(bytes)) => {
                Ok(TransactionClaim::Replay(Stored { idempotency: self, operation, bytes }))
            }
            Ok(other) => Err(self.not_claimed(other, operation)),
            // The transaction cannot continue, so `on_store_failure = open` does not apply.
            Err(error) => {
                self.note_failure(&error);
                Err(self.refuse_without_store(&error))
            }
        }
    }

    /// The rejection of a call whose key is used.
    fn not_claimed(&self, claimed: Claimed, operation: &str) -> Rejection {
        match claimed {
            Claimed::OtherOperation(by) => self.other_operation(&by, operation),
            Claimed::KeyReused => {
                self.counters.key_reused.count();
                self.refuse(RejectionKind::KeyReused, None)
            }
            Claimed::InProgress { retry_after } => {
                self.counters.in_progress.count();
                self.refuse(RejectionKind::InProgress, Some(retry_after))
            }
            _ => {
                self.counters.unknown.count();
                self.refuse(RejectionKind::OutcomeUnknown, None)
            }
        }
    }
}

impl TransactionLease<'_> {
    /// Stores the outcome in the transaction.
    ///
    /// An outcome that is a failure is not stored. The caller must roll back then.
    ///
    /// # Errors
    /// Returns a rejection if the result was not stored: a commit would leave an unknown outcome.
    pub(crate) async fn conclude(
        self,
        connection: &mut (dyn Any + Send),
        ending: Ending,
    ) -> Result<(), Rejection> {
        let Self { idempotency, store, key, owner, .. } = self;
        let config = idempotency.core.config();
        let (why, problem) = match ending {
            Ending::Free | Ending::Leave | Ending::Lose => {
                idempotency.counters.abandoned.count();
                mark(Mark::Fresh);
                return Ok(());
            }
            Ending::Unkept(problem) => (Unsaved::NotKeepable, problem),
            Ending::Keep(bytes) if bytes.len() > config.max_value as usize => {
                let (bytes, most) = (bytes.len(), config.max_value);
                (Unsaved::TooLarge, format!("the result has {bytes} bytes, more than `max_value` = {most}"))
            }
            Ending::Keep(bytes) => {
                let completed = match store.transactional() {
                    Some(store) => {
                        let asked = idempotency.ask(Mode::Async, || {
                            store.complete_in(connection, &key, owner, bytes, config.ttl)
                        });
                        let waits = (idempotency.core.clock(), idempotency.core.name);
                        Mode::Async.answer(waits, config.store_timeout, asked).await
                    }
                    None => Ok(false),
                };
                match completed {
                    Ok(true) => {
                        mark(Mark::Fresh);
                        return Ok(());
                    }
                    Ok(false) => (Unsaved::TakenOver, "the transaction does not hold the key".to_owned()),
                    Err(error) => (Unsaved::StoreFailed, error.to_string()),
                }
            }
        };
        idempotency.not_kept(why, &problem);
        let problem = idempotency.core.environment.texts().clean(&problem);
        let rejection = idempotency.refuse(RejectionKind::StoreUnavailable, None);
        Err(match problem {
            Some(problem) => rejection.explained(format!("{problem}; roll back the transaction")),
            None => rejection,
        })
    }

    pub(crate) fn ending<R>(&self, effect: Effect, codec: Codec<R>, outcome: Option<&R>) -> Ending {
        self.idempotency.ending(effect, (outcome, self.operation), codec)
    }
}
