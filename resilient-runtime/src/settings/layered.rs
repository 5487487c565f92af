//! A component's config, layer upon layer: the default, the attribute's, the file's, the environment's, what was said at
//! run time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConfigError, Effective, Origin, Setting, Settings, Value};
use crate::sync::Mutex;

/// What was said about each field, and where. The later origin wins, and is the later key.
pub(crate) type SettingLayers = BTreeMap<(&'static str, Origin), Value>;

/// The config of a component and the origin of each of its values. Read off the call's path only: what a
/// call needs of it, the component keeps in atomics of its own.
#[derive(Debug)]
pub(crate) struct Layered<C> {
    state: Mutex<State<C>>,
}

#[derive(Debug)]
struct State<C> {
    config: Arc<C>,
    said: SettingLayers,
    /// A change of the layers that is on its way through the component.
    staged: Option<Box<Staged<C>>>,
}

#[derive(Debug)]
struct Staged<C> {
    /// What was in force when it was composed.
    over: Arc<C>,
    config: C,
    said: SettingLayers,
}

impl<C: Settings> Layered<C> {
    /// The default, with an attribute's settings laid over it, and those from outside over these, as far as they can be.
    pub(crate) fn new(settings: &[Setting], overrides: SettingLayers) -> (Self, ConfigError) {
        if settings.is_empty() && overrides.is_empty() {
            return (Self::of(C::shared_default()), ConfigError::default());
        }
        let (said, mut error) = fitting::<C>(settings);
        // What the attribute says was validated for itself when it was compiled; what comes from outside, when it was read.
        // Together they may still be wrong: then the outermost that can be is in force.
        let with_overrides: SettingLayers = said.clone().into_iter().chain(overrides).collect();
        let mut refused = None;
        for said in [with_overrides, said, SettingLayers::new()] {
            let config = compose::<C>(&said);
            match config.validate() {
                Ok(()) => {
                    error
                        .problems
                        .extend(refused.into_iter().flat_map(|refused: ConfigError| refused.problems));
                    return (Self::with(Arc::new(config), said), error);
                }
                Err(problems) => _ = refused.get_or_insert(problems),
            }
        }
        (Self::of(C::shared_default()), error)
    }

    /// A config that no attribute and no default gave.
    pub(crate) fn of(config: impl Into<Arc<C>>) -> Self {
        Self::with(config.into(), SettingLayers::new())
    }

    fn with(config: Arc<C>, said: SettingLayers) -> Self {
        Self { state: Mutex::new(State { config, said, staged: None }) }
    }

    pub(crate) fn get(&self) -> Arc<C> {
        Arc::clone(&self.state.lock().config)
    }

    /// Takes a valid config's place; what changed has its origin at run time, unless it is a staged change of the layers.
    pub(crate) fn replace(&self, config: C) {
        let mut state = self.state.lock();
        if let Some(staged) = state.staged.take_if(|staged| staged.config == config) {
            if Arc::ptr_eq(&staged.over, &state.config) {
                (state.said, state.config) = (staged.said, Arc::new(config));
            } else {
                // Somebody changed the settings since it was composed: it is composed anew, over those.
                state.staged = Some(staged);
            }
            return;
        }
        for field in C::FIELDS {
            let value = config.get(field).filter(|value| Some(value) != state.config.get(field).as_ref());
            if let Some(value) = value {
                state.said.insert((field, Origin::Runtime), value);
            }
        }
        state.config = Arc::new(config);
    }

    /// The config that a change of the layers would give.
    pub(crate) fn preview(&self, change: impl FnOnce(&mut SettingLayers)) -> C {
        let mut said = self.state.lock().said.clone();
        change(&mut said);
        compose(&said)
    }

    /// Changes the layers, by way of `put`, which applies a config to the component. Whether the config is another
    /// then. Not for two threads at once.
    ///
    /// A change at run time that comes in between is not lost: the change is then made once more, beneath it.
    pub(crate) fn relay(
        &self,
        change: impl Fn(&mut SettingLayers),
        put: impl Fn(C) -> Result<(), ConfigError>,
    ) -> Result<bool, ConfigError> {
        // Bounded, should somebody change the settings without end.
        for _ in 0..100 {
            let Some(config) = self.stage(&change) else { return Ok(false) };
            let outcome = put(config);
            let missed = self.state.lock().staged.take().is_some();
            outcome?;
            if !missed {
                break;
            }
        }
        Ok(true)
    }

    /// Composes a change; `None` where the config stays the same, and nothing is to be applied.
    fn stage(&self, change: impl Fn(&mut SettingLayers)) -> Option<C> {
        let mut state = self.state.lock();
        let mut said = state.said.clone();
        change(&mut said);
        let config = compose::<C>(&said);
        if config == *state.config {
            state.said = said;
            return None;
        }
        let over = Arc::clone(&state.config);
        state.staged = Some(Box::new(Staged { over, config: config.clone(), said }));
        Some(config)
    }

    pub(crate) fn effective(&self) -> Vec<Effective> {
        let state = self.state.lock();
        let effective = |field: &&'static str| {
            let value = state.config.get(field)?;
            let said = state.said.range((*field, Origin::Default)..=(*field, Origin::Runtime)).next_back();
            let origin = said.map_or(Origin::Default, |((_, origin), _)| *origin);
            Some(Effective { field, value, origin })
        };
        C::FIELDS.iter().filter_map(effective).collect()
    }
}

