//! Shared circuits in a named store.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::store::circuits::{CircuitStore, Listener, Report, Shared};
use crate::store::wait::{blocking, guarded};
use crate::store::{Answer, Backend, Guard, Need, StoreError, ready};

pub(super) fn role(backend: &dyn Backend) -> Result<&dyn CircuitStore, StoreError> {
    let address =
        || format!("the store at {} does not coordinate circuits: use another store", backend.address());
    backend.circuits().ok_or_else(|| StoreError::Refused(address()))
}

/// Only a reset must be sent: the next report repeats all other requests.
pub(super) async fn report(guard: &Guard, circuit: &str, report: Report) -> Result<Shared, StoreError> {
    let send = |backend: Arc<dyn Backend>| async move {
        ask(&*backend, |store| store.report(circuit, report)).await
    };
    guard.within(Need::Optional, send).await
}

pub(super) async fn reset(guard: &Guard, circuit: &str) -> Result<(), StoreError> {
    let send = |backend: Arc<dyn Backend>| async move { ask(&*backend, |store| store.reset(circuit)).await };
    guard.within(Need::Required, send).await
}

/// Asks the store. If it panics, that is an error, so that the background task continues.
async fn ask<'a, T: Send + 'a>(
    backend: &'a dyn Backend,
    ask: impl FnOnce(&'a dyn CircuitStore) -> Answer<'a, T>,
) -> Result<T, StoreError> {
    guarded(|| role(backend).map_or_else(|error| ready(Err(error)), ask)).await
}

/// Without messages of the store, changes are known after `poll`.
pub(super) fn subscribe(backend: &dyn Backend, listener: Weak<dyn Listener>) -> Result<(), StoreError> {
    let subscribe = || {
        if let Ok(store) = role(backend) {
            store.subscribe(listener);
        }
        ready(Ok(()))
    };
    blocking(guarded(subscribe))
}

/// How long a report lasts: an instance that misses two exchanges is still known.
pub(super) fn lasting(poll: Duration) -> Duration {
    poll.saturating_mul(3)
}
