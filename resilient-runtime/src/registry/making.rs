//! How a registry makes its components, each with the settings that are in force for it.

use std::sync::Arc;

use super::Registry;
use super::shelf::{self, Shelved};
use crate::component::{Core, Create, Kind, lasting};
use crate::idempotency::{self, Idempotency};
use crate::name;
use crate::observe::{Event, EventKind};
use crate::retry::{self, Retry};
use crate::settings::{ConfigError, Layered, Setting, SettingLayers, Settings, lay_attribute, lay_overrides};
use crate::site::{self, Site};

/// The place in the source that asks for a component.
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
    /// Gets or makes a component. What attributes say about it is laid under what it is told at run time.
    pub(super) fn component<C: Shelved>(&self, name: &str, by: Option<By>) -> Arc<C> {
        let kept = C::shelf(&self.0.shelves);
        if let (Some(found), None) = (kept.get(name), by) {
            return found;
        }
        let name = name::normal(name);
        let settings = self.settings_for(C::KIND, &name, by);
        let mut made = None;
        let (component, overflows) = kept.get_or_make(&name, |name| {
            let (layered, refused) = Layered::new(settings, self.0.overrides.lock().of(C::KIND, name));
            made = Some(refused);
            C::make(self, Core { name, environment: self.0.environment.clone(), settings: layered })
        });
        if overflows {
            self.too_many_names(C::KIND, &name);
        }
        match made {
            // Not while it is made, under the lock: who listens may read the registry (T23).
            Some(refused) => {
                if let Err(refused) = refused.finish() {
                    self.report_refused(component.core(), C::KIND, &refused.to_string());
                }
            }
            None if settings.is_empty() => {}
            None => self.lay_beneath(&*component, settings),
        }
        component
    }

    /// Makes a component that needs nothing but its core.
    #[allow(clippy::unused_self)] // called like the others
    pub(super) fn alone<C: Create>(&self, core: Core<C::Config>) -> C {
        C::create(core)
    }

    /// Makes a retry, with the budget that its settings name.
    pub(super) fn with_budget(&self, core: Core<retry::Config>) -> Retry {
        let shared = core.config().shared_budget().cloned();
        Retry::with_budget(core, shared.map(|name| self.retry_budget(&name)))
    }

    /// Makes an idempotency, with the stores that its settings may name.
    pub(super) fn with_stores(&self, core: Core<idempotency::Config>) -> Idempotency {
        Idempotency::with_stores(core, Arc::clone(&self.0.idempotency_stores))
    }

    /// H10: loudly, once for each kind.
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
            "there are {} names of this kind already: this one and all further ones share `{}`, and what one of them does \
             acts on all; use fewer names",
            shelf::MOST_NAMES,
            shelf::OVERFLOW,
        );
    }

    /// For a component that was made before the function that configures it was known.
    fn lay_beneath<C: Create>(&self, component: &C, settings: &'static [Setting]) {
        let core = component.core();
        let lay = |refused: &ConfigError| {
            let _turn = self.0.configuring.lock();
            // A8: what came from outside may have been impossible without the attribute.
            let overrides = self.0.overrides.lock().of(C::KIND, core.name);
            let change = |said: &mut SettingLayers| {
                lay_attribute::<C::Config>(said, settings, refused);
                lay_overrides(said, &overrides);
            };
            core.settings.relay(change, |config| component.reconfigure(config))
        };
        let Err(refused) = lay(&ConfigError::default()) else {
            self.0.conflicts.lock().accepted(C::KIND, core.name);
            return;
        };
        self.report_refused(core, C::KIND, &refused.to_string());
        // What is refused does not take the rest with it.
        if let Err(rest) = lay(&refused) {
            self.report_refused(core, C::KIND, &rest.to_string());
        }
    }

    pub(super) fn report_refused<C: Settings>(&self, core: &Core<C>, kind: Kind, problem: &str) {
        let name = core.name;
        tracing::warn!(target: "resilient_runtime::settings", %kind, %name, problem, "inline settings refused");
        core.publish(kind, EventKind::SettingsRefused { problem: problem.to_owned() });
        self.0.conflicts.lock().refused(kind, name, problem);
    }

    /// The inline settings of a component: those of the first place in the order of the source that gives
    /// any. In the process's registry all places are known before the first call.
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
