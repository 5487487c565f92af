//! Faults on the store.

use std::sync::Arc;

use super::Idempotency;
use super::store::{Answer, StoreError};
use super::wait::{Guarded, Mode, guarded};
use crate::chaos::{Affected, Armed, Shared, StoreInjection, StoreNext};
use crate::component::Component;

impl Idempotency {
    /// Asks the store, after what faults do to the operation.
    #[cold]
    pub(super) fn ask_with_faults<'a, T: Send + 'a>(
        &'a self,
        mode: Mode,
        ask: impl FnOnce() -> Answer<'a, T> + Send + 'a,
    ) -> Guarded<'a, T> {
        let (clock, name) = (self.core.clock(), self.core.name);
        let injection = StoreInjection::draw(&self.faults, (Self::KIND, name));
        let next = match mode {
            Mode::Async => {
                return guarded(move || {
                    Box::pin(async move { then(injection.pass(clock, name).await, ask).await })
                });
            }
            Mode::Blocking => injection.block(clock, clock.now().after(self.core.config().store_timeout)),
        };
        guarded(move || then(next, ask))
    }
}

fn then<'a, T: Send + 'a>(next: StoreNext, ask: impl FnOnce() -> Answer<'a, T>) -> Answer<'a, T> {
    match next {
        StoreNext::Store => ask(),
        StoreNext::Fail(by) => super::store::ready(Err(StoreError::Injected(by))),
        StoreNext::Late => super::store::ready(Err(StoreError::TimedOut)),
    }
}

impl Affected for Idempotency {
    fn add_fault(&self, shared: &Arc<Shared>, armed: &Arc<Armed>) {
        self.faults.add(shared, armed);
    }

    fn update(&self) {
        // Forgets faults that are over.
        self.faults.in_force();
    }
}
