//! A component's config, layer upon layer: the default, the attribute's, what was said at run time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConfigError, Effective, Origin, Setting, Settings};
use crate::sync::Mutex;

/// The config of a component and the origin of each of its values. Read off the call's path only: what a
/// call needs of it, the component keeps in atomics of its own.
#[derive(Debug)]
pub(crate) struct Layered<C> {
    state: Mutex<(Arc<C>, BTreeMap<&'static str, Origin>)>,
}

impl<C: Settings> Layered<C> {
    /// The default, with an attribute's settings laid over it as far as they can be.
    pub(crate) fn new(settings: &[Setting]) -> (Self, ConfigError) {
        let mut config = C::default();
        let mut origins = BTreeMap::new();
        let mut error = ConfigError::default();
        for Setting { field, value } in settings {
            match config.set(field, value) {
                Ok(()) => {
                    origins.insert(*field, Origin::Attribute);
                }
                Err(refused) => error.problems.extend(refused.problems),
            }
        }
        if let Err(refused) = config.validate() {
            error.problems.extend(refused.problems);
            (config, origins) = (C::default(), BTreeMap::new());
        }
        (Self { state: Mutex::new((Arc::new(config), origins)) }, error)
    }

    /// A config that no attribute and no default gave.
    pub(crate) fn of(config: C) -> Self {
        Self { state: Mutex::new((Arc::new(config), BTreeMap::new())) }
    }

    pub(crate) fn get(&self) -> Arc<C> {
        Arc::clone(&self.state.lock().0)
    }

    /// Takes a valid config's place; what changed has its origin at run time.
    pub(crate) fn replace(&self, config: C) {
        let mut state = self.state.lock();
        for field in C::FIELDS {
            if config.get(field) != state.0.get(field) {
                state.1.insert(field, Origin::Runtime);
            }
        }
        state.0 = Arc::new(config);
    }

    /// The settings of an attribute that came to a component made before: they take the place of defaults
    /// only. Returns the config to apply.
    pub(crate) fn beneath(&self, settings: &[Setting]) -> C {
        let state = self.state.lock();
        let mut config = (*state.0).clone();
        for Setting { field, value } in settings.iter().filter(|setting| !state.1.contains_key(setting.field))
        {
            // What is refused was reported when it was first met.
            let _ = config.set(field, value);
        }
        config
    }

    /// Says that what differs from the default in these fields was an attribute's doing.
    pub(crate) fn credit_attribute(&self, settings: &[Setting]) {
        let mut state = self.state.lock();
        let config = Arc::clone(&state.0);
        for Setting { field, value } in settings {
            if config.get(field).as_ref() == Some(value) {
                state.1.insert(field, Origin::Attribute);
            }
        }
    }

    pub(crate) fn effective(&self) -> Vec<Effective> {
        let state = self.state.lock();
        let effective = |field: &&'static str| {
            let value = state.0.get(field)?;
            Some(Effective { field, value, origin: state.1.get(field).copied().unwrap_or_default() })
        };
        C::FIELDS.iter().filter_map(effective).collect()
    }
}
