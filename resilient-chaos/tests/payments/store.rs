//! A store of idempotency keys that can be lost.

use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::clock::Clock;
use resilient_runtime::idempotency::{
    Answer, Claim, Claimed, IdempotencyStore, MemoryStore, Owner, StoreError,
};

use super::faults::Injector;

#[derive(Debug)]
pub(crate) struct Losable {
    store: MemoryStore,
    injector: Arc<Injector>,
}

impl Losable {
    pub(crate) fn new(clock: &Clock, injector: Arc<Injector>) -> Self {
        Self { store: MemoryStore::new(clock.clone(), 100_000), injector }
    }

    fn unless_lost<'a, T: Send + 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        if self.injector.is_store_lost() {
            return Box::pin(async { Err(StoreError::Unavailable("the store is lost".to_owned())) });
        }
        answer
    }
}

impl std::fmt::Debug for Injector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Injector").finish_non_exhaustive()
    }
}

impl IdempotencyStore for Losable {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        self.unless_lost(self.store.claim(claim))
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        self.unless_lost(self.store.renew(key, owner, lease))
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        self.unless_lost(self.store.complete(key, owner, answer, ttl))
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.unless_lost(self.store.abandon(key, owner))
    }
}
