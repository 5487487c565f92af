//! What a file and the environment say, by kind, name and field.

use std::collections::BTreeMap;

use crate::component::Kind;
use crate::component::by_kind as kinds;
use crate::settings::{Origin, Raw, SettingLayers, Value};

/// By field.
type Fields = BTreeMap<&'static str, Value>;

/// Settings from outside of the program: for all components of a kind, and for those of a name.
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
    /// Whether protection is on at all: the file's word, and that of the environment.
    enabled: [Option<bool>; 2],
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Table {
    default: Fields,
    /// In the environment, by the name as it is written there.
    named: BTreeMap<String, Fields>,
}

impl Tables {
    /// The name of the table that all of a kind inherit from.
    pub(crate) const DEFAULT: &str = "default";

    /// Says what a field of a component is, or, without a name, of all components of the kind that say nothing themselves.
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
    /// When the kind has no such setting, or it takes no such value; says what would do.
    pub fn set(&mut self, kind: Kind, name: Option<&str>, field: &str, raw: &Raw) -> Result<(), String> {
        let (field, value) = kinds::read(kind, field, raw)?;
        self.file.entry(kind).or_default().fields(name).insert(field, value);
        Ok(())
    }

    /// Says whether the protection of the registry is on at all, as [`Registry::set_enabled`](crate::Registry::set_enabled)
    /// does.
    ///
    /// ```
    /// use resilient_runtime::{Registry, config::Tables};
    ///
    /// let (registry, mut tables) = (Registry::new(), Tables::default());
    /// tables.set_enabled(false);
    /// registry.apply("mine", &tables).unwrap();
    /// assert!(!registry.is_enabled());
    /// registry.apply("mine", &Tables::default()).unwrap();
    /// assert!(registry.is_enabled(), "nobody says so any more");
    /// ```
    pub fn set_enabled(&mut self, enabled: bool) {
        self.enabled[0] = Some(enabled);
    }

    /// As [`set_enabled`](Self::set_enabled), above the file.
    #[cfg(feature = "config-file")]
    pub(super) fn set_enabled_by_environment(&mut self, enabled: bool) {
        self.enabled[1] = Some(enabled);
    }

    pub(crate) fn enabled(&self) -> Option<bool> {
        self.enabled[1].or(self.enabled[0])
    }

    /// As [`set`](Self::set), above the file; the name as [`variable_name`] writes it.
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

    /// What is said of a component, with where it was said.
    pub(crate) fn of(&self, kind: Kind, name: &str) -> SettingLayers {
        let mut said = SettingLayers::new();
        let mut add = |fields: Option<&Fields>, origin| {
            let fields = fields.into_iter().flatten();
            said.extend(fields.map(|(field, value)| ((*field, origin), value.clone())));
        };
        if let Some(table) = self.file.get(&kind) {
            add(Some(&table.default), Origin::FileDefault);
            add(table.named.get(name), Origin::File);
        }
        if let Some(table) = self.environment.get(&kind) {
            add(Some(&table.default), Origin::Environment);
            add(table.named.get(&variable_name(name)), Origin::Environment);
        }
        said
    }

    /// The kinds that have settings for all of their components.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = Kind> {
        let said = |(kind, table): (&Kind, &Table)| (!table.default.is_empty()).then_some(*kind);
        self.file.iter().chain(&self.environment).filter_map(said)
    }

    /// The names that a file gives settings to.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Kind, &str)> {
        names(&self.file)
    }

    /// The names that the environment gives settings to, as it writes them.
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

/// A component's name as the environment writes it: in capitals, with `_` for whatever is no letter or digit.
pub(crate) fn variable_name(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}
