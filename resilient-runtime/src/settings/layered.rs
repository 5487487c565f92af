//! A component's config, layer upon layer: the default, the attribute's, what was said at run time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConfigError, Effective, Origin, Setting, Settings};
use crate::sync::Mutex;

/// The config of a component and the origin of each of its values. Read off the call's path only: what a
/// call needs of it, the component keeps in atomics of its own.
#[derive(Debug)]
pub(crate) struct Layered<C> {
    state: Mutex<(Arc<C>, Origins)>,
}

/// By field; default where there is none.
type Origins = BTreeMap<&'static str, Origin>;

impl<C: Settings> Layered<C> {
    /// The default, with an attribute's settings laid over it as far as they can be.
    pub(crate) fn new(settings: &[Setting]) -> (Self, ConfigError) {
        if settings.is_empty() {
            return (
                Self { state: Mutex::new((C::shared_default(), BTreeMap::new())) },
                ConfigError::default(),
            );
        }
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

    /// The config to apply, and its origins, when an attribute's settings come to a component made before.
    ///
    /// They take the place of defaults, and of what another attribute has said: the settings of one place are in
    /// force, whole. What was said at run time stays, and so do the fields that were `refused`.
    pub(crate) fn beneath(&self, settings: &[Setting], refused: &ConfigError) -> (C, Origins) {
        let state = self.state.lock();
        let mut config = (*state.0).clone();
        let mut origins = state.1.clone();
        let stays = |field: &str| refused.problems.iter().any(|problem| problem.field == field);
        origins.retain(|field, origin| {
            let goes = *origin == Origin::Attribute && !stays(field);
            if let (true, Some(value)) = (goes, C::default().get(field)) {
                // Its own default is a value that a field takes.
                let _ = config.set(field, &value);
            }
            !goes
        });
        for Setting { field, value } in settings {
            // The attribute has seen to it that the type fits.
            if !origins.contains_key(field) && !stays(field) && config.set(field, value).is_ok() {
                origins.insert(*field, Origin::Attribute);
            }
        }
        (config, origins)
    }

    /// Takes note of where the values came from.
    pub(crate) fn credit(&self, origins: Origins) {
        self.state.lock().1 = origins;
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
