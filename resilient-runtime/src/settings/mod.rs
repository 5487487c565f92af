//! Component settings that are accessible by name.
//!
//! A config is a plain struct defined by `settings!`, together with the table of its fields. Through the table, the
//! attribute, files, the environment and requests can read and set each field, and its origin is tracked.

mod error;
mod into;
mod layered;
mod parameter;
mod raw;
mod secret;
mod text;
mod words;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

pub use error::{ConfigError, SettingProblem};
pub use into::IntoSetting;
pub(crate) use layered::{Layered, SettingLayers, forget_runtime, lay_attribute, lay_overrides};
pub(crate) use parameter::Parameter;
pub use raw::Raw;
pub(crate) use raw::read;
pub use secret::Secret;
pub(crate) use text::{duration_text, parse_duration};
pub(crate) use words::words;

use crate::ratio::Ratio;

/// The value of one setting.
///
/// ```
/// use resilient_runtime::{bulkhead::Config, settings::{Settings, Value}};
///
/// let config = Config::default();
/// assert_eq!(config.get("max_concurrent"), Some(Value::Count(64)));
/// assert_eq!(config.get("max_wait"), Some(Value::Unset));
/// assert_eq!(Value::Ratio(0.25).to_string(), "25 %");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Not set.
    Unset,
    /// A duration.
    Duration(Duration),
    /// A whole number.
    Count(u64),
    /// A number from 0 to 1.
    Ratio(f64),
    /// A number that is not a count or a ratio.
    Number(f64),
    /// A name or another word.
    Text(Cow<'static, str>),
    /// A text whose secret parts are not shown.
    Secret(Secret),
    /// True or false.
    Flag(bool),
}

impl From<resilient_options::Value> for Value {
    fn from(value: resilient_options::Value) -> Self {
        use resilient_options::Value as Row;
        match value {
            Row::Unset => Self::Unset,
            Row::Duration(nanos) => Self::Duration(Duration::from_nanos(nanos)),
            Row::Count(count) => Self::Count(count),
            Row::Ratio(share) => Self::Ratio(share),
            Row::Number(number) => Self::Number(number),
            Row::Text(text) => Self::Text(Cow::Borrowed(text)),
            Row::Flag(flag) => Self::Flag(flag),
        }
    }
}

impl Value {
    /// Returns whether a value of the right type is in the allowed range.
    fn is_in(&self, takes: &resilient_options::Takes) -> bool {
        use resilient_options::Value as Row;
        match self {
            Self::Duration(span) => takes.admits(Row::Duration(crate::clock::nanos(*span))),
            Self::Count(count) => takes.admits(Row::Count(*count)),
            Self::Ratio(share) => takes.admits(Row::Ratio(*share)),
            Self::Number(number) => takes.admits(Row::Number(*number)),
            // The types of the fields admit no other values.
            Self::Text(_) | Self::Secret(_) | Self::Flag(_) | Self::Unset => true,
        }
    }
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
            Self::Secret(secret) => fmt::Display::fmt(secret, f),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unset => serializer.serialize_none(),
            Self::Duration(_) | Self::Secret(_) => serializer.collect_str(self),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Ratio(number) | Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
        }
    }
}

/// A setting by name, as an attribute specifies it.
///
/// ```
/// use resilient_runtime::{retry::Config, settings::{Setting, Settings, Value}};
///
/// let setting = Setting { field: "max", value: Value::Count(5) };
/// let mut config = Config::default();
/// config.set(setting.field, &setting.value).unwrap();
/// assert_eq!(config.max, 5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The name of the field.
    pub field: &'static str,
    /// The value of the field.
    pub value: Value,
}

/// The source of the effective value of a setting.
///
/// Later variants override earlier ones.
///
/// ```
/// use resilient_runtime::{Component, Registry, hedge::Config, settings::Origin};
///
/// let hedge = Registry::new().hedge("search");
/// let origin = || hedge.effective().into_iter().find(|setting| setting.field == "max").unwrap().origin;
/// assert_eq!(origin(), Origin::Default);
/// hedge.reconfigure(Config::default().max(2)).unwrap();
/// assert_eq!(origin(), Origin::Runtime);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// The library's default.
    #[default]
    Default,
    /// A setting in the attribute.
    Attribute,
    /// The `default` table of the component kind in a settings file.
    FileDefault,
    /// The table of the component in a settings file.
    File,
    /// An environment variable.
    Environment,
    /// A call of `reconfigure` at run time.
    Runtime,
}

