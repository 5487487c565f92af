//! Registries of named components.
//!
//! A component is created when its name is first used, and shared by everything that uses the name. [`registry()`]
//! returns the global registry. Tests create separate registries with [`Registry::new`] or
//! [`Registry::with_clock`], so that tests that run in parallel share nothing.
//!
//! ```
//! use resilient_runtime::Component;
//! let registry = resilient_runtime::Registry::new();
//! let one = registry.circuit_breaker("payment");
//! let same = registry.circuit_breaker("payment");
//! assert!(std::sync::Arc::ptr_eq(&one, &same));
//! assert_eq!(registry.stats().circuit_breaker.len(), 1);
//! ```
//!
//! # Names
//! A name is 1 to 128 bytes without control characters. The attribute checks names at compile time. At run time
//! invalid names are accepted, so that no call loses its protection: an empty name becomes `(empty)`, and a long
//! name is truncated and gets a checksum. [`Registry::validate`] reports such names, and names that differ only in
//! case. A registry holds at most 16 384 names per kind. All further names share the component `__overflow__`. This
//! is reported by an event and a warning when it first happens, by [`Registry::validate`] and in the statistics.

mod accessors;
mod alerts;
mod builder;
#[cfg(feature = "chaos")]
mod chaos;
#[cfg(feature = "config-file")]
mod config_file;
mod conflicts;
mod control;
mod display;
mod dump;
mod erased;
mod explanations;
mod health;
mod making;
mod overrides;
mod saturation;
mod shelf;
mod site_stats;
mod sites;
mod stats;
mod store_gate;
mod stores;
mod switch;
mod together;
mod validate;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub use builder::{IntoComponent, PipelineBuilder};
pub use control::UnknownComponent;
pub use overrides::ChangeError;
pub use site_stats::SiteStats;
pub use stats::{ComponentStats, Stats};
pub use validate::ValidationError;

use crate::clock::Clock;
use crate::component::Environment;
use crate::config::Tables;
use crate::error_text::ErrorText;
use crate::name;
use crate::observe::{Event, Events, Listener, Operation, Subscription};
use crate::pipeline::{Explanation, Pipeline};
use crate::random::Random;
use crate::store::{Connectors, NamedStores};
use crate::switch::Switch;
use crate::sync::Mutex;
use conflicts::Conflicts;
use shelf::{Shelf, Shelves};
use switch::Orders;

/// A set of named components with a common clock.
///
/// Cheap to clone. Clones refer to the same registry.
///
/// ```
/// use resilient_runtime::{Kind, Registry};
///
/// let registry = Registry::new();
/// registry.clone().timeout("gateway");
/// assert!(registry.names().contains(&(Kind::Timeout, vec!["gateway".to_owned()])));
/// ```
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    environment: Environment,
    /// Whether this is the global registry, which annotated functions use unless they name another one.
    is_global: bool,
    shelves: Shelves,
    stores: Arc<NamedStores>,
    connectors: Arc<Connectors>,
    operations: Shelf<Operation>,
    /// The explanations of pipelines built without the attribute. Pipelines of sites are explained on request.
    explanations: Mutex<BTreeMap<String, Explanation>>,
    /// The pipelines of sites that name this registry, by the address of the site.
    pipelines: Mutex<BTreeMap<usize, Arc<Pipeline>>>,
    conflicts: Mutex<Conflicts>,
    /// If off, calls skip the stages of all pipelines.
    switch: Switch,
    #[cfg(feature = "chaos")]
    chaos: Arc<crate::chaos::Shared>,
    orders: Mutex<Orders>,
    /// The settings from files and the environment, also for components that do not exist yet.
    overrides: Mutex<Tables>,
    /// Held while `overrides` and then the components are changed.
    configuring: Mutex<()>,
    /// Held while alerts are evaluated.
    evaluating: Mutex<()>,
}

static GLOBAL: OnceLock<Registry> = OnceLock::new();

