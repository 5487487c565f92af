//! The stores of a registry, for the components that use them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use super::Guard;
use crate::nearest::nearest;
use crate::sync::Mutex;

/// The stores by name. The program chooses the names, so their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct NamedStores {
    all: Mutex<BTreeMap<&'static str, Arc<Guard>>>,
    /// Creates stores that are only in the settings of the environment. The registry sets it.
    finder: OnceLock<Box<dyn Finder>>,
    /// Components that must know when a store is registered.
    waiting: Mutex<Vec<Weak<dyn OnReady>>>,
}

/// Creates the store with a name, if the settings say where it is. A variable does not contain the exact name,
/// so such a store is created when a component asks for it.
pub(crate) trait Finder: std::fmt::Debug + Send + Sync {
    fn find(&self, name: &str);
}

/// A component that uses a store without a call.
pub(crate) trait OnReady: std::fmt::Debug + Send + Sync {
    /// A store was registered, or its settings have changed.
    fn store_is_ready(&self);
}

impl NamedStores {
    pub(crate) fn set_finder(&self, finder: impl Finder + 'static) {
        // Set once, when the registry is created.
        let _ = self.finder.set(Box::new(finder));
    }

    pub(super) fn add(&self, name: &'static str, guard: Arc<Guard>) {
        self.all.lock().insert(name, guard);
    }

    /// Tells the component when a store is registered, until it is dropped.
    pub(crate) fn when_ready(&self, component: Weak<dyn OnReady>) {
        self.waiting.lock().push(component);
    }

    /// A store was registered, or its settings have changed.
    pub(crate) fn are_ready(&self) {
        let all: Vec<Arc<dyn OnReady>> = {
            let mut waiting = self.waiting.lock();
            waiting.retain(|component| component.strong_count() > 0);
            waiting.iter().filter_map(Weak::upgrade).collect()
        };
        all.iter().for_each(|component| component.store_is_ready());
    }

    /// Returns the store with this name.
    ///
    /// # Errors
    /// Returns an error text with the remedy if no store with this name was registered.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Guard>, String> {
        if !self.all.lock().contains_key(name)
            && let Some(finder) = self.finder.get()
        {
            finder.find(name);
        }
        let all = self.all.lock();
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
