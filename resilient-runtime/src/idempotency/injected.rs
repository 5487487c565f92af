//! Faults on the store.

use std::sync::Arc;

use super::Idempotency;
use crate::chaos::{Affected, Armed, Shared, StoreInjection, StoreNext};
use crate::component::Component;
use crate::store::wait::{Guarded, Mode, guarded};
use crate::store::{Answer, StoreError};

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
            Mode::Blocking => {
                injection.block(clock, clock.now().after(self.store_timeout(&self.core.config())))
            }
        };
        guarded(move || then(next, ask))
    }
}

fn then<'a, T: Send + 'a>(next: StoreNext, ask: impl FnOnce() -> Answer<'a, T>) -> Answer<'a, T> {
    match next {
        StoreNext::Store => ask(),
        StoreNext::Fail(by) => crate::store::ready(Err(StoreError::Injected(by))),
        StoreNext::Late => crate::store::ready(Err(StoreError::TimedOut)),
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
