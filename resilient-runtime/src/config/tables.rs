//! Settings from a file and the environment, by kind, name and field.

use std::collections::BTreeMap;

use crate::component::Kind;
use crate::component::by_kind as kinds;
use crate::settings::{Origin, Raw, SettingLayers, Value};

/// Values by field.
type Fields = BTreeMap<&'static str, Value>;

/// External settings, for all components of a kind or for single components.
///
/// ```
/// use resilient_runtime::{Kind, Registry, config::Tables, settings::Raw};
///
/// let mut tables = Tables::default();
/// tables.set(Kind::Bulkhead, Some("gateway"), "max_concurrent", &Raw::Integer(8)).unwrap();
/// let registry = Registry::new();
/// registry.apply("mine", &tables).unwrap();
/// assert_eq!(registry.bulkhead("gateway").stats().limit, 8);
/// # use resilient_runtime::Component;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    file: BTreeMap<Kind, Table>,
    environment: BTreeMap<Kind, Table>,
    /// Whether protection is on: the value from the file, and the value from the environment.
    enabled: [Option<bool>; 2],
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Table {
    default: Fields,
    /// Environment tables use the name as written in the variable.
    named: BTreeMap<String, Fields>,
}

impl Tables {
    /// The name of the table with the defaults of a kind.
    pub(crate) const DEFAULT: &str = "default";

    /// Sets a field of a component.
    ///
    /// Without a name, sets the default for all components of the kind.
    ///
    /// ```
    /// use resilient_runtime::{Kind, config::Tables, settings::Raw};
    ///
    /// let mut tables = Tables::default();
    /// tables.set(Kind::Hedge, None, "max", &Raw::Integer(2)).unwrap();
    /// let error = tables.set(Kind::Hedge, None, "maxx", &Raw::Integer(2)).unwrap_err();
    /// assert!(error.contains("did you mean `max`?"), "{error}");
    /// ```
    ///
    /// # Errors
    /// Returns an error text with the remedy if the kind has no such setting, or if the setting does not accept the
    /// value.
    pub fn set(&mut self, kind: Kind, name: Option<&str>, field: &str, raw: &Raw) -> Result<(), String> {
        let (field, value) = kinds::read(kind, field, raw)?;
        self.file.entry(kind).or_default().fields(name).insert(field, value);
        Ok(())
    }

    /// Turns the protection of the registry on or off.
    ///
    /// See [`Registry::set_enabled`](crate::Registry::set_enabled).
    ///
    /// ```
    /// use resilient_runtime::{Registry, config::Tables};
    ///
    /// let (registry, mut tables) = (Registry::new(), Tables::default());
    /// tables.set_enabled(false);
    /// registry.apply("mine", &tables).unwrap();
    /// assert!(!registry.is_enabled());
    /// registry.apply("mine", &Tables::default()).unwrap();
    /// assert!(registry.is_enabled(), "the value is no longer set");
    /// ```
    pub fn set_enabled(&mut self, enabled: bool) {
        self.enabled[0] = Some(enabled);
    }

    /// Like [`set_enabled`](Self::set_enabled), but overrides the file.
    #[cfg(feature = "config-file")]
    pub(super) fn set_enabled_by_environment(&mut self, enabled: bool) {
        self.enabled[1] = Some(enabled);
    }

    pub(crate) fn enabled(&self) -> Option<bool> {
        self.enabled[1].or(self.enabled[0])
    }

    /// Like [`set`](Self::set), but overrides the file. `name` must be in the format of [`variable_name`].
    #[cfg(feature = "config-file")]
    pub(super) fn set_environment(
        &mut self,
        kind: Kind,
        name: Option<&str>,
        field: &str,
        raw: &Raw,
    ) -> Result<(), String> {
        let (field, value) = kinds::read(kind, field, raw)?;
        self.environment.entry(kind).or_default().fields(name).insert(field, value);
        Ok(())
    }

    /// Returns the settings of a component, with their origins.
    pub(crate) fn of(&self, kind: Kind, name: &str) -> SettingLayers {
        let mut layers = SettingLayers::new();
        let mut add = |fields: Option<&Fields>, origin| {
            let fields = fields.into_iter().flatten();
            layers.extend(fields.map(|(field, value)| ((*field, origin), value.clone())));
        };
        if let Some(table) = self.file.get(&kind) {
            add(Some(&table.default), Origin::FileDefault);
            add(table.named.get(name), Origin::File);
        }
        if let Some(table) = self.environment.get(&kind) {
            add(Some(&table.default), Origin::Environment);
            add(table.named.get(&variable_name(name)), Origin::Environment);
        }
        layers
    }

    /// Returns the kinds with defaults.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = Kind> {
        let with_defaults = |(kind, table): (&Kind, &Table)| (!table.default.is_empty()).then_some(*kind);
        self.file.iter().chain(&self.environment).filter_map(with_defaults)
    }

    /// Returns the components with settings in the file.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Kind, &str)> {
        names(&self.file)
    }

    /// Returns the components with settings in the environment, with names as written in the variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (Kind, &str)> {
        names(&self.environment)
    }
}

fn names(tables: &BTreeMap<Kind, Table>) -> impl Iterator<Item = (Kind, &str)> {
    tables.iter().flat_map(|(kind, table)| table.named.keys().map(|name| (*kind, name.as_str())))
}

impl Table {
    fn fields(&mut self, name: Option<&str>) -> &mut Fields {
        match name {
            None => &mut self.default,
            Some(name) => self.named.entry(name.to_owned()).or_default(),
        }
    }
}

/// Returns a component's name as written in a variable: in capitals, with `_` for every character that is not an
/// ASCII letter or digit.
pub(crate) fn variable_name(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}
