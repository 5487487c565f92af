//! A component's config, layer upon layer: the default, the attribute's, the file's, the environment's, what was said at
//! run time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConfigError, Effective, Origin, Setting, Settings, Value};
use crate::sync::Mutex;

/// What was said about each field, and where. The later origin wins, and is the later key.
pub(crate) type Said = BTreeMap<(&'static str, Origin), Value>;

/// The config of a component and the origin of each of its values. Read off the call's path only: what a
/// call needs of it, the component keeps in atomics of its own.
#[derive(Debug)]
pub(crate) struct Layered<C> {
    state: Mutex<(Arc<C>, Said)>,
}

impl<C: Settings> Layered<C> {
    /// The default, with an attribute's settings laid over it, and those from outside over these, as far as they can be.
    pub(crate) fn new(settings: &[Setting], outside: Said) -> (Self, ConfigError) {
        if settings.is_empty() && outside.is_empty() {
            return (Self::of(C::shared_default()), ConfigError::default());
        }
        let (said, mut error) = fitting::<C>(settings);
        // What the attribute says was validated for itself when it was compiled; what comes from outside, when it was read.
        // Together they may still be wrong: then the outermost that can be is in force.
        let with_outside: Said = said.clone().into_iter().chain(outside).collect();
        let mut refused = None;
        for said in [with_outside, said, Said::new()] {
            let (config, _) = compose::<C>(&said);
            match config.validate() {
                Ok(()) => {
                    error
                        .problems
                        .extend(refused.into_iter().flat_map(|refused: ConfigError| refused.problems));
                    return (Self { state: Mutex::new((Arc::new(config), said)) }, error);
                }
                Err(problems) => _ = refused.get_or_insert(problems),
            }
        }
        (Self::of(C::shared_default()), error)
    }

    /// A config that no attribute and no default gave.
    pub(crate) fn of(config: impl Into<Arc<C>>) -> Self {
        Self { state: Mutex::new((config.into(), Said::new())) }
    }

    pub(crate) fn get(&self) -> Arc<C> {
        Arc::clone(&self.state.lock().0)
    }

    /// Takes a valid config's place; what changed has its origin at run time.
    pub(crate) fn replace(&self, config: C) {
        let mut state = self.state.lock();
        for field in C::FIELDS {
            if let Some(value) = config.get(field).filter(|value| Some(value) != state.0.get(field).as_ref())
            {
                state.1.insert((field, Origin::Runtime), value);
            }
        }
        state.0 = Arc::new(config);
    }

    /// The config to apply, and what was said, when an attribute's settings come to a component made before.
    ///
    /// They take the place of defaults, and of what another attribute has said: the settings of one place are in
    /// force, whole. What was said at run time stays, and so do the fields that were `refused`.
    pub(crate) fn beneath(&self, settings: &[Setting], refused: &ConfigError) -> (C, Said) {
        let stays = |field: &str| refused.problems.iter().any(|problem| problem.field == field);
        let mut said = self.state.lock().1.clone();
        said.retain(|(field, origin), _| *origin != Origin::Attribute || stays(field));
        said.extend(fitting::<C>(settings).0.into_iter().filter(|((field, _), _)| !stays(field)));
        (compose(&said).0, said)
    }

    /// The config to apply, and what was said, when a file or the environment says something else than before.
    pub(crate) fn with_outside(&self, outside: Said) -> (C, Said) {
        let mut said = self.state.lock().1.clone();
        said.retain(|(_, origin), _| !origin.is_outside());
        said.extend(outside);
        (compose(&said).0, said)
    }

    /// Forgets what was said at run time: the config to apply, and what was said.
    pub(crate) fn without_runtime(&self) -> (C, Said) {
        let mut said = self.state.lock().1.clone();
        said.retain(|(_, origin), _| *origin != Origin::Runtime);
        (compose(&said).0, said)
    }

    /// Takes note of what was said. Where the config in force is another meanwhile, that was said at run time.
    pub(crate) fn credit(&self, said: Said) {
        let mut state = self.state.lock();
        let composed = compose::<C>(&said).0;
        state.1 = said;
        for field in C::FIELDS {
            let value = state.0.get(field).filter(|value| Some(value) != composed.get(field).as_ref());
            if let Some(value) = value {
                state.1.insert((field, Origin::Runtime), value);
            }
        }
    }

    pub(crate) fn effective(&self) -> Vec<Effective> {
        let state = self.state.lock();
        let effective = |field: &&'static str| {
            let value = state.0.get(field)?;
            let said = state.1.range((*field, Origin::Default)..=(*field, Origin::Runtime)).next_back();
            let origin = said.map_or(Origin::Default, |((_, origin), _)| *origin);
            Some(Effective { field, value, origin })
        };
        C::FIELDS.iter().filter_map(effective).collect()
    }
}

/// An attribute's settings, as far as their types fit.
fn fitting<C: Settings>(settings: &[Setting]) -> (Said, ConfigError) {
    let (mut said, mut error, mut config) = (Said::new(), ConfigError::default(), C::default());
    for Setting { field, value } in settings {
        match config.set(field, value) {
            Ok(()) => _ = said.insert((*field, Origin::Attribute), value.clone()),
            Err(refused) => error.problems.extend(refused.problems),
        }
    }
    (said, error)
}

fn compose<C: Settings>(said: &Said) -> (C, ConfigError) {
    let (mut config, mut error) = (C::default(), ConfigError::default());
    for ((field, _), value) in said {
        if let Err(refused) = config.set(field, value) {
            error.problems.extend(refused.problems);
        }
    }
    (config, error)
}