impl Origin {
    /// Returns whether the value comes from outside of the program and can be reloaded.
    pub(crate) fn is_override(self) -> bool {
        matches!(self, Self::FileDefault | Self::File | Self::Environment)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Attribute => "attribute",
            Self::FileDefault => "file default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Runtime => "run-time",
        })
    }
}

/// An effective setting of a component.
///
/// ```
/// use resilient_runtime::{Component, Registry, settings::Value};
///
/// let effective = Registry::new().coalesce("rates").effective();
/// let shares = effective.iter().find(|setting| setting.field == "share_errors").unwrap();
/// assert_eq!((&shares.value, shares.origin.to_string().as_str()), (&Value::Flag(true), "default"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Effective {
    /// The name of the field.
    pub field: &'static str,
    /// The effective value.
    pub value: Value,
    /// The source of the value.
    pub origin: Origin,
}

/// A config whose fields are accessible by name.
///
/// ```
/// use resilient_runtime::{coalesce::Config, settings::Settings};
///
/// assert_eq!(Config::FIELDS, ["share_errors", "max_wait", "max_flights", "enabled"]);
/// ```
pub trait Settings: Clone + Default + PartialEq + Send + Sync + 'static {
    /// The names of the fields, in the order of the documentation.
    const FIELDS: &'static [&'static str];

    /// Returns the default config, shared by all components without settings.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{hedge::Config, settings::Settings};
    ///
    /// assert_eq!(*Config::shared_default(), Config::default());
    /// assert!(Arc::ptr_eq(&Config::shared_default(), &Config::shared_default()));
    /// ```
    fn shared_default() -> std::sync::Arc<Self>;

    /// Returns the value of a field, or `None` if there is no such field.
    ///
    /// ```
    /// use resilient_runtime::{fallback::Config, settings::{Settings, Value}};
    ///
    /// let config = Config::default();
    /// assert_eq!(config.get("cache_max_entries"), Some(Value::Count(1000)));
    /// assert_eq!(config.get("no_such_field"), None);
    /// ```
    fn get(&self, field: &str) -> Option<Value>;

    /// Sets a field by name.
    ///
    /// ```
    /// use resilient_runtime::{timeout::Config, settings::{Settings, Value}};
    ///
    /// let mut config = Config::default();
    /// config.set("adaptive", &Value::Flag(true)).unwrap();
    /// assert!(config.adaptive);
    /// let error = config.set("totl", &Value::Count(3)).unwrap_err();
    /// assert!(error.to_string().contains("did you mean `total`?"), "{error}");
    /// ```
    ///
    /// # Errors
    /// Returns an error if there is no such field, or if the field does not accept the value. This method does not
    /// check ranges; [`validate`](Self::validate) does.
    fn set(&mut self, field: &'static str, value: &Value) -> Result<(), ConfigError>;

    /// Checks all ranges and reports every problem, not only the first.
    ///
    /// ```
    /// use resilient_runtime::{rate_limit::Config, settings::Settings};
    ///
    /// let error = Config::default().max_queue(u32::MAX).max_keys(0).validate().unwrap_err();
    /// let fields: Vec<_> = error.problems().iter().map(|problem| problem.field).collect();
    /// assert_eq!(fields, ["max_queue", "max_keys"]);
    /// ```
    ///
    /// # Errors
    /// Returns the field, the value and the allowed range of each problem.
    fn validate(&self) -> Result<(), ConfigError>;

    /// Returns the table of the fields.
    #[doc(hidden)]
    fn table() -> &'static resilient_options::Table;
}

