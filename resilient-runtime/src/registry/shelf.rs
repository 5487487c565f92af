//! The components of one kind, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::component::lasting;

/// The most names of one kind; further ones share [`OVERFLOW`].
pub(super) const MOST_NAMES: usize = 16_384;
/// The component that names beyond the bound share.
pub(super) const OVERFLOW: &str = "__overflow__";

#[derive(Debug)]
pub(super) struct Shelf<T>(RwLock<BTreeMap<&'static str, Arc<T>>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Shelf<T> {
    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The one of this name, made by `make` if it is new. Never two of one name, whoever races (T120).
    pub(super) fn get_or_make(&self, name: &str, make: impl FnOnce(&'static str) -> T) -> Arc<T> {
        if let Some(found) = self.get(name) {
            return found;
        }
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let full = map.len() >= MOST_NAMES && !map.contains_key(name);
        let name = if full { OVERFLOW } else { lasting(name) };
        let overflows = full && !map.contains_key(name);
        let item = Arc::clone(map.entry(name).or_insert_with(|| Arc::new(make(name))));
        drop(map);
        // Outside the lock: who listens may read the registry (T23).
        if overflows {
            tracing::warn!(target: "resilient::registry", "more than {MOST_NAMES} names of one kind");
        }
        item
    }

    pub(super) fn all(&self) -> Vec<(&'static str, Arc<T>)> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        map.iter().map(|(name, item)| (*name, Arc::clone(item))).collect()
    }
}
