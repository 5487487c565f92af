//! Idempotency records in a named store.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::store::idempotency::{Claim, Claimed, IdempotencyStore, Owner};
use crate::store::{Answer, Backend, Guard, Need, StoreError, TransactionalStore};

fn role(backend: &dyn Backend) -> Result<&dyn IdempotencyStore, StoreError> {
    let address =
        || format!("the store at {} keeps no idempotency records: use another store", backend.address());
    backend.idempotency().ok_or_else(|| StoreError::Refused(address()))
}

/// Only a claim can be left out. The other requests end a claim that the store has acknowledged.
impl IdempotencyStore for Guard {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        let send = |backend: Arc<dyn Backend>| async move { role(&*backend)?.claim(claim).await };
        Box::pin(self.request(Need::Optional, send))
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        let send =
            move |backend: Arc<dyn Backend>| async move { role(&*backend)?.renew(key, owner, lease).await };
        Box::pin(self.request(Need::Required, send))
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        let send = move |backend: Arc<dyn Backend>| async move {
            role(&*backend)?.complete(key, owner, answer, ttl).await
        };
        Box::pin(self.request(Need::Required, send))
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        let send = move |backend: Arc<dyn Backend>| async move { role(&*backend)?.abandon(key, owner).await };
        Box::pin(self.request(Need::Required, send))
    }

    fn lose<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        let send = move |backend: Arc<dyn Backend>| async move { role(&*backend)?.lose(key, owner).await };
        Box::pin(self.request(Need::Required, send))
    }

    fn transactional(&self) -> Option<&dyn TransactionalStore> {
        let backend = self.backend().ok()?;
        backend.idempotency()?.transactional()?;
        Some(self)
    }
}

/// The connection is the caller's, so the limits of the store do not apply.
impl TransactionalStore for Guard {
    fn claim_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: Claim,
        max_wait: Duration,
    ) -> Answer<'a, Claimed> {
        Box::pin(
            async move { in_transaction(&*self.backend()?)?.claim_in(connection, claim, max_wait).await },
        )
    }

    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            in_transaction(&*self.backend()?)?.complete_in(connection, key, owner, answer, ttl).await
        })
    }
}

fn in_transaction(backend: &dyn Backend) -> Result<&dyn TransactionalStore, StoreError> {
    let address =
        || format!("the store at {} cannot join a transaction: use another store", backend.address());
    role(backend)?.transactional().ok_or_else(|| StoreError::Refused(address()))
}
