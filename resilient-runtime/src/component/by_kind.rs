//! Settings of a component whose kind is only known at run time.

use std::marker::PhantomData;

use super::{Create, Kind};
use crate::kind::table::components;
use crate::settings::{ConfigError, Raw, SettingLayers, Settings, Value};

/// The setting that switches a component on or off.
pub(crate) const ENABLED: &str = "enabled";

/// Operations on the settings of a kind, without one of its components.
trait KindSettings {
    fn read(&self, field: &str, raw: &Raw) -> Result<(&'static str, Value), String>;
    fn check(&self, said: &SettingLayers) -> Result<(), ConfigError>;
    fn default_of(&self, field: &str) -> Option<Value>;
}

impl<C: Create> KindSettings for PhantomData<C> {
    fn read(&self, field: &str, raw: &Raw) -> Result<(&'static str, Value), String> {
        match (field, C::ALWAYS_ON) {
            (ENABLED, Some(why)) => Err(why.to_owned()),
            _ => crate::settings::read::<C::Config>(field, raw),
        }
    }

    fn check(&self, said: &SettingLayers) -> Result<(), ConfigError> {
        let mut config = C::Config::default();
        for ((field, _), value) in said {
            config.set(field, value)?;
        }
        config.validate()
    }

    fn default_of(&self, field: &str) -> Option<Value> {
        C::Config::default().get(field)
    }
}

/// [`Kind::Chaos`] is not a component.
struct NoSettings;

impl KindSettings for NoSettings {
    fn read(&self, field: &str, _: &Raw) -> Result<(&'static str, Value), String> {
        Err(format!("`chaos` has no setting `{field}`"))
    }

    fn check(&self, _: &SettingLayers) -> Result<(), ConfigError> {
        Ok(())
    }

    fn default_of(&self, _: &str) -> Option<Value> {
        None
    }
}

fn of(kind: Kind) -> &'static dyn KindSettings {
    macro_rules! settings_of {
        ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
            match kind {
                $(Kind::$kind => &PhantomData::<crate::$module::$type>,)*
                Kind::Chaos => &NoSettings,
            }
        };
    }
    components!(all settings_of)
}

/// Returns the field with this name and the parsed value, or an error text.
pub(crate) fn read(kind: Kind, field: &str, raw: &Raw) -> Result<(&'static str, Value), String> {
    of(kind).read(field, raw)
}

/// Checks that all settings given for a component are valid together.
pub(crate) fn check(kind: Kind, said: &SettingLayers) -> Result<(), ConfigError> {
    of(kind).check(said)
}

/// Returns the library's default value of a setting.
pub(crate) fn default_of(kind: Kind, field: &str) -> Option<Value> {
    of(kind).default_of(field)
}
