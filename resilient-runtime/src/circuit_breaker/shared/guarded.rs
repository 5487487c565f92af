//! Shared circuits in a named store.

use std::sync::Arc;
use std::time::Duration;

use crate::store::circuits::{CircuitStore, Report, Shared};
use crate::store::{Backend, Guard, Need, StoreError};

pub(super) fn role(backend: &dyn Backend) -> Result<&dyn CircuitStore, StoreError> {
    let address =
        || format!("the store at {} does not coordinate circuits: use another store", backend.address());
    backend.circuits().ok_or_else(|| StoreError::Refused(address()))
}

/// Only a reset must be sent: the next report repeats all other requests.
pub(super) async fn report(guard: &Guard, circuit: &str, report: Report) -> Result<Shared, StoreError> {
    let send = |backend: Arc<dyn Backend>| async move { role(&*backend)?.report(circuit, report).await };
    guard.within(Need::Optional, send).await
}

pub(super) async fn reset(guard: &Guard, circuit: &str) -> Result<(), StoreError> {
    let send = |backend: Arc<dyn Backend>| async move { role(&*backend)?.reset(circuit).await };
    guard.within(Need::Required, send).await
}

/// How long a report lasts: an instance that misses two exchanges is still known.
pub(super) fn lasting(poll: Duration) -> Duration {
    poll.saturating_mul(3)
}
