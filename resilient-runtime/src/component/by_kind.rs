//! The settings of a component whose kind is known at run time only.

use std::marker::PhantomData;

use super::{Create, Kind};
use crate::kind::table::components;
use crate::settings::{ConfigError, Raw, SettingLayers, Settings, Value};

/// The field that switches a component on and off.
pub(crate) const ENABLED: &str = "enabled";

/// What can be asked of a kind without a component of it.
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

fn of(kind: Kind) -> &'static dyn KindSettings {
    macro_rules! settings_of {
        ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
            match kind {
                $(Kind::$kind => &PhantomData::<crate::$module::$type>,)*
            }
        };
    }
    components!(all settings_of)
}

/// The field of this name, and the value that it takes; or what is wrong, in words.
pub(crate) fn read(kind: Kind, field: &str, raw: &Raw) -> Result<(&'static str, Value), String> {
    of(kind).read(field, raw)
}

/// Whether all that is said of a component goes together.
pub(crate) fn check(kind: Kind, said: &SettingLayers) -> Result<(), ConfigError> {
    of(kind).check(said)
}

/// The library's default of a setting.
pub(crate) fn default_of(kind: Kind, field: &str) -> Option<Value> {
    of(kind).default_of(field)
}
