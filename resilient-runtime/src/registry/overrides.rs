//! Applies settings from outside of the program at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Registry, UnknownComponent};
use crate::component::Kind;
use crate::component::by_kind as kinds;
use crate::config::{Contradiction, Tables, variable_name};
use crate::name;
use crate::nearest::nearest;
use crate::settings::{ConfigError, Origin, Raw, Setting, SettingLayers};
use crate::site;

/// Why settings could not be changed.
///
/// ```
/// use resilient_runtime::{Kind, Registry, registry::ChangeError};
///
/// let error = Registry::new().clear_overrides(Kind::Retry, "stock").unwrap_err();
/// assert!(matches!(error, ChangeError::Unknown(_)));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no such component.
    #[error(transparent)]
    Unknown(#[from] UnknownComponent),
    /// There is no such setting, or it does not accept the value.
    #[error("{0}")]
    Value(String),
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Registry {
    /// Applies external settings, and replaces those applied before.
    ///
    /// External settings come from outside of the program, such as a file or the environment. They apply to
    /// existing components, whose state, permits and windows are preserved, and to components created later. Either
    /// all settings are applied or none. Returns the number of components that changed.
    ///
    /// ```
    /// use resilient_runtime::{Component, Kind, Registry, config::Tables, settings::Raw};
    ///
    /// let registry = Registry::new();
    /// let retry = registry.retry("stock");
    /// let mut tables = Tables::default();
    /// tables.set(Kind::Retry, None, "max", &Raw::Integer(1)).unwrap();
    /// assert_eq!(registry.apply("mine", &tables), Ok(1));
    /// assert_eq!(retry.config().max, 1);
    /// ```
    ///
    /// # Errors
    /// Returns every component whose settings contradict each other. In that case nothing changes.
    pub fn apply(&self, source: &str, tables: &Tables) -> Result<usize, Vec<Contradiction>> {
        let outcome = self.configure_quietly(tables);
        match &outcome {
            Ok(changed) => {
                self.config_source(source).applied(*changed, None);
                self.report_unused(source);
            }
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                self.config_source(source).refused(&problems.join("\n"));
            }
        }
        outcome
    }

    /// Does the same as [`apply`](Self::apply), but publishes no events.
    pub(super) fn configure_quietly(&self, tables: &Tables) -> Result<usize, Vec<Contradiction>> {
        // The settings must be compatible with the settings of annotated functions.
        self.build_sites();
        // If two calls are concurrent, the later one takes effect as a whole.
        let _turn = self.0.configuring.lock();
        let problems = self.contradictions(tables);
        if !problems.is_empty() {
            return Err(problems);
        }
        // Set them for future components first, so that no component created in between misses them.
        *self.0.overrides.lock() = tables.clone();
        self.set_enabled_by_override(tables.enabled());
        // No code asks for an alert or a store by name. Without this, those in a file would never be created.
        for (kind, name) in tables.named() {
            match kind {
                Kind::Alert => drop(self.alert(name)),
                Kind::Store => drop(self.store(name)),
                _ => {}
            }
        }
        // Components of annotated functions can be older than their store.
        self.0.stores.are_ready();
        let mut changed = 0;
        for kind in Kind::all() {
            for (name, component) in self.0.shelves.of(kind).all() {
                // The settings were validated above. If they contradict a change made at run time since, that
                // change stays.
                match component.lay_overrides(&tables.of(kind, name)) {
                    Ok(is_other) => changed += usize::from(is_other),
                    // Possible only in combination with an annotated function that has not been called yet.
                    Err(refused) => self.0.conflicts.lock().refused(kind, name, &refused.to_string()),
                }
            }
        }
        Ok(changed)
    }

    /// Returns every component whose settings contradict each other.
    pub(super) fn contradictions(&self, tables: &Tables) -> Vec<Contradiction> {
        let mut problems = contradictory_defaults(tables);
        let defaults: BTreeMap<_, _> =
            problems.iter().map(|problem| (problem.kind, problem.error.clone())).collect();
        let mut add = |kind, name: &str, outcome: Result<(), ConfigError>| {
            // Report problems with inherited settings only once.
            let error = match (outcome, defaults.get(&kind)) {
                (Ok(()), _) => return,
                (Err(error), Some(inherited)) => error.without(inherited),
                (Err(error), None) => error,
            };
            if !error.problems().is_empty() {
                problems.push(Contradiction { kind, name: name.to_owned(), error });
            }
        };
        for kind in Kind::all() {
            for (name, component) in self.0.shelves.of(kind).all() {
                let overrides = tables.of(kind, name);
                let outcome = component.check(None, &overrides).or_else(|refused| {
                    let known = self.uncalled_settings(kind, |site| site == name);
                    let goes_with = |attribute| component.check(Some(attribute), &overrides).is_ok();
                    if known.into_iter().any(goes_with) { Ok(()) } else { Err(refused) }
                });
                add(kind, name, outcome);
            }
        }
        for (kind, name) in self.not_created(tables) {
            let layers = self.layers_of(kind, &name, tables);
            let outcome = kinds::check(kind, &layers).or_else(|refused| {
                let known = self.uncalled_settings(kind, |site| site == name || variable_name(site) == name);
                let goes_with = |attribute| kinds::check(kind, &beneath(attribute, &layers)).is_ok();
                if known.into_iter().any(goes_with) { Ok(()) } else { Err(refused) }
            });
            add(kind, &name, outcome);
        }
        problems
    }

    /// Returns the settings for such a component in annotated functions that have not been called with this
    /// registry yet. For the global registry all of them are already known.
    fn uncalled_settings(&self, kind: Kind, matches: impl Fn(&str) -> bool) -> Vec<&'static [Setting]> {
        if self.is_global() { Vec::new() } else { site::candidates(kind, matches) }
    }

    /// Returns external settings for components that do not exist yet.
    pub(super) fn unused_settings(&self) -> Vec<Unused> {
        let tables = self.0.overrides.lock().clone();
        let known = |kind| {
            let mut names: BTreeSet<String> = self.names_of(kind).into_iter().collect();
            if !self.is_global() {
                names.extend(site::named(kind).into_iter().map(|(name, _)| name));
            }
            names
        };
        let mut unused = Vec::new();
        for (kind, name) in tables.named() {
            let known = known(kind);
            if !known.contains(&*name::normal(name)) {
                let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
                unused.push(Unused {
                    kind,
                    name: name.to_owned(),
                    near,
                    elsewhere: self.elsewhere(kind, name),
                });
            }
        }
        for (kind, name) in tables.variables() {
            let known: BTreeSet<_> = known(kind).iter().map(|name| variable_name(name)).collect();
            let in_file = tables.named().any(|(of, named)| of == kind && variable_name(named) == name);
            if !known.contains(name) && !in_file {
                let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
                unused.push(Unused { kind, name: name.to_owned(), near, elsewhere: None });
            }
        }
        unused
    }

    /// Returns another kind that has a component with this name.
    fn elsewhere(&self, kind: Kind, name: &str) -> Option<Kind> {
        let others = Kind::all().filter(|other| *other != kind && *other != Kind::ConfigSource);
        others.into_iter().find(|other| self.names_of(*other).iter().any(|known| known == name))
    }

    /// Reports unused settings at load. If not all future components are known, reports only likely misspellings.
    pub(super) fn report_unused(&self, source: &str) {
        const MOST: usize = 20;
        let knows_all = self.is_global() && cfg!(feature = "inventory");
        let mut unused = self.unused_settings();
        unused.retain(|unused| knows_all || unused.near.is_some());
        if unused.is_empty() {
            return;
        }
        let (all, settings) =
            (unused.len(), unused.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>());
        for what in &settings {
            tracing::warn!(target: "resilient_runtime::config", source, "{what}");
        }
        if all > MOST {
            tracing::warn!(target: "resilient_runtime::config", source, "and {} more unused settings", all - MOST);
        }
        self.config_source(source).unused(settings);
    }

    /// Returns names without a component. Names from the environment are included as written, because the exact
    /// name is unknown.
    fn not_created(&self, tables: &Tables) -> BTreeSet<(Kind, String)> {
        let from_file = tables.named().map(|(kind, name)| (kind, name.to_owned()));
        let from_variables = tables
            .variables()
            .filter(|(kind, name)| self.named_by(tables, *kind, name).is_empty())
            .map(|(kind, name)| (kind, name.to_owned()));
        let all = from_file.chain(from_variables);
        all.filter(|(kind, name)| self.component_stats(*kind, name).is_err()).collect()
    }

    /// Returns the components and tables of the file that a variable can refer to.
    pub(super) fn named_by(&self, tables: &Tables, kind: Kind, variable: &str) -> BTreeSet<String> {
        let from_file = tables.named().filter(|(of, _)| *of == kind).map(|(_, name)| name.to_owned());
        let all = from_file.chain(self.names_of(kind));
        all.filter(|name| variable_name(name) == variable).collect()
    }

    /// Returns the settings in the attribute and the external settings of a component that does not exist yet.
    fn layers_of(&self, kind: Kind, name: &str, tables: &Tables) -> SettingLayers {
        let attribute = self.settings_for(kind, &std::sync::Arc::from(name), None).iter();
        let attribute = attribute
            .map(|setting| ((setting.field, crate::settings::Origin::Attribute), setting.value.clone()));
        attribute.chain(tables.of(kind, name)).collect()
    }

    /// Changes settings of a component by name.
    ///
    /// It has the same effect as [`Component::reconfigure`](crate::Component::reconfigure).
    ///
    /// # Errors
    /// Returns an error if there is no such component or setting, if a value is not accepted, or if the settings
    /// contradict each other. In that case nothing changes.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry, settings::Raw};
    /// let registry = Registry::new();
    /// registry.bulkhead("gateway");
    /// let change = [("max_concurrent".to_owned(), Raw::Integer(8))];
    /// registry.set_overrides(Kind::Bulkhead, "gateway", &change).unwrap();
    /// assert_eq!(registry.stats().bulkhead["gateway"].limit, 8);
    /// ```
    pub fn set_overrides(
        &self,
        kind: Kind,
        name: &str,
        changes: &[(String, Raw)],
    ) -> Result<(), ChangeError> {
        let read =
            changes.iter().map(|(field, raw)| kinds::read(kind, field, raw).map_err(ChangeError::Value));
        let changes = read.collect::<Result<Vec<_>, _>>()?;
        // Concurrent changes of one component must preserve each other.
        let _turn = self.0.configuring.lock();
        Ok(self.known(kind, name)?.set(&changes)?)
    }

    /// Reverts changes that were made to a component at run time.
    ///
    /// The settings of the file, the environment and the attribute apply again.
    ///
    /// ```
    /// use resilient_runtime::{Component, Kind, Registry, retry::Config};
    ///
    /// let registry = Registry::new();
    /// let retry = registry.retry("stock");
    /// retry.reconfigure(Config::default().max(9)).unwrap();
    /// registry.clear_overrides(Kind::Retry, "stock").unwrap();
    /// assert_eq!(retry.config().max, 3);
    /// ```
    ///
    /// # Errors
    /// Returns an error if there is no such component, or if the remaining settings contradict each other.
    pub fn clear_overrides(&self, kind: Kind, name: &str) -> Result<(), ChangeError> {
        let component = self.known(kind, name)?;
        let _turn = self.0.configuring.lock();
        Ok(component.forget_runtime()?)
    }
}

