//! The idempotency stage in the transaction of the caller.

use std::any::Any;
use std::fmt::Display;

use crate::idempotency::{
    self, Codec, Fingerprint, Mark, StoreTransaction, TransactionClaim, TransactionLease,
};
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::rejection::Rejection;

/// Returns the connection of a transaction, for its diagnostics in one place.
pub fn connection<T: StoreTransaction>(transaction: &mut T) -> &mut (dyn Any + Send) {
    transaction.connection()
}

impl<'p> Call<'p> {
    /// Claims the idempotency key in a transaction, or returns the result of the call that claimed it before.
    ///
    /// # Cancel safety
    /// If the future is dropped, the caller must roll back.
    pub fn claim_in<'c>(
        &'c mut self,
        key: &dyn Display,
        fingerprint: Fingerprint,
        connection: &'c mut (dyn Any + Send),
    ) -> impl Future<Output = Result<TransactionClaim<'p>, Rejection>> + use<'c, 'p> {
        let pipeline = self.pipeline;
        let idempotency = pipeline.stages.idempotency.as_deref();
        let key = idempotency.map(|idempotency| idempotency.key(key));
        async move {
            let (Some(idempotency), Some(key)) = (idempotency, key) else {
                return Ok(TransactionClaim::Run(None));
            };
            self.pass_shedder()?;
            let claimed = match key {
                Ok(key) => {
                    let (asked, deadline) = ((fingerprint, pipeline.operation.name()), self.clock.deadline);
                    self.suspended(idempotency.claim_in_transaction(connection, key, asked, deadline)).await
                }
                Err(rejection) => Err(rejection),
            };
            match claimed {
                Ok(TransactionClaim::Run(lease)) => {
                    // A call that waited for another transaction can be late.
                    self.clock.read_if_timed(&pipeline.clock);
                    self.begins_in_time()?;
                    Ok(TransactionClaim::Run(lease))
                }
                Ok(replay) => Ok(replay),
                Err(rejection) => {
                    #[cfg(feature = "chaos")]
                    self.note_injected_refusal(Some(&rejection));
                    self.end_shared(Ending::Rejected);
                    Err(rejection)
                }
            }
        }
    }

    /// Stores the outcome in the transaction. A failure is not stored.
    ///
    /// # Errors
    /// Returns a rejection if the result was not stored. The caller must roll back then.
    ///
    /// # Cancel safety
    /// If the future is dropped, the caller must roll back.
    pub fn conclude_in<'c, R>(
        &'c mut self,
        lease: Option<TransactionLease<'p>>,
        codec: Codec<R>,
        outcome: &R,
        connection: &'c mut (dyn Any + Send),
    ) -> impl Future<Output = Result<(), Rejection>> + use<'c, 'p, R> {
        let effect = self.effect();
        let ended = lease.map(|lease| {
            let ending = lease.ending(effect, codec, Some(outcome));
            (lease, ending)
        });
        async move {
            let Some((lease, ending)) = ended else {
                idempotency::mark(Mark::Fresh);
                return Ok(());
            };
            let concluded = self.suspended(lease.conclude(connection, ending)).await;
            if concluded.is_err() {
                self.end_shared(Ending::Rejected);
            }
            concluded
        }
    }
}
