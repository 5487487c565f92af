//! Settings that come from outside of the program, while it runs.

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

/// Why one setting was not changed.
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
    /// It has no such setting, or that takes no such value.
    #[error("{0}")]
    Value(String),
    /// The settings do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Registry {
    /// Puts settings from outside in force, in place of those that were so before: for components that are there, whose
    /// state, permits and windows stay, and for those still to come. All or nothing. How many components changed.
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
    /// With every component whose settings would not go together; then nothing has changed.
    pub fn apply(&self, source: &str, tables: &Tables) -> Result<usize, Vec<Contradiction>> {
        let outcome = self.configure_quietly(tables);
        match &outcome {
            Ok(changed) => {
                self.config_source(source).applied(*changed, None);
                self.tell_unused(source);
            }
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                self.config_source(source).refused(&problems.join("\n"));
            }
        }
        outcome
    }

    /// As [`apply`](Self::apply), and tells nobody.
    pub(super) fn configure_quietly(&self, tables: &Tables) -> Result<usize, Vec<Contradiction>> {
        // What annotated functions say has to go with it, too.
        self.know_sites();
        // Of two that come at once the later is in force, whole.
        let _turn = self.0.configuring.lock();
        let problems = self.contradictions(tables);
        if !problems.is_empty() {
            return Err(problems);
        }
        // First for those to come, so that none slips through between.
        *self.0.overrides.lock() = tables.clone();
        self.set_enabled_by_override(tables.enabled());
        // No code asks for an alert by its name: without this, one in a file would look at nothing, and say nothing.
        tables.named().filter(|(kind, _)| *kind == Kind::Alert).for_each(|(_, name)| drop(self.alert(name)));
        let mut changed = 0;
        for kind in Kind::all() {
            for (name, component) in self.0.shelves.of(kind).all() {
                // Validated before; a change at run time that came in between may contradict, and then stays.
                match component.lay_overrides(&tables.of(kind, name)) {
                    Ok(is_other) => changed += usize::from(is_other),
                    // Possible only together with an annotated function that has not been called yet.
                    Err(refused) => self.0.conflicts.lock().refused(kind, name, &refused.to_string()),
                }
            }
        }
        Ok(changed)
    }

    /// Every component whose settings would not go together.
    pub(super) fn contradictions(&self, tables: &Tables) -> Vec<Contradiction> {
        let mut problems = contradictory_defaults(tables);
        let defaults: BTreeMap<_, _> =
            problems.iter().map(|problem| (problem.kind, problem.error.clone())).collect();
        let mut add = |kind, name: &str, outcome: Result<(), ConfigError>| {
            // What is wrong with what all inherit is told once.
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
                    let known = self.may_come(kind, |site| site == name);
                    let goes_with = |attribute| component.check(Some(attribute), &overrides).is_ok();
                    if known.into_iter().any(goes_with) { Ok(()) } else { Err(refused) }
                });
                add(kind, name, outcome);
            }
        }
        for (kind, name) in self.still_to_come(tables) {
            let said = self.said_of(kind, &name, tables);
            let outcome = kinds::check(kind, &said).or_else(|refused| {
                let known = self.may_come(kind, |site| site == name || variable_name(site) == name);
                let goes_with = |attribute| kinds::check(kind, &beneath(attribute, &said)).is_ok();
                if known.into_iter().any(goes_with) { Ok(()) } else { Err(refused) }
            });
            add(kind, &name, outcome);
        }
        problems
    }

    /// A8: what annotated functions say of such a component that have not been called with this registry yet. In the
    /// process's registry all are known by now.
    fn may_come(&self, kind: Kind, matches: impl Fn(&str) -> bool) -> Vec<&'static [Setting]> {
        if self.is_global() { Vec::new() } else { site::candidates(kind, matches) }
    }

    /// A3: settings from outside for components that are not there so far.
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

    /// Another kind that has a component of this name.
    fn elsewhere(&self, kind: Kind, name: &str) -> Option<Kind> {
        let others = Kind::all().filter(|other| *other != kind && *other != Kind::ConfigSource);
        others.into_iter().find(|other| self.names_of(*other).iter().any(|known| known == name))
    }

    /// Says at load that settings are for nobody. Where not all who may ask are known, only what looks like a slip.
    pub(super) fn tell_unused(&self, source: &str) {
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
            tracing::warn!(target: "resilient_runtime::config", source, "and {} more settings for nobody", all - MOST);
        }
        self.config_source(source).unused(settings);
    }

    /// Names of which no component is there yet; those of the environment, which may be of any, as it writes them.
    fn still_to_come(&self, tables: &Tables) -> BTreeSet<(Kind, String)> {
        let from_file = tables.named().map(|(kind, name)| (kind, name.to_owned()));
        let from_variables = tables
            .variables()
            .filter(|(kind, name)| self.named_by(tables, *kind, name).is_empty())
            .map(|(kind, name)| (kind, name.to_owned()));
        let all = from_file.chain(from_variables);
        all.filter(|(kind, name)| self.component_stats(*kind, name).is_err()).collect()
    }

    /// The names that a variable may mean: of components, and of tables in the file.
    pub(super) fn named_by(&self, tables: &Tables, kind: Kind, variable: &str) -> BTreeSet<String> {
        let from_file = tables.named().filter(|(of, _)| *of == kind).map(|(_, name)| name.to_owned());
        let all = from_file.chain(self.names_of(kind));
        all.filter(|name| variable_name(name) == variable).collect()
    }

    /// What an attribute and the outside say of a component that is not there yet.
    fn said_of(&self, kind: Kind, name: &str, tables: &Tables) -> SettingLayers {
        let attribute = self.settings_for(kind, &std::sync::Arc::from(name), None).iter();
        let attribute = attribute
            .map(|setting| ((setting.field, crate::settings::Origin::Attribute), setting.value.clone()));
        attribute.chain(tables.of(kind, name)).collect()
    }

    /// Changes settings of one component by their names, as [`Component::reconfigure`](crate::Component::reconfigure) does.
    ///
    /// # Errors
    /// When there is no such component, no such setting, or the settings would not go together; then nothing has changed.
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
        // Two that change the same component each keep what the other has changed.
        let _turn = self.0.configuring.lock();
        Ok(self.known(kind, name)?.set(&changes)?)
    }

    /// Takes back what was changed at run time of one component: what the file, the environment and the attribute say is
    /// in force again.
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
    /// When there is no such component, or what is beneath does not go together.
    pub fn clear_overrides(&self, kind: Kind, name: &str) -> Result<(), ChangeError> {
        let component = self.known(kind, name)?;
        let _turn = self.0.configuring.lock();
        Ok(component.forget_runtime()?)
    }
}

