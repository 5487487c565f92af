//! Settings by name: how the attribute, and later a file or a request, speak to a component's config.
//!
//! A config is a plain struct, defined by `settings!` together with the table of its fields, by which each
//! can be read, set and traced to where its value came from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::ratio::Ratio;
use crate::sync::Mutex;

/// The value of one setting.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Not set.
    Unset,
    /// A span of time.
    Duration(Duration),
    /// A whole number.
    Count(u64),
    /// A share.
    Ratio(f64),
    /// A number that is neither a count nor a share.
    Number(f64),
    /// A name.
    Text(Cow<'static, str>),
    /// On or off.
    Flag(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("-"),
            Self::Duration(span) => write!(f, "{span:?}"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Ratio(share) => match Ratio::new(*share) {
                Some(ratio) => write!(f, "{ratio}"),
                None => write!(f, "{share}"),
            },
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unset => serializer.serialize_none(),
            Self::Duration(_) => serializer.collect_str(self),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Ratio(number) | Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
        }
    }
}

/// One setting by name, as an attribute writes it down.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The field of the config.
    pub field: &'static str,
    /// Its value.
    pub value: Value,
}

/// Where the effective value of a setting came from; later ones win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// The library's default.
    #[default]
    Default,
    /// An attribute's inline setting.
    Attribute,
    /// A call of `reconfigure` at run time.
    Runtime,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Attribute => "attribute",
            Self::Runtime => "run-time",
        })
    }
}

/// One effective setting of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effective {
    /// The field of the config.
    pub field: &'static str,
    /// Its value.
    pub value: Value,
    /// Where that came from.
    pub origin: Origin,
}

/// One setting that cannot be.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The field of the config.
    pub field: &'static str,
    /// The refused value.
    pub value: Value,
    /// What would be accepted.
    pub allowed: Cow<'static, str>,
}

/// A refused configuration: all that is wrong with it. Nothing of it has been applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// What is wrong, in the order of the fields.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Adds a problem unless `holds`.
    #[allow(clippy::needless_pass_by_value)] // every caller reads better without an `&`
    pub(crate) fn require(
        &mut self,
        holds: bool,
        field: &'static str,
        value: impl Parameter,
        allowed: impl Into<Cow<'static, str>>,
    ) {
        if !holds {
            self.problems.push(Problem { field, value: value.to_value(), allowed: allowed.into() });
        }
    }

    /// All well, or this error.
    pub(crate) fn finish(self) -> Result<(), Self> {
        if self.problems.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let Problem { field, value, allowed } = problem;
            write!(f, "{separator}`{field}` = {value} is refused: {allowed}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A type that can be a setting.
pub(crate) trait Parameter: Sized {
    fn from_value(value: &Value) -> Option<Self>;
    fn to_value(&self) -> Value;
    /// What [`from_value`](Self::from_value) takes, for the error.
    fn expected() -> Cow<'static, str>;
}

impl Parameter for Duration {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Duration(span) = value { Some(*span) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Duration(*self)
    }
    fn expected() -> Cow<'static, str> {
        "a duration with a unit, such as 250ms or 1m30s".into()
    }
}

impl Parameter for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Count(count) = value { (*count).try_into().ok() } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Count(u64::from(*self))
    }
    fn expected() -> Cow<'static, str> {
        "a whole number from 0 to 4294967295".into()
    }
}

impl Parameter for Ratio {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Ratio(share) => Self::new(*share),
            Value::Count(count) if *count <= 1 => Self::new(*count as f64),
            _ => None,
        }
    }
    fn to_value(&self) -> Value {
        Value::Ratio(self.get())
    }
    fn expected() -> Cow<'static, str> {
        "a share from 0 to 1".into()
    }
}

