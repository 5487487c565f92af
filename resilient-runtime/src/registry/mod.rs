//! Named components of every kind: made at their first mention, shared by all who say the name.
//!
//! [`registry()`] is the process's. A test makes its own with [`Registry::new`] or
//! [`Registry::with_clock`], so that tests that run side by side share nothing.
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
//! A name is 1 to 128 bytes without control characters. The attribute checks that at compile time. At run
//! time a name is never refused, so that nobody loses their protection over it: an empty one becomes
//! `(empty)`, a longer one is cut and given a checksum. [`Registry::validate`] reports such names, and names
//! that differ in case only. A registry holds at most 16 384 names of a kind; all further ones share the
//! component `__overflow__`: the first is an event and a warning, and [`Registry::validate`] and the statistics say so.

mod accessors;
mod alerts;
mod builder;
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
use crate::idempotency::{IdempotencyStore, Stores};
use crate::name;
use crate::observe::{Event, Events, Listener, Operation, Subscription};
use crate::pipeline::{Explanation, Pipeline, Switch};
use crate::random::Random;
use crate::sync::Mutex;
use conflicts::Conflicts;
use shelf::{Shelf, Shelves};
use switch::Orders;

/// A set of named components with one clock. Cheap to clone; clones are the same registry.
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
    /// Whether this is the process's registry, which annotated functions use where they name no other.
    is_global: bool,
    shelves: Shelves,
    idempotency_stores: Arc<Stores>,
    operations: Shelf<Operation>,
    /// Pipelines built by hand, in words; those of sites are explained live.
    explanations: Mutex<BTreeMap<String, Explanation>>,
    /// The pipelines of sites that name this registry, by the address of the site.
    pipelines: Mutex<BTreeMap<usize, Arc<Pipeline>>>,
    conflicts: Mutex<Conflicts>,
    /// Off, calls pass the stages of its pipelines by.
    switch: Switch,
    orders: Mutex<Orders>,
    /// What a file and the environment say, for components to come.
    overrides: Mutex<Tables>,
    /// Held by who changes that, and then the components.
    configuring: Mutex<()>,
    /// Held by who makes the alerts look.
    evaluating: Mutex<()>,
}

static GLOBAL: OnceLock<Registry> = OnceLock::new();

/// The process's registry.
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
    /// A registry of its own on the system's clock.
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

    /// A registry of its own on `clock`.
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

    /// A registry of its own whose jitter can be repeated.
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

    /// Makes the process's registry one on `clock`, before anybody uses it. With [`Clock::tokio`] even
    /// functions that name no registry follow `tokio::time::pause`.
    ///
    /// ```
    /// use resilient_runtime::{Registry, clock::Clock};
    ///
    /// assert!(Registry::install(Clock::tokio()).is_ok());
    /// assert!(Registry::install(Clock::system()).is_err(), "there is one by now");
    /// ```
    ///
    /// # Errors
    /// When the process's registry is in use already.
    pub fn install(clock: Clock) -> Result<(), AlreadyInstalled> {
        GLOBAL.set(Self::make(clock, None, true)).map_err(|_| AlreadyInstalled)
    }

    fn make(clock: Clock, seed: Option<u64>, is_global: bool) -> Self {
        let random = Arc::new(Random::new(seed));
        Self(Arc::new(Inner {
            environment: Environment { clock, events: Events::default(), random },
            is_global,
            shelves: Shelves::default(),
            idempotency_stores: Arc::default(),
            operations: Shelf::default(),
            explanations: Mutex::default(),
            pipelines: Mutex::default(),
            conflicts: Mutex::default(),
            switch: Switch::default(),
            orders: Mutex::default(),
            overrides: Mutex::default(),
            configuring: Mutex::default(),
            evaluating: Mutex::default(),
        }))
    }

    /// The clock of all its components.
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

    /// Says what is kept of the texts of errors: in statistics, events, logs, spans and the reasons of refusals, in what
    /// health checks say, and in the reasons of degraded answers. By default all of it, cut to
    /// [`ERROR_TEXT_BYTES`](crate::observe::ERROR_TEXT_BYTES). What was kept before stays.
    ///
    /// ```
    /// use resilient_runtime::{Registry, observe::ErrorText};
    ///
    /// let registry = Registry::new();
    /// registry.set_error_text(ErrorText::Off);
    /// let pipeline = registry.pipeline("disk").build();
    /// let read = || std::fs::read("/no/such/file");
    /// pipeline.request().describe(|error: &std::io::Error, words| words.error(error)).call(read).unwrap_err();
    /// assert_eq!(pipeline.stats().last_error, None);
    /// ```
    pub fn set_error_text(&self, rule: ErrorText) {
        self.0.environment.texts().set(rule);
    }

    /// How often an error's own `Display`, or the redactor of [`set_error_text`](Self::set_error_text), has panicked. The
    /// text is then missing.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::Registry::new().error_text_panics(), 0);
    /// ```
    pub fn error_text_panics(&self) -> u64 {
        self.0.environment.texts().panics()
    }

    /// What happens from now on. See [`Subscription`] for its bound.
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

    /// Tells a function of all that happens from now on, on a thread of its own, until the listener is dropped. For programs
    /// that are not asynchronous; others read [`subscribe`](Self::subscribe).
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
    /// When there is no thread to be had.
    pub fn listen(&self, listener: impl FnMut(&Event) + Send + 'static) -> std::io::Result<Listener> {
        Listener::start(self.subscribe(), listener)
    }

    /// Tells the store that components mean whose settings say `store = "name"`; best at the start of `main`. A store
    /// of this name that was told before is not looked at any more.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{Component, Registry, idempotency::{Config, Fingerprint, MemoryStore}};
    ///
    /// let registry = Registry::new();
    /// let store = Arc::new(MemoryStore::new(registry.clock().clone(), 1000));
    /// registry.set_idempotency_store("shared", store.clone());
    /// let once = registry.idempotency("charge");
    /// once.reconfigure(Config::default().store(Arc::from("shared"))).unwrap();
    /// once.call("order 7", Fingerprint::NONE, || Some(995));
    /// assert_eq!(store.len(), 1);
    /// ```
    pub fn set_idempotency_store(&self, name: &str, store: Arc<dyn IdempotencyStore>) {
        self.0.idempotency_stores.set(name, store);
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

    /// Whether annotated functions that name no registry use this one.
    pub(crate) fn is_global(&self) -> bool {
        self.0.is_global
    }
}

/// The process's registry is in use already.
///
/// ```
/// use resilient_runtime::{Registry, clock::Clock};
///
/// resilient_runtime::registry();
/// let error = Registry::install(Clock::tokio()).unwrap_err();
/// assert!(error.to_string().contains("install the clock at the start of `main`"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process's registry is in use already; install the clock at the start of `main`")]
pub struct AlreadyInstalled;

#[cfg(all(test, not(resilient_loom)))]
mod extremes;
#[cfg(all(test, not(resilient_loom)))]
mod overrides_tests;
#[cfg(all(test, not(resilient_loom)))]
mod tests;