/// An attribute's settings come to a component made before.
///
/// They take the place of defaults, and of what another attribute has said: the settings of one place are in
/// force, whole. What was said at run time stays, and so do the fields that were `refused`.
pub(crate) fn lay_attribute<C: Settings>(
    said: &mut SettingLayers,
    settings: &[Setting],
    refused: &ConfigError,
) {
    let stays = |field: &str| refused.problems.iter().any(|problem| problem.field == field);
    said.retain(|(field, origin), _| *origin != Origin::Attribute || stays(field));
    said.extend(fitting::<C>(settings).0.into_iter().filter(|((field, _), _)| !stays(field)));
}

/// A file or the environment says something else than before.
pub(crate) fn lay_overrides(said: &mut SettingLayers, overrides: &SettingLayers) {
    said.retain(|(_, origin), _| !origin.is_override());
    said.extend(overrides.clone());
}

/// Forgets what was said at run time.
pub(crate) fn forget_runtime(said: &mut SettingLayers) {
    said.retain(|(_, origin), _| *origin != Origin::Runtime);
}

/// An attribute's settings, as far as their types fit.
fn fitting<C: Settings>(settings: &[Setting]) -> (SettingLayers, ConfigError) {
    let (mut said, mut error, mut config) = (SettingLayers::new(), ConfigError::default(), C::default());
    for Setting { field, value } in settings {
        match config.set(field, value) {
            Ok(()) => _ = said.insert((*field, Origin::Attribute), value.clone()),
            Err(refused) => error.problems.extend(refused.problems),
        }
    }
    (said, error)
}

/// All that was said, laid over the default; the later origin over the earlier one.
fn compose<C: Settings>(said: &SettingLayers) -> C {
    let mut config = C::default();
    for ((field, _), value) in said {
        // Whoever said it has seen to it that the type fits.
        let _ = config.set(field, value);
    }
    config
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::bulkhead::Config;

    #[test]
    fn a_change_at_run_time_that_comes_while_a_file_is_applied_is_not_lost() {
        // T117, T123
        let (layered, _) = Layered::<Config>::new(&[], SettingLayers::new());
        let overrides = SettingLayers::from([(("max_queue", Origin::File), Value::Count(5))]);
        let interrupted = Cell::new(false);
        let put = |config: Config| {
            if !interrupted.replace(true) {
                layered.replace(Config::default().max_concurrent(8));
            }
            layered.replace(config);
            Ok(())
        };
        assert_eq!(layered.relay(|said| lay_overrides(said, &overrides), put), Ok(true));
        let config = layered.get();
        assert_eq!((config.max_concurrent, config.max_queue), (8, 5));
        let origins: Vec<_> = layered.effective().into_iter().take(2).map(|set| set.origin).collect();
        assert_eq!(origins, [Origin::Runtime, Origin::File]);
    }

    #[test]
    fn a_change_that_is_refused_leaves_the_layers_as_they_were() {
        let (layered, _) = Layered::<Config>::new(&[], SettingLayers::new());
        let overrides = SettingLayers::from([(("max_queue", Origin::File), Value::Count(5))]);
        let refusal = layered.relay(|said| lay_overrides(said, &overrides), |_| Err(ConfigError::default()));
        assert!(refusal.is_err());
        assert!(layered.effective().iter().all(|set| set.origin == Origin::Default));
    }
}
