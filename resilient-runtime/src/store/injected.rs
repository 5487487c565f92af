//! Faults on a store, with all of its roles.

use std::sync::Arc;

use super::StoreError;
use super::guard::Guard;
use crate::chaos::{Affected, Armed, Shared, StoreInjection, StoreNext};
use crate::kind::Kind;

impl Guard {
    /// Waits as long as faults delay the request. Returns the error with which they make it fail.
    #[inline]
    pub(super) async fn injected(&self) -> Option<StoreError> {
        if self.faults.is_set() { self.pass_faults().await } else { None }
    }

    #[cold]
    async fn pass_faults(&self) -> Option<StoreError> {
        let injection = StoreInjection::draw(&self.faults, (Kind::Store, self.name));
        match injection.pass(&self.environment.clock, self.name).await {
            StoreNext::Store => None,
            StoreNext::Fail(by) => Some(StoreError::Injected(by)),
            StoreNext::Late => Some(StoreError::TimedOut),
        }
    }
}

impl Affected for Guard {
    fn add_fault(&self, shared: &Arc<Shared>, armed: &Arc<Armed>) {
        self.faults.add(shared, armed);
    }

    fn update(&self) {
        // Forgets faults that are over.
        self.faults.in_force();
    }
}