/// Defines a component's `Config` from its table in `resilient_options`, which contains the defaults, ranges and
/// documentation of the fields. Generates a setter per field, and access by name. Constraints between settings are
/// checked by the method named after the table: `fn check(&self, error: &mut ConfigError)`.
macro_rules! settings {
    (
        $(#[$about:meta])*
        pub struct $config:ident: $table:ident $(, $check:ident)? {
            $($field:ident: $type:ty,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $config {
            $(#[doc = resilient_options::$table!($field)] pub $field: $type,)*
        }

        impl Default for $config {
            fn default() -> Self {
                Self {
                    $($field: $crate::settings::default_of(
                        const { resilient_options::$table::TABLE.row(stringify!($field)) },
                    ),)*
                }
            }
        }

        impl $config {
            $(
                #[doc = resilient_options::$table!($field)]
                pub fn $field(mut self, $field: impl $crate::settings::IntoSetting<$type>) -> Self {
                    self.$field = $field.into_setting();
                    self
                }
            )*
        }

        impl $crate::settings::Settings for $config {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn shared_default() -> std::sync::Arc<Self> {
                static DEFAULT: std::sync::LazyLock<std::sync::Arc<$config>> =
                    std::sync::LazyLock::new(std::sync::Arc::default);
                std::sync::Arc::clone(&DEFAULT)
            }

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
                $crate::settings::check_ranges(self, &mut error);
                $(self.$check(&mut error);)?
                error.in_order(Self::FIELDS).finish()
            }

            fn table() -> &'static resilient_options::Table {
                &resilient_options::$table::TABLE
            }
        }
    };
}
pub(crate) use settings;

/// Returns the default from the table.
pub(crate) fn default_of<T: Parameter + Default>(row: &resilient_options::Setting) -> T {
    T::from_value(&row.default.into()).unwrap_or_default()
}

/// Reports values outside of the ranges of the table.
pub(crate) fn check_ranges<C: Settings>(config: &C, error: &mut ConfigError) {
    for field in C::FIELDS {
        let (Some(row), Some(value)) = (C::table().field(field), config.get(field)) else { continue };
        if !value.is_in(&row.takes) {
            error.problems.push(SettingProblem { field, value, allowed: must_be(row.takes).into() });
        }
    }
}

/// Describes the range in the words of the attribute, as in `must be from 1 to 100 calls`.
fn must_be(takes: resilient_options::Takes) -> String {
    let range = takes.to_string();
    let from = if range.starts_with(|letter: char| letter.is_ascii_digit()) { "from " } else { "" };
    format!("must be {from}{range}")
}

pub(crate) fn assign<T: Parameter>(
    place: &mut T,
    field: &'static str,
    value: &Value,
) -> Result<(), ConfigError> {
    if let Some(parsed) = T::from_value(value) {
        *place = parsed;
        return Ok(());
    }
    let mut allowed = format!("must be {}", T::expected());
    if let Some(meant) = meant::<T>(value) {
        allowed = format!("{allowed}; did you mean {meant}?");
    }
    let problem = SettingProblem { field, value: value.clone(), allowed: allowed.into() };
    Err(ConfigError { problems: vec![problem] })
}

/// Returns a suggestion for an invalid value.
fn meant<T: Parameter>(value: &Value) -> Option<String> {
    let number = match value {
        Value::Count(count) => Some(*count),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    if let (Some(number), Some(_)) = (number, T::from_value(&Value::Duration(Duration::from_secs(1)))) {
        return Some(format!("`{number}s` or `{number}ms`"));
    }
    let Value::Text(text) = value else { return None };
    let word = crate::nearest::nearest(text, T::words().iter().copied())?;
    Some(format!("`{word}`"))
}

pub(crate) fn unknown(field: &'static str, value: &Value, known: &[&str]) -> ConfigError {
    let allowed = match crate::nearest::nearest(field, known.iter().copied()) {
        Some(name) => format!("unknown setting; did you mean `{name}`?"),
        None => format!("unknown setting; known settings: {}", known.join(", ")),
    };
    ConfigError { problems: vec![SettingProblem { field, value: value.clone(), allowed: allowed.into() }] }
}