/// Returns the global registry.
///
/// ```
/// let breaker = resilient_runtime::registry().circuit_breaker("payment");
/// breaker.force_open();
/// assert_eq!(resilient_runtime::stats().circuit_breaker["payment"].state, breaker.state());
/// ```
pub fn registry() -> &'static Registry {
    GLOBAL.get_or_init(|| Registry::make(Clock::system(), None, true))
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// Creates a separate registry on the system clock.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    ///
    /// Registry::new().timeout("gateway");
    /// assert!(Registry::new().stats().timeout.is_empty(), "nothing is shared");
    /// ```
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// Creates a separate registry on `clock`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let breaker = Registry::with_clock(time.clock()).circuit_breaker("payment");
    /// time.advance(Duration::from_mins(2));
    /// assert_eq!(breaker.stats().unchanged_for, Duration::from_mins(2));
    /// ```
    pub fn with_clock(clock: Clock) -> Self {
        Self::make(clock, None, false)
    }

    /// Creates a separate registry with reproducible jitter.
    ///
    /// ```
    /// use resilient_runtime::{Registry, clock::ManualClock};
    ///
    /// let pauses = |seed: u64| {
    ///     let time = ManualClock::new();
    ///     let began = time.clock().now();
    ///     Registry::with_seed(time.clock(), seed).retry("stock").call(|| None::<u32>);
    ///     time.clock().now().since(began)
    /// };
    /// assert_eq!(pauses(7), pauses(7));
    /// assert_ne!(pauses(7), pauses(8));
    /// ```
    pub fn with_seed(clock: Clock, seed: u64) -> Self {
        Self::make(clock, Some(seed), false)
    }

    /// Installs a global registry on `clock`, before its first use.
    ///
    /// With [`Clock::tokio`], functions that name no registry follow `tokio::time::pause`.
    ///
    /// ```
    /// use resilient_runtime::{Registry, clock::Clock};
    ///
    /// assert!(Registry::install(Clock::tokio()).is_ok());
    /// assert!(Registry::install(Clock::system()).is_err(), "already installed");
    /// ```
    ///
    /// # Errors
    /// Returns [`AlreadyInstalled`] if the global registry is already in use.
    pub fn install(clock: Clock) -> Result<(), AlreadyInstalled> {
        GLOBAL.set(Self::make(clock, None, true)).map_err(|_| AlreadyInstalled)
    }

    fn make(clock: Clock, seed: Option<u64>, is_global: bool) -> Self {
        let random = Arc::new(Random::new(seed));
        let (events, switch) = (Events::default(), Switch::default());
        #[cfg(feature = "chaos")]
        let chaos = {
            let (clock, events, switch) = (clock.clone(), events.clone(), switch.clone());
            Arc::new(crate::chaos::Shared::new(clock, events, Arc::clone(&random), switch))
        };
        Self(Arc::new(Inner {
            environment: Environment { clock, events, random },
            is_global,
            shelves: Shelves::default(),
            stores: Arc::default(),
            connectors: Arc::default(),
            operations: Shelf::default(),
            explanations: Mutex::default(),
            pipelines: Mutex::default(),
            conflicts: Mutex::default(),
            switch,
            #[cfg(feature = "chaos")]
            chaos,
            orders: Mutex::default(),
            overrides: Mutex::default(),
            configuring: Mutex::default(),
            evaluating: Mutex::default(),
        }))
    }

    /// Returns the clock of all components.
    ///
    /// ```
    /// use resilient_runtime::{Registry, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let registry = Registry::with_clock(time.clock());
    /// assert_eq!(registry.clock().now(), time.clock().now());
    /// ```
    pub fn clock(&self) -> &Clock {
        &self.0.environment.clock
    }

    /// Returns whether both values refer to the same registry.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    ///
    /// let registry = Registry::new();
    /// assert!(registry.is_same(&registry.clone()));
    /// assert!(!registry.is_same(&Registry::new()));
    /// ```
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Sets the rule for the texts of errors.
    ///
    /// It applies to statistics, events, logs, spans, the reasons of rejections and degraded results, and the
    /// output of health checks. By default the full text is stored, truncated to
    /// [`ERROR_TEXT_BYTES`](crate::observe::ERROR_TEXT_BYTES). Texts that are already stored do not change.
    ///
    /// ```
    /// use resilient_runtime::{Registry, observe::ErrorText};
    ///
    /// let registry = Registry::new();
    /// registry.set_error_text(ErrorText::Off);
    /// let pipeline = registry.pipeline("disk").build();
    /// let read = || std::fs::read("/no/such/file");
    /// pipeline.request().describe(|error: &std::io::Error, texts| texts.error(error)).call(read).unwrap_err();
    /// assert_eq!(pipeline.stats().last_error, None);
    /// ```
    pub fn set_error_text(&self, rule: ErrorText) {
        self.0.environment.texts().set(rule);
    }

    /// Returns how often formatting the text of an error panicked.
    ///
    /// The panic can come from the `Display` of the error or from the redactor of
    /// [`set_error_text`](Self::set_error_text). The text is then missing.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::Registry::new().error_text_panics(), 0);
    /// ```
    pub fn error_text_panics(&self) -> u64 {
        self.0.environment.texts().panics()
    }

    /// Subscribes to all events from now on. A [`Subscription`] is bounded.
    ///
    /// ```
    /// use resilient_runtime::{EventKind, Registry};
    ///
    /// let registry = Registry::new();
    /// let mut events = registry.subscribe();
    /// registry.circuit_breaker("payment").force_open();
    /// let event = events.try_recv().unwrap();
    /// assert_eq!(event.component, "payment");
    /// assert!(matches!(event.what, EventKind::Transition { to: "forced_open", .. }));
    /// ```
    pub fn subscribe(&self) -> Subscription {
        self.0.environment.events.subscribe()
    }

    /// Calls a function with each event from now on.
    ///
    /// The function runs on a separate thread until the listener is dropped. Use it in programs that are not
    /// asynchronous. Asynchronous programs use [`subscribe`](Self::subscribe).
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// let listener = registry.listen(|event| println!("{}: {:?}", event.component, event.what))?;
    /// registry.circuit_breaker("payment").force_open();
    /// # assert_eq!(listener.panics(), 0);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if no thread can be started.
    pub fn listen(&self, listener: impl FnMut(&Event) + Send + 'static) -> std::io::Result<Listener> {
        Listener::start(self.subscribe(), listener)
    }

    pub(crate) fn operation(&self, name: &str) -> Arc<Operation> {
        let normal = name::normal(name);
        let (operation, overflows) = self.0.operations.get_or_make(&normal, Operation::new);
        if overflows {
            Self::warn_of_names("operation", name);
        }
        operation
    }

    pub(crate) fn explain_as(&self, name: &str, explanation: Explanation) {
        // Bounded by the number of operations.
        self.0.explanations.lock().insert(name.to_owned(), explanation);
    }

    /// Returns whether annotated functions that name no registry use this one.
    pub(crate) fn is_global(&self) -> bool {
        self.0.is_global
    }
}

/// The error returned if the global registry is already in use.
///
/// ```
/// use resilient_runtime::{Registry, clock::Clock};
///
/// resilient_runtime::registry();
/// let error = Registry::install(Clock::tokio()).unwrap_err();
/// assert!(error.to_string().contains("install the clock at the start of `main`"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the global registry is already in use; install the clock at the start of `main`")]
pub struct AlreadyInstalled;

#[cfg(all(test, not(resilient_loom)))]
mod extremes;
#[cfg(all(test, not(resilient_loom)))]
mod overrides_tests;
#[cfg(all(test, not(resilient_loom)))]
mod tests;