/// Settings for a component that is not there so far.
#[derive(Debug)]
pub(super) struct Unused {
    kind: Kind,
    name: String,
    /// A name that may have been meant.
    near: Option<String>,
    /// Another kind with a component of this name.
    elsewhere: Option<Kind>,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, near, elsewhere } = self;
        write!(f, "{kind} `{name}`: these settings are for no component: there is none of this name so far")?;
        match (near, elsewhere) {
            (Some(near), _) => write!(f, "; did you mean `{near}`?"),
            (None, Some(other)) => write!(f, "; there is a {other} of this name"),
            (None, None) => Ok(()),
        }
    }
}

/// What an attribute says, below what was said.
fn beneath(attribute: &[Setting], said: &SettingLayers) -> SettingLayers {
    let own = attribute.iter().map(|setting| ((setting.field, Origin::Attribute), setting.value.clone()));
    own.chain(said.clone()).collect()
}

fn contradictory_defaults(tables: &Tables) -> Vec<Contradiction> {
    let kinds: BTreeSet<_> = tables.defaults().collect();
    let check = |kind| {
        let error = kinds::check(kind, &tables.of(kind, Tables::DEFAULT)).err()?;
        Some(Contradiction { kind, name: Tables::DEFAULT.to_owned(), error })
    };
    kinds.into_iter().filter_map(check).collect()
}
