//! Creates the components of a registry with their effective settings.

use std::sync::Arc;

use super::Registry;
use super::shelf::{self, Shelved};
use super::store_gate::StoreGate;
use crate::circuit_breaker::{self, CircuitBreaker};
use crate::component::{Core, Create, Kind, lasting};
use crate::fallback::{self, Fallback};
use crate::idempotency::{self, Idempotency};
use crate::name;
use crate::observe::{Event, EventKind};
use crate::retry::{self, Retry};
use crate::settings::{ConfigError, Layered, Setting, SettingLayers, Settings, lay_attribute, lay_overrides};
use crate::site::{self, Site};
use crate::store::{self, Store};

/// The source location that uses a component.
#[derive(Clone, Copy)]
pub(super) struct By {
    pub(super) settings: &'static [Setting],
    pub(super) site: &'static Site,
}

impl By {
    fn place(&self) -> site::Place {
        self.site.place()
    }
}

impl Registry {
    /// Returns or creates a component. Attribute settings are applied beneath settings made at run time.
    pub(super) fn component<C: Shelved>(&self, name: &str, by: Option<By>) -> Arc<C> {
        let all = C::shelf(&self.0.shelves);
        if let (Some(found), None) = (all.get(name), by) {
            return found;
        }
        let name = name::normal(name);
        let settings = self.settings_for(C::KIND, &name, by);
        let mut made = None;
        let (component, overflows) = all.get_or_make(&name, |name| {
            let (layered, refused) = Layered::new(settings, self.0.overrides.lock().of(C::KIND, name));
            made = Some(refused);
            C::make(self, Core { name, environment: self.0.environment.clone(), settings: layered })
        });
        if overflows {
            self.too_many_names(C::KIND, &name);
        }
        match made {
            // Report outside of the lock: subscribers can read the registry (T23).
            Some(refused) => {
                component.made();
                if let Err(refused) = refused.finish() {
                    self.report_refused(component.core(), C::KIND, &refused.to_string());
                }
            }
            None if settings.is_empty() => {}
            None => self.lay_beneath(&*component, settings),
        }
        component
    }

    /// Creates a component that needs only its core.
    #[allow(clippy::unused_self)] // same signature as the other constructors
    pub(super) fn alone<C: Create>(&self, core: Core<C::Config>) -> C {
        C::create(core)
    }

    /// Creates a retry with the budget that its settings name.
    pub(super) fn with_budget(&self, core: Core<retry::Config>) -> Retry {
        let shared = core.config().shared_budget().cloned();
        Retry::with_budget(core, shared.map(|name| self.retry_budget(&name)))
    }

    /// Creates an idempotency component with the stores that its settings can name.
    pub(super) fn with_stores(&self, core: Core<idempotency::Config>) -> Idempotency {
        Idempotency::with_stores(core, Arc::clone(&self.0.stores))
    }

    /// Creates a circuit breaker with the stores that its settings can name.
    pub(super) fn with_circuits(&self, core: Core<circuit_breaker::Config>) -> CircuitBreaker {
        CircuitBreaker::with_stores(core, Arc::clone(&self.0.stores))
    }

    /// Creates a fallback with the stores that its settings can name.
    pub(super) fn with_cache_stores(&self, core: Core<fallback::Config>) -> Fallback {
        Fallback::with_stores(core, Arc::clone(&self.0.stores))
    }

    /// Creates a store and makes it known to the components that use it by name.
    pub(super) fn with_guard(&self, core: Core<store::Config>) -> Store {
        let gate = StoreGate::new(&core);
        Store::with_gate(core, gate, Arc::clone(&self.0.connectors), Arc::clone(&self.0.stores))
    }

    /// Reports the first name beyond the limit of a kind.
    #[cold]
    fn too_many_names(&self, kind: Kind, name: &str) {
        Self::warn_of_names(kind.as_str(), name);
        let what = EventKind::TooManyNames { name: name.to_owned() };
        self.0.environment.events.publish(|| Event::now(kind, shelf::OVERFLOW, what));
    }

    pub(super) fn warn_of_names(kind: &str, name: &str) {
        tracing::warn!(
            target: "resilient_runtime::registry",
            kind,
            name,
            "limit of {} names of this kind reached: this name and all further ones share `{}`, so their calls affect each \
             other; use fewer names",
            shelf::MOST_NAMES,
            shelf::OVERFLOW,
        );
    }

    /// Applies attribute settings to a component that was created before the annotated function was known.
    fn lay_beneath<C: Create>(&self, component: &C, settings: &'static [Setting]) {
        let core = component.core();
        let lay = |refused: &ConfigError| {
            let _turn = self.0.configuring.lock();
            // External settings can have been invalid without the attribute, so apply them again.
            let overrides = self.0.overrides.lock().of(C::KIND, core.name);
            let change = |layers: &mut SettingLayers| {
                lay_attribute::<C::Config>(layers, settings, refused);
                lay_overrides(layers, &overrides);
            };
            core.settings.relay(change, |config| component.reconfigure(config))
        };
        let Err(refused) = lay(&ConfigError::default()) else {
            self.0.conflicts.lock().accepted(C::KIND, core.name);
            return;
        };
        self.report_refused(core, C::KIND, &refused.to_string());
        // The remaining settings apply even if some are refused.
        if let Err(rest) = lay(&refused) {
            self.report_refused(core, C::KIND, &rest.to_string());
        }
    }

    pub(super) fn report_refused<C: Settings>(&self, core: &Core<C>, kind: Kind, problem: &str) {
        let name = core.name;
        tracing::warn!(target: "resilient_runtime::settings", %kind, %name, problem, "attribute settings refused");
        core.publish(kind, EventKind::SettingsRefused { problem: problem.to_owned() });
        self.0.conflicts.lock().refused(kind, name, problem);
    }

    /// Returns the attribute settings of a component. The first place in source order that specifies any applies.
    /// In the global registry, all places are known before the first call.
    pub(super) fn settings_for(&self, kind: Kind, name: &Arc<str>, by: Option<By>) -> &'static [Setting] {
        let mut places = by.filter(|by| !by.settings.is_empty()).map(|by| (by.settings, by.place()));
        let mut conflicts = self.0.conflicts.lock();
        if self.0.is_global {
            for place in site::definitions(kind, name) {
                conflicts.defined(kind, name, place);
            }
        }
        if let Some(place) = places.take() {
            conflicts.defined(kind, name, place);
        }
        let (settings, news) = conflicts.in_force(kind, name);
        drop(conflicts);
        for what in news {
            if let EventKind::SettingsConflict { ignored, in_force } = &what {
                tracing::warn!(target: "resilient_runtime::settings", %kind, %name, ignored, in_force, "settings conflict");
            }
            let component = lasting(name);
            self.0.environment.events.publish(|| Event::now(kind, component, what));
        }
        settings
    }
}
