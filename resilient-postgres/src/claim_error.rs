//! Errors of claims in a transaction.

use std::time::Duration;

use resilient_runtime::{Class, Classify};

/// A claim in a transaction failed. Roll back the transaction.
///
/// ```
/// use std::time::Duration;
/// use resilient_postgres::ClaimError;
/// use resilient_runtime::{Class, Classify};
///
/// let busy = ClaimError::Busy { max_wait: Duration::from_secs(5) };
/// assert_eq!(busy.classify(), Class::Transient { retry_after: None });
/// assert_eq!(ClaimError::KeyReused.classify(), Class::Permanent);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Another transaction with the key did not end within [`max_wait`](crate::ClaimIn::max_wait).
    #[error(
        "another transaction with this idempotency key did not end within {max_wait:?}: roll back and try again later"
    )]
    Busy {
        /// How long the claim could wait.
        max_wait: Duration,
    },
    /// A call outside of a transaction holds the key, through the attribute or an `Idempotency` component.
    #[error("another call with this idempotency key is running: try again in {retry_after:?}")]
    InProgress {
        /// The time until its lease ends, unless it is renewed.
        retry_after: Duration,
    },
    /// The key was used with another payload.
    #[error("the idempotency key was used with another payload: use a new key for each operation")]
    KeyReused,
    /// The key was used by another operation, with this name.
    #[error(
        "the idempotency key was used by the operation `{0}`: use a component of its own for each operation"
    )]
    OtherOperation(String),
    /// The call that claimed the key ended without a result: its transaction committed before `complete`, or it was a call
    /// outside of a transaction.
    #[error(
        "an earlier call with this idempotency key ended without a result, and it is unknown whether it had an effect: call \
         `complete` before each commit, and check what that call has done"
    )]
    OutcomeUnknown,
    /// The key is empty or too long.
    #[error("the idempotency key has {bytes} bytes, allowed are 1 to 1024")]
    InvalidKey {
        /// The length of the key.
        bytes: usize,
    },
    /// The connection has no open transaction.
    #[error(
        "the connection has no open transaction: pass `&mut tx` after `let mut tx = pool.begin().await?`"
    )]
    NoTransaction,
    /// The claim does not belong to this transaction, or the transaction was rolled back to a savepoint before the claim.
    #[error(
        "this transaction does not hold the claim: complete it in the transaction that has made it, and roll back"
    )]
    OtherTransaction,
    /// The result cannot be stored or read.
    #[error("{0}")]
    Result(String),
    /// The tables belong to another version of this crate.
    #[error("{0}")]
    Schema(String),
    /// The statement failed.
    #[error("{problem}")]
    Database {
        /// The store, what failed, and the remedy.
        problem: String,
        /// The error of the connection or the server.
        source: sqlx::Error,
    },
}

impl Classify for ClaimError {
    /// Classifies an error by whether the whole transaction can be repeated.
    fn classify(&self) -> Class {
        match self {
            Self::Busy { .. } => Class::Transient { retry_after: None },
            Self::InProgress { retry_after } => Class::Transient { retry_after: Some(*retry_after) },
            Self::Database { source, .. } => source.classify(),
            _ => Class::Permanent,
        }
    }
}
