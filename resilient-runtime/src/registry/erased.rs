//! Type-erased components, for kinds known only at run time.

use std::any::Any;
use std::sync::Arc;

use super::ComponentStats;
use super::shelf::Shelved;
use crate::component::{Component, Create};
use crate::observe::EventKind;
use crate::ratio::Ratio;
use crate::settings::{
    ConfigError, Effective, Setting, SettingLayers, Settings, Value, forget_runtime, lay_attribute,
    lay_overrides,
};

/// The components of one kind.
pub(super) trait AnyShelf {
    fn get(&self, name: &str) -> Option<Arc<dyn AnyComponent>>;
    fn all(&self) -> Vec<(&'static str, Arc<dyn AnyComponent>)>;
    /// Returns how often a lookup returned the shared component.
    fn overflows(&self) -> u64;
}

/// A component of any kind.
pub(super) trait AnyComponent: Any + Send + Sync {
    fn stats(&self) -> ComponentStats;
    fn reset(&self);
    fn effective(&self) -> Vec<Effective>;
    fn notes(&self) -> Vec<String>;
    fn saturation(&self) -> Option<Ratio>;
    fn publish(&self, what: EventKind);
    /// Changes settings at run time.
    fn set(&self, changes: &[(&'static str, Value)]) -> Result<(), ConfigError>;
    /// Reverts changes made at run time.
    fn forget_runtime(&self) -> Result<(), ConfigError>;
    /// Applies external settings. Returns whether any setting changed.
    fn lay_overrides(&self, overrides: &SettingLayers) -> Result<bool, ConfigError>;
    /// Checks whether these external settings and the settings of an attribute are valid for the component.
    fn check(&self, attribute: Option<&[Setting]>, overrides: &SettingLayers) -> Result<(), ConfigError>;
}

impl<C: Shelved> AnyComponent for C {
    fn stats(&self) -> ComponentStats {
        C::of_any_kind(Component::stats(self))
    }

    fn reset(&self) {
        Component::reset(self);
    }

    fn effective(&self) -> Vec<Effective> {
        Component::effective(self)
    }

    fn notes(&self) -> Vec<String> {
        Create::notes(self)
    }

    fn saturation(&self) -> Option<Ratio> {
        Create::saturation(self)
    }

    fn publish(&self, what: EventKind) {
        self.core().publish(C::KIND, what);
    }

    fn set(&self, changes: &[(&'static str, Value)]) -> Result<(), ConfigError> {
        let mut config = C::Config::clone(&self.config());
        for (field, value) in changes {
            config.set(field, value)?;
        }
        self.reconfigure(config)
    }

    fn forget_runtime(&self) -> Result<(), ConfigError> {
        self.core().settings.relay(forget_runtime, |config| self.reconfigure(config))?;
        Ok(())
    }

    fn lay_overrides(&self, overrides: &SettingLayers) -> Result<bool, ConfigError> {
        let change = |layers: &mut SettingLayers| lay_overrides(layers, overrides);
        self.core().settings.relay(change, |config| self.reconfigure(config))
    }

    fn check(&self, attribute: Option<&[Setting]>, overrides: &SettingLayers) -> Result<(), ConfigError> {
        let change = |layers: &mut SettingLayers| {
            if let Some(attribute) = attribute {
                lay_attribute::<C::Config>(layers, attribute, &ConfigError::default());
            }
            lay_overrides(layers, overrides);
        };
        self.core().settings.preview(change).validate()
    }
}
