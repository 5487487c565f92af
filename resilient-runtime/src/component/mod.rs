//! What every component can do, so that who knows one knows all.

pub(crate) mod by_kind;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::clock::Clock;
use crate::error_text::Texts;
use crate::kind::table::components;
pub use crate::kind::{Kind, UnknownKind};
use crate::observe::{Event, EventKind, Events};
use crate::random::Random;
use crate::ratio::Ratio;
use crate::rejection::RejectionKind;
use crate::settings::{ConfigError, Effective, Layered, Settings};

/// A named part of a call's protection, seen and steered at run time.
///
/// A component is made once and never replaced, only reconfigured: an `Arc` held anywhere stays the live one.
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// /// Works for a component of any kind.
/// fn changed_settings(component: &impl Component) -> usize {
///     let is_default = |origin: &str| origin == "default";
///     component.effective().iter().filter(|set| !is_default(&set.origin.to_string())).count()
/// }
/// let registry = Registry::new();
/// assert_eq!(changed_settings(&*registry.bulkhead("gateway")), 0);
/// assert_eq!(changed_settings(&*registry.retry("stock")), 0);
/// ```
pub trait Component: Sealed + Send + Sync + 'static {
    /// What kind it is.
    const KIND: Kind;
    /// Its settings.
    type Config: Settings;
    /// A snapshot of what it counted and where it stands.
    type Stats: Serialize;

    /// What every component has; for the library alone.
    #[doc(hidden)]
    fn core(&self) -> &Core<Self::Config>;

    /// Puts settings that are kept outside of the core in force; for the library alone.
    #[doc(hidden)]
    fn apply(&self, _: &Self::Config) {}

    /// Its name in the registry.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// assert_eq!(Registry::new().coalesce("rates").name(), "rates");
    /// ```
    fn name(&self) -> &str {
        self.core().name
    }

    /// A snapshot; reading it costs the component nothing.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.call(|| Some(995));
    /// assert_eq!(breaker.stats().successful, 1);
    /// ```
    fn stats(&self) -> Self::Stats;

    /// Back to the state it had when it was new, with the settings it has now. Calls in flight keep what
    /// they hold.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, circuit_breaker::{Config, State}};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// breaker.call(|| None::<u32>);
    /// breaker.reset();
    /// assert_eq!((breaker.state(), breaker.stats().failed), (State::Closed, 0));
    /// assert_eq!(breaker.config().failure_threshold, Some(1), "settings stay");
    /// ```
    fn reset(&self);

    /// The settings in force.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let search = Registry::new().bulkhead("search");
    /// let half = search.config().max_concurrent / 2;
    /// search.reconfigure(search.config().as_ref().clone().max_concurrent(half)).unwrap();
    /// assert_eq!(search.config().max_concurrent, 32);
    /// ```
    fn config(&self) -> Arc<Self::Config> {
        self.core().config()
    }

    /// Changes the settings. State, permits and windows survive.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, bulkhead::Config};
    ///
    /// let gateway = Registry::new().bulkhead("gateway");
    /// let permit = gateway.try_acquire().unwrap();
    /// gateway.reconfigure(Config::default().max_concurrent(1)).unwrap();
    /// assert_eq!(gateway.stats().available, 0, "the call in flight counts");
    /// assert!(gateway.reconfigure(Config::default().max_concurrent(0)).is_err());
    /// assert_eq!(gateway.config().max_concurrent, 1, "refused as a whole");
    /// # drop(permit);
    /// ```
    ///
    /// # Errors
    /// When a setting is out of its range or contradicts another; then nothing has changed.
    fn reconfigure(&self, config: Self::Config) -> Result<(), ConfigError> {
        self.core().reconfigure(Self::KIND, config, |config| self.apply(config))
    }

    /// Every setting in force, and where its value came from.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, timeout};
    ///
    /// let timeout = Registry::new().timeout("report");
    /// timeout.reconfigure(timeout::Config::default().adaptive(true)).unwrap();
    /// let adaptive = timeout.effective().into_iter().find(|set| set.field == "adaptive").unwrap();
    /// assert_eq!(format!("{} ({})", adaptive.value, adaptive.origin), "true (run-time)");
    /// ```
    fn effective(&self) -> Vec<Effective> {
        self.core().settings.effective()
    }
}

/// Only the library has components.
pub trait Sealed {}

macro_rules! seal {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        $(impl Sealed for crate::$module::$type {})*
    };
}

components!(all seal);