/// Settings for a component that does not exist yet.
#[derive(Debug)]
pub(super) struct Unused {
    kind: Kind,
    name: String,
    /// A similar name that exists.
    near: Option<String>,
    /// Another kind that has a component with this name.
    elsewhere: Option<Kind>,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, near, elsewhere } = self;
        write!(f, "{kind} `{name}`: unused settings: there is no component with this name yet")?;
        match (near, elsewhere) {
            (Some(near), _) => write!(f, "; did you mean `{near}`?"),
            (None, Some(other)) => write!(f, "; there is a {other} with this name"),
            (None, None) => Ok(()),
        }
    }
}

/// Puts attribute settings beneath other layers.
fn beneath(attribute: &[Setting], layers: &SettingLayers) -> SettingLayers {
    let own = attribute.iter().map(|setting| ((setting.field, Origin::Attribute), setting.value.clone()));
    own.chain(layers.clone()).collect()
}

fn contradictory_defaults(tables: &Tables) -> Vec<Contradiction> {
    let kinds: BTreeSet<_> = tables.defaults().collect();
    let check = |kind| {
        let error = kinds::check(kind, &tables.of(kind, Tables::DEFAULT)).err()?;
        Some(Contradiction { kind, name: Tables::DEFAULT.to_owned(), error })
    };
    kinds.into_iter().filter_map(check).collect()
}
