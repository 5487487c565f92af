//! The layers of a component's config: default, attribute, file, environment, run time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConfigError, Effective, Origin, Setting, Settings, Value};
use crate::sync::Mutex;

/// The values of each field by origin. A later origin overrides earlier ones and sorts after them.
pub(crate) type SettingLayers = BTreeMap<(&'static str, Origin), Value>;

/// The config of a component and the origin of each value. Not read on the path of a call: components copy what a
/// call needs to atomics.
#[derive(Debug)]
pub(crate) struct Layered<C> {
    state: Mutex<State<C>>,
}

#[derive(Debug)]
struct State<C> {
    config: Arc<C>,
    layers: SettingLayers,
    /// A change of the layers that is being applied to the component.
    staged: Option<Box<Staged<C>>>,
}

#[derive(Debug)]
struct Staged<C> {
    /// The config in effect when the change was composed.
    over: Arc<C>,
    config: C,
    layers: SettingLayers,
}

impl<C: Settings> Layered<C> {
    /// Composes the default, an attribute's settings and the overrides. Falls back to fewer layers if the result is
    /// invalid.
    pub(crate) fn new(settings: &[Setting], overrides: SettingLayers) -> (Self, ConfigError) {
        if settings.is_empty() && overrides.is_empty() {
            return (Self::of(C::shared_default()), ConfigError::default());
        }
        let (layers, mut error) = fitting::<C>(settings);
        // The attribute's settings were validated at compile time, and the overrides when they were read. In
        // combination they can still be invalid. In that case, use as many layers as are valid.
        let with_overrides: SettingLayers = layers.clone().into_iter().chain(overrides).collect();
        let mut refused = None;
        for layers in [with_overrides, layers, SettingLayers::new()] {
            let config = compose::<C>(&layers);
            match config.validate() {
                Ok(()) => {
                    error
                        .problems
                        .extend(refused.into_iter().flat_map(|refused: ConfigError| refused.problems));
                    return (Self::with(Arc::new(config), layers), error);
                }
                Err(problems) => _ = refused.get_or_insert(problems),
            }
        }
        (Self::of(C::shared_default()), error)
    }

    /// Creates layers from a complete config, without an attribute.
    pub(crate) fn of(config: impl Into<Arc<C>>) -> Self {
        Self::with(config.into(), SettingLayers::new())
    }

    fn with(config: Arc<C>, layers: SettingLayers) -> Self {
        Self { state: Mutex::new(State { config, layers, staged: None }) }
    }

    pub(crate) fn get(&self) -> Arc<C> {
        Arc::clone(&self.state.lock().config)
    }

    /// Replaces the config with a valid one. Changed fields get the origin `Runtime`, unless the config is a staged
    /// change of the layers.
    pub(crate) fn replace(&self, config: C) {
        let mut state = self.state.lock();
        if let Some(staged) = state.staged.take_if(|staged| staged.config == config) {
            if Arc::ptr_eq(&staged.over, &state.config) {
                (state.layers, state.config) = (staged.layers, Arc::new(config));
            } else {
                // The settings changed since the config was composed: compose it again from the new settings.
                state.staged = Some(staged);
            }
            return;
        }
        for field in C::FIELDS {
            let value = config.get(field).filter(|value| Some(value) != state.config.get(field).as_ref());
            if let Some(value) = value {
                state.layers.insert((field, Origin::Runtime), value);
            }
        }
        state.config = Arc::new(config);
    }

    /// Returns the config that a change of the layers would result in.
    pub(crate) fn preview(&self, change: impl FnOnce(&mut SettingLayers)) -> C {
        let mut layers = self.state.lock().layers.clone();
        change(&mut layers);
        compose(&layers)
    }

    /// Changes the layers through `put`, which applies a config to the component. Returns whether the config
    /// changed. Must not run on two threads at once.
    ///
    /// A change at run time during the call is not lost: the change of the layers is then composed again beneath
    /// it.
    pub(crate) fn relay(
        &self,
        change: impl Fn(&mut SettingLayers),
        put: impl Fn(C) -> Result<(), ConfigError>,
    ) -> Result<bool, ConfigError> {
        // Bounded, in case the settings change continually.
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

    /// Composes a change. Returns `None` if the config stays the same and there is nothing to apply.
    fn stage(&self, change: impl Fn(&mut SettingLayers)) -> Option<C> {
        let mut state = self.state.lock();
        let mut layers = state.layers.clone();
        change(&mut layers);
        let config = compose::<C>(&layers);
        if config == *state.config {
            state.layers = layers;
            return None;
        }
        let over = Arc::clone(&state.config);
        state.staged = Some(Box::new(Staged { over, config: config.clone(), layers }));
        Some(config)
    }

    pub(crate) fn effective(&self) -> Vec<Effective> {
        let state = self.state.lock();
        let effective = |field: &&'static str| {
            let value = state.config.get(field)?;
            let last = state.layers.range((*field, Origin::Default)..=(*field, Origin::Runtime)).next_back();
            let origin = last.map_or(Origin::Default, |((_, origin), _)| *origin);
            Some(Effective { field, value, origin })
        };
        C::FIELDS.iter().filter_map(effective).collect()
    }
}

/// Applies an attribute's settings to a component that already exists.
///
/// They override defaults and replace the settings of any other attribute as a whole. Settings at run time stay,
/// and so do the fields that were `refused`.
pub(crate) fn lay_attribute<C: Settings>(
    layers: &mut SettingLayers,
    settings: &[Setting],
    refused: &ConfigError,
) {
    let stays = |field: &str| refused.problems.iter().any(|problem| problem.field == field);
    layers.retain(|(field, origin), _| *origin != Origin::Attribute || stays(field));
    layers.extend(fitting::<C>(settings).0.into_iter().filter(|((field, _), _)| !stays(field)));
}

/// Replaces the settings from files and the environment.
pub(crate) fn lay_overrides(layers: &mut SettingLayers, overrides: &SettingLayers) {
    layers.retain(|(_, origin), _| !origin.is_override());
    layers.extend(overrides.clone());
}

/// Removes settings made at run time.
pub(crate) fn forget_runtime(layers: &mut SettingLayers) {
    layers.retain(|(_, origin), _| *origin != Origin::Runtime);
}

/// Returns the attribute's settings whose types match.
fn fitting<C: Settings>(settings: &[Setting]) -> (SettingLayers, ConfigError) {
    let (mut layers, mut error, mut config) = (SettingLayers::new(), ConfigError::default(), C::default());
    for Setting { field, value } in settings {
        match config.set(field, value) {
            Ok(()) => _ = layers.insert((*field, Origin::Attribute), value.clone()),
            Err(refused) => error.problems.extend(refused.problems),
        }
    }
    (layers, error)
}

/// Composes all layers over the default. Later origins override earlier ones.
fn compose<C: Settings>(layers: &SettingLayers) -> C {
    let mut config = C::default();
    for ((field, _), value) in layers {
        // The type was checked when the layer was created.
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
    fn a_run_time_change_while_a_file_is_applied_is_not_lost() {
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
        assert_eq!(layered.relay(|layers| lay_overrides(layers, &overrides), put), Ok(true));
        let config = layered.get();
        assert_eq!((config.max_concurrent, config.max_queue), (8, 5));
        let origins: Vec<_> = layered.effective().into_iter().take(2).map(|set| set.origin).collect();
        assert_eq!(origins, [Origin::Runtime, Origin::File]);
    }

    #[test]
    fn a_refused_change_leaves_the_layers_unchanged() {
        let (layered, _) = Layered::<Config>::new(&[], SettingLayers::new());
        let overrides = SettingLayers::from([(("max_queue", Origin::File), Value::Count(5))]);
        let refusal =
            layered.relay(|layers| lay_overrides(layers, &overrides), |_| Err(ConfigError::default()));
        assert!(refusal.is_err());
        assert!(layered.effective().iter().all(|set| set.origin == Origin::Default));
    }
}
