//! Named stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::IdempotencyStore;
use crate::sync::Mutex;

/// The named stores of a registry. The program chooses the names, so their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Stores(Mutex<BTreeMap<Arc<str>, Arc<dyn IdempotencyStore>>>);

impl Stores {
    pub(crate) fn set(&self, name: &str, store: Arc<dyn IdempotencyStore>) {
        self.0.lock().insert(name.into(), store);
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<dyn IdempotencyStore>> {
        self.0.lock().get(name).map(Arc::clone)
    }

    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.0.lock().keys().map(Arc::clone).collect()
    }
}