/// What a component is to the library itself.
pub(crate) trait Create: Component + Sized {
    /// Why it cannot be switched off.
    const ALWAYS_ON: Option<&str> = None;
    /// The refusals and timeouts that it can give a call.
    const REFUSALS: &[RejectionKind] = &[];

    fn create(core: Core<Self::Config>) -> Self;

    /// Refuses settings that name a part of a registry, for a component that belongs to none.
    fn check_standalone(_config: &Self::Config, _error: &mut ConfigError) {}

    /// What else there is to say about it in an explanation; one line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// How much of its limit is in use, where it has one.
    fn saturation(&self) -> Option<Ratio> {
        None
    }
}

/// What a registry gives to each of its components.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) clock: Clock,
    pub(crate) events: Events,
    pub(crate) random: Arc<Random>,
}

impl Environment {
    /// The rule for the texts of errors goes where the events go.
    pub(crate) fn texts(&self) -> &Texts {
        self.events.texts()
    }
}

/// The name of a component, kept for the life of the process, once for all registries: so a rejection can say whose it
/// is, and be copied and dropped for nothing. Only for names of which there is a bounded number.
pub(crate) fn lasting(name: &str) -> &'static str {
    static NAMES: std::sync::Mutex<BTreeSet<&'static str>> = std::sync::Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let lasting = Box::leak(name.into());
    names.insert(lasting);
    lasting
}

/// What every component has.
#[derive(Debug)]
pub struct Core<C> {
    pub(crate) name: &'static str,
    pub(crate) environment: Environment,
    pub(crate) settings: Layered<C>,
}

impl<C: Settings> Core<C> {
    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        &self.environment.clock
    }

    pub(crate) fn events(&self) -> &Events {
        &self.environment.events
    }

    pub(crate) fn config(&self) -> Arc<C> {
        self.settings.get()
    }

    /// The common part of `Component::reconfigure`: all or nothing, then `apply` for what the component keeps
    /// in atomics of its own.
    pub(crate) fn reconfigure(&self, kind: Kind, config: C, apply: impl Fn(&C)) -> Result<(), ConfigError> {
        self.change(config, apply)?;
        self.publish(kind, EventKind::Reconfigured);
        Ok(())
    }

    /// The same, untold: of what is a part of another component.
    pub(crate) fn change(&self, config: C, apply: impl Fn(&C)) -> Result<(), ConfigError> {
        config.validate()?;
        self.settings.replace(config);
        // Until what was applied is still what is in force: of two threads that change the settings, the one whose
        // were replaced may be the later to apply them.
        loop {
            let applied = self.settings.get();
            apply(&applied);
            if Arc::ptr_eq(&applied, &self.settings.get()) {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn publish(&self, kind: Kind, what: EventKind) {
        self.events().publish(|| Event::now(kind, self.name, what));
    }

    /// The same, for what is made only if somebody listens.
    #[inline]
    pub(crate) fn publish_made(&self, kind: Kind, what: impl FnOnce() -> EventKind) {
        self.events().publish(|| Event::now(kind, self.name, what()));
    }

    /// Gives an event its place under a lock of the component, before others see what it tells of; to be delivered by
    /// [`Events::deliver`] after the lock.
    pub(crate) fn put(&self, kind: Kind, what: impl FnOnce() -> EventKind) {
        self.events().put(|| Event::now(kind, self.name, what()));
    }

    /// A core outside of any registry, for unit tests.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str, clock: Clock, config: C) -> Self {
        let settings = Layered::of(C::shared_default());
        config.validate().expect("a valid config");
        settings.replace(config);
        let environment =
            Environment { clock, events: Events::default(), random: Arc::new(Random::new(Some(7))) };
        Self { name: lasting(name), environment, settings }
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::bulkhead::Config;

    #[test]
    fn of_two_changes_that_race_the_one_in_force_is_the_one_applied() {
        // T117
        let core = Core::for_test("b", Clock::system(), Config::default());
        let applied = Cell::new(0);
        let overtaken = Cell::new(false);
        let change = |limit: u32| Config::default().max_concurrent(limit);
        core.reconfigure(Kind::Bulkhead, change(1), |config| {
            if !overtaken.replace(true) {
                let by = |config: &Config| applied.set(config.max_concurrent);
                core.reconfigure(Kind::Bulkhead, change(2), by).unwrap();
            }
            applied.set(config.max_concurrent);
        })
        .unwrap();
        assert_eq!((core.config().max_concurrent, applied.get()), (2, 2));
    }
}