impl Parameter for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) | Value::Ratio(number) if number.is_finite() => Some(*number),
            Value::Count(count) => Some(*count as Self),
            _ => None,
        }
    }
    fn to_value(&self) -> Value {
        Value::Number(*self)
    }
    fn expected() -> Cow<'static, str> {
        "a number".into()
    }
}

impl Parameter for bool {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Flag(flag) = value { Some(*flag) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Flag(*self)
    }
    fn expected() -> Cow<'static, str> {
        "true or false".into()
    }
}

impl Parameter for Arc<str> {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(Self::from(text.as_ref())) } else { None }
    }
    fn to_value(&self) -> Value {
        Value::Text(Cow::Owned(self.to_string()))
    }
    fn expected() -> Cow<'static, str> {
        "a name".into()
    }
}

impl<T: Parameter> Parameter for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Unset { Some(None) } else { T::from_value(value).map(Some) }
    }
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Unset, T::to_value)
    }
    fn expected() -> Cow<'static, str> {
        T::expected()
    }
}

/// A config whose fields can be reached by name.
pub trait Settings: Clone + Default + PartialEq + Send + Sync + 'static {
    /// The names of the fields, in the order of the documentation.
    const FIELDS: &'static [&'static str];

    /// The value of a field; `None` where there is no such field.
    fn get(&self, field: &str) -> Option<Value>;

    /// Sets a field by name.
    ///
    /// # Errors
    /// When there is no such field, or it does not take such a value. Ranges are checked by
    /// [`validate`](Self::validate).
    fn set(&mut self, field: &'static str, value: &Value) -> Result<(), ConfigError>;

    /// Whether the config can be: reports every problem, not the first.
    ///
    /// # Errors
    /// With the field, the value and the allowed range of each problem.
    fn validate(&self) -> Result<(), ConfigError>;
}

/// Defines a component's `Config`: its fields with their types, defaults and documentation, one setter each,
/// and the table by which they are reached by name. It still needs an inherent
/// `fn check(&self, error: &mut ConfigError)` for the ranges.
macro_rules! settings {
    (
        $(#[$about:meta])*
        pub struct $config:ident {
            $($(#[$doc:meta])* pub $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $config {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Default for $config {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $config {
            $(
                $(#[$doc])*
                pub fn $field(mut self, $field: impl Into<$type>) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }

        impl $crate::settings::Settings for $config {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn get(&self, field: &str) -> Option<$crate::settings::Value> {
                match field {
                    $(stringify!($field) => Some($crate::settings::Parameter::to_value(&self.$field)),)*
                    _ => None,
                }
            }

            fn set(
                &mut self,
                field: &'static str,
                value: &$crate::settings::Value,
            ) -> Result<(), $crate::settings::ConfigError> {
                match field {
                    $(stringify!($field) => $crate::settings::assign(&mut self.$field, field, value),)*
                    _ => Err($crate::settings::unknown(field, value, Self::FIELDS)),
                }
            }

            fn validate(&self) -> Result<(), $crate::settings::ConfigError> {
                let mut error = $crate::settings::ConfigError::default();
                self.check(&mut error);
                error.finish()
            }
        }
    };
}
pub(crate) use settings;

pub(crate) fn assign<T: Parameter>(
    place: &mut T,
    field: &'static str,
    value: &Value,
) -> Result<(), ConfigError> {
    if let Some(parsed) = T::from_value(value) {
        *place = parsed;
        return Ok(());
    }
    let problem = Problem { field, value: value.clone(), allowed: T::expected() };
    Err(ConfigError { problems: vec![problem] })
}

pub(crate) fn unknown(field: &'static str, value: &Value, known: &[&str]) -> ConfigError {
    let allowed = match crate::nearest::nearest(field, known.iter().copied()) {
        Some(name) => format!("there is no such setting; did you mean `{name}`?"),
        None => format!("there is no such setting; known: {}", known.join(", ")),
    };
    ConfigError { problems: vec![Problem { field, value: value.clone(), allowed: allowed.into() }] }
}

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
