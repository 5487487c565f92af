//! The stores of a registry, for the components that use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Guard;
use crate::nearest::nearest;
use crate::sync::Mutex;

/// The stores by name. The program chooses the names, so their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct NamedStores(Mutex<BTreeMap<&'static str, Arc<Guard>>>);

impl NamedStores {
    pub(super) fn add(&self, name: &'static str, guard: Arc<Guard>) {
        self.0.lock().insert(name, guard);
    }

    /// Returns the store with this name.
    ///
    /// # Errors
    /// Returns an error text with the remedy if no store with this name was registered.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Guard>, String> {
        let all = self.0.lock();
        if let Some(found) = all.get(name).filter(|guard| guard.is_configured()) {
            return Ok(Arc::clone(found));
        }
        let known = all.iter().filter(|(_, guard)| guard.is_configured()).map(|(known, _)| *known);
        Err(match nearest(name, known) {
            Some(meant) => format!("no store is named `{name}`; did you mean `{meant}`?"),
            None => format!(
                "no store is named `{name}`: register it with `registry.use_store(\"{name}\", ..)`, or set `url` in \
                 `[store.{name}]`"
            ),
        })
    }
}
