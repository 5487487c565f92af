//! The [`Component`] trait, which all components implement.

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

/// A named policy of a call, which can be inspected and reconfigured at run time.
///
/// A component is created once and reconfigured, never replaced, so every `Arc` to it stays valid.
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// /// Works for all kinds of component.
/// fn changed_settings(component: &impl Component) -> usize {
///     let is_default = |origin: &str| origin == "default";
///     component.effective().iter().filter(|set| !is_default(&set.origin.to_string())).count()
/// }
/// let registry = Registry::new();
/// assert_eq!(changed_settings(&*registry.bulkhead("gateway")), 0);
/// assert_eq!(changed_settings(&*registry.retry("stock")), 0);
/// ```
pub trait Component: Sealed + Send + Sync + 'static {
    /// The kind of the component.
    const KIND: Kind;
    /// The settings of the component.
    type Config: Settings;
    /// A snapshot of the component's counters and state.
    type Stats: Serialize;

    /// The data common to all components; internal.
    #[doc(hidden)]
    fn core(&self) -> &Core<Self::Config>;

    /// Applies settings that are stored outside of the core; internal.
    #[doc(hidden)]
    fn apply(&self, _: &Self::Config) {}

    /// Returns the component's name in the registry.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// assert_eq!(Registry::new().coalesce("rates").name(), "rates");
    /// ```
    fn name(&self) -> &str {
        self.core().name
    }

    /// Returns a snapshot of the counters and the state. This does not slow down calls.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.call(|| Some(995));
    /// assert_eq!(breaker.stats().successful, 1);
    /// ```
    fn stats(&self) -> Self::Stats;

    /// Resets the state and the counters.
    ///
    /// The settings are not changed. Calls in flight keep their permits.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, circuit_breaker::{Config, State}};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// breaker.call(|| None::<u32>);
    /// breaker.reset();
    /// assert_eq!((breaker.state(), breaker.stats().failed), (State::Closed, 0));
    /// assert_eq!(breaker.config().failure_threshold, Some(1), "the settings stay");
    /// ```
    fn reset(&self);

    /// Returns the settings in effect.
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

    /// Replaces the settings. State, permits and windows are preserved.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, bulkhead::Config};
    ///
    /// let gateway = Registry::new().bulkhead("gateway");
    /// let permit = gateway.try_acquire().unwrap();
    /// gateway.reconfigure(Config::default().max_concurrent(1)).unwrap();
    /// assert_eq!(gateway.stats().available, 0, "the call in flight counts");
    /// assert!(gateway.reconfigure(Config::default().max_concurrent(0)).is_err());
    /// assert_eq!(gateway.config().max_concurrent, 1, "nothing was changed");
    /// # drop(permit);
    /// ```
    ///
    /// # Errors
    /// Returns an error if a setting is out of range or conflicts with another one. In that case nothing changes.
    fn reconfigure(&self, config: Self::Config) -> Result<(), ConfigError> {
        self.core().reconfigure(Self::KIND, config, |config| self.apply(config))
    }

    /// Returns every setting in effect and where its value came from.
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

/// Prevents implementations outside of this crate.
pub trait Sealed {}

macro_rules! seal {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        $(impl Sealed for crate::$module::$type {})*
    };
}

components!(all seal);

/// The part of a component that only this crate uses.
pub(crate) trait Create: Component + Sized {
    /// Why the component cannot be disabled, if it cannot.
    const ALWAYS_ON: Option<&str> = None;
    /// The rejections and timeouts that it can return to a call.
    const REFUSALS: &[RejectionKind] = &[];

    fn create(core: Core<Self::Config>) -> Self;

    /// Rejects settings that name a part of a registry, for a component outside of a registry.
    fn check_standalone(_config: &Self::Config, _error: &mut ConfigError) {}

    /// Called once the component has its place in a registry.
    fn made(self: &Arc<Self>) {}

    /// Additional lines for an explanation.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// The share of its limit in use, if it has a limit.
    fn saturation(&self) -> Option<Ratio> {
        None
    }
}

/// The parts that a registry shares with its components.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) clock: Clock,
    pub(crate) events: Events,
    pub(crate) random: Arc<Random>,
}

impl Environment {
    /// The rules for error texts, which are stored with the events.
    pub(crate) fn texts(&self) -> &Texts {
        self.events.texts()
    }
}

/// Interns the name of a component for the life of the process, for all registries. A rejection can then hold the name
/// and is cheap to copy and drop. Use it only if the number of names is bounded.
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

/// The data common to all components.
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

    /// Replaces the settings as a whole and calls `apply` for those that the component stores in its own atomics.
    /// Publishes an event.
    pub(crate) fn reconfigure(&self, kind: Kind, config: C, apply: impl Fn(&C)) -> Result<(), ConfigError> {
        self.change(config, apply)?;
        self.publish(kind, EventKind::Reconfigured);
        Ok(())
    }

    /// Like [`reconfigure`](Self::reconfigure), but without an event: for a part of another component.
    pub(crate) fn change(&self, config: C, apply: impl Fn(&C)) -> Result<(), ConfigError> {
        config.validate()?;
        self.settings.replace(config);
        // Repeat until the applied settings are those in effect: if two threads change the settings, the thread whose
        // settings were replaced can be the last one to apply them.
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

    /// Like [`publish`](Self::publish), but creates the event only if there is a subscriber.
    #[inline]
    pub(crate) fn publish_made(&self, kind: Kind, what: impl FnOnce() -> EventKind) {
        self.events().publish(|| Event::now(kind, self.name, what()));
    }

    /// Queues an event while the component is locked, so that events are in the order of the changes. Deliver it with
    /// [`Events::deliver`] after the lock is released.
    pub(crate) fn put(&self, kind: Kind, what: impl FnOnce() -> EventKind) {
        self.events().put(|| Event::now(kind, self.name, what()));
    }

    /// Creates a core outside of a registry.
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
    fn if_two_changes_race_the_settings_in_effect_are_applied() {
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
