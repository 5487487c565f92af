//! The role of a store that writes records in the transaction of the caller.

use std::any::Any;
use std::time::Duration;

use super::Answer;
use super::idempotency::{Claim, Claimed, Owner};

/// A store that can write a record in the transaction of the caller.
///
/// The record commits or rolls back with everything else in the transaction. A store returns itself from
/// [`IdempotencyStore::transactional`](super::IdempotencyStore::transactional).
///
/// ```
/// use std::{any::Any, time::Duration};
/// use resilient_runtime::idempotency::{Answer, Claim, Claimed, Owner, StoreError, TransactionalStore};
///
/// struct Connection;
/// #[derive(Debug)]
/// struct Mine;
/// impl TransactionalStore for Mine {
///     fn claim_in<'a>(&'a self, connection: &'a mut (dyn Any + Send), _: Claim, _: Duration) -> Answer<'a, Claimed> {
///         Box::pin(async move {
///             let other = || StoreError::Unavailable("the transaction belongs to another database".to_owned());
///             let _connection: &mut Connection = connection.downcast_mut().ok_or_else(other)?;
///             Ok(Claimed::Acquired)
///         })
///     }
///     fn complete_in<'a>(
///         &'a self, _: &'a mut (dyn Any + Send), _: &'a str, _: Owner, _: Vec<u8>, _: Duration,
///     ) -> Answer<'a, bool> {
///         Box::pin(async { Ok(true) })
///     }
/// }
/// ```
pub trait TransactionalStore: Send + Sync {
    /// Claims a key in the open transaction of `connection`, or returns the state of its record.
    ///
    /// If another open transaction has claimed the key, it waits up to `max_wait` for its end, and returns
    /// [`Claimed::InProgress`] after that. A `connection` of another type is an error.
    fn claim_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: Claim,
        max_wait: Duration,
    ) -> Answer<'a, Claimed>;

    /// Stores the result for `ttl` in the open transaction of `connection`. Returns whether it holds the claim.
    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool>;
}
