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

mod alerts;
mod builder;
#[cfg(feature = "config-file")]
mod config_file;
mod conflicts;
mod display;
mod dump;
mod health;
pub(crate) mod kinds;
pub(crate) mod name;
mod overrides;
mod saturation;
mod shelf;
mod sites;
mod stats;
mod together;
mod validate;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub use builder::{IntoComponent, PipelineBuilder};
pub use overrides::ChangeError;
pub use stats::{ComponentStats, SiteStats, Stats, UnknownComponent};
pub use validate::ValidationError;

use crate::alert::Alert;
use crate::budget::RetryBudget;
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::clock::Clock;
use crate::coalesce::Coalesce;
use crate::component::{Core, Create, Environment, Kind, lasting};
use crate::config::{Source, Tables};
use crate::fallback::Fallback;
use crate::health::HealthCheck;
use crate::hedge::Hedge;
use crate::idempotency::{Idempotency, IdempotencyStore, Stores};
use crate::load_shed::LoadShedder;
use crate::observe::{ErrorText, Event, EventKind, Events, Listener, Operation, Subscription};
use crate::pipeline::{Explanation, Pipeline, Switch};
use crate::random::Random;
use crate::rate_limit::RateLimiter;
use crate::retry::Retry;
use crate::settings::{ConfigError, Layered, Setting, SettingLayers, Settings, lay_attribute, lay_overrides};
use crate::site::{self, Site};
use crate::sync::Mutex;
use crate::timeout::Timeout;
use conflicts::Conflicts;
use shelf::Shelf;

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
    circuit_breakers: Shelf<CircuitBreaker>,
    retries: Shelf<Retry>,
    retry_budgets: Shelf<RetryBudget>,
    bulkheads: Shelf<Bulkhead>,
    timeouts: Shelf<Timeout>,
    fallbacks: Shelf<Fallback>,
    rate_limiters: Shelf<RateLimiter>,
    load_shedders: Shelf<LoadShedder>,
    hedges: Shelf<Hedge>,
    coalescers: Shelf<Coalesce>,
    idempotencies: Shelf<Idempotency>,
    config_sources: Shelf<Source>,
    health_checks: Shelf<HealthCheck>,
    alerts: Shelf<Alert>,
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

/// Who wants protection on or off.
#[derive(Debug, Default)]
struct Orders {
    overridden: Option<bool>,
    runtime: Option<bool>,
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
            circuit_breakers: Shelf::default(),
            retries: Shelf::default(),
            retry_budgets: Shelf::default(),
            bulkheads: Shelf::default(),
            timeouts: Shelf::default(),
            fallbacks: Shelf::default(),
            rate_limiters: Shelf::default(),
            load_shedders: Shelf::default(),
            hedges: Shelf::default(),
            coalescers: Shelf::default(),
            idempotencies: Shelf::default(),
            config_sources: Shelf::default(),
            health_checks: Shelf::default(),
            alerts: Shelf::default(),
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

    /// Switches the protection of all annotated functions and pipelines of this registry off, or on again.
    ///
    /// Off, a call goes straight to its body, and to its fallback should that fail: nothing is refused, queued, repeated,
    /// limited in time or shared, and components see nothing of it. Operations count it as always. A call keeps to what
    /// was in force when it began, and gives back what it holds. What uses a component by hand is not affected, nor are
    /// idempotency keys, which protect the user from being charged twice and not the program from a bad day.
    ///
    /// From outside of the program `enabled = false` at the top of a settings file does the same, and so does
    /// `RESILIENT__ENABLED=false`. What is said here counts more, until both say the same again.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection};
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("checkout").circuit_breaker("payment").build();
    /// registry.circuit_breaker("payment").force_open();
    /// registry.set_enabled(false);
    /// assert_eq!(pipeline.call(|| Ok::<_, Rejection>(1)).unwrap(), 1);
    /// registry.set_enabled(true);
    /// assert!(pipeline.call(|| Ok::<_, Rejection>(1)).is_err());
    /// ```
    pub fn set_enabled(&self, enabled: bool) {
        self.order(|orders| orders.runtime = Some(enabled));
    }

    /// What a file or the environment say about the switch.
    fn set_enabled_by_override(&self, enabled: Option<bool>) {
        self.order(|orders| orders.overridden = enabled);
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.0.orders.lock();
        change(&mut orders);
        let by_override = orders.overridden.unwrap_or(true);
        // Of one opinion: from here on the outside is heard again.
        orders.runtime = orders.runtime.filter(|runtime| *runtime != by_override);
        let enabled = orders.runtime.unwrap_or(by_override);
        let before = self.0.switch.set(enabled);
        drop(orders);
        if before != enabled {
            tracing::warn!(target: "resilient_runtime::registry", enabled, "protection switched");
        }
    }

    /// Whether protection is [switched on](Self::set_enabled).
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// assert!(registry.is_enabled());
    /// registry.set_enabled(false);
    /// assert!(!registry.is_enabled());
    /// ```
    pub fn is_enabled(&self) -> bool {
        self.0.switch.is_on()
    }

    /// Says what is kept of the texts of errors: in statistics, events, logs, spans and the reasons of refusals, in what
    /// health checks say, and in the reasons of degraded answers. By default all of it, cut to
    /// [`ERROR_TEXT_BYTES`](crate::observe::ERROR_TEXT_BYTES). What was kept before stays.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict, observe::ErrorText};
    ///
    /// let registry = Registry::new();
    /// registry.set_error_text(ErrorText::Off);
    /// let pipeline = registry.pipeline("disk").build();
    /// let read = || std::fs::read("/no/such/file");
    /// pipeline.call_described(read, Verdict::of, |error, words| words.error(error)).unwrap_err();
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

    /// The circuit breaker of this name.
    ///
    /// ```
    /// use resilient_runtime::{Registry, circuit_breaker::State};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// assert_eq!(breaker.state(), State::Closed);
    /// ```
    pub fn circuit_breaker(&self, name: &str) -> Arc<CircuitBreaker> {
        self.component(&self.0.circuit_breakers, name, None)
    }

    /// The retry of this name.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let retry = Registry::new().retry("stock");
    /// assert_eq!((retry.name(), retry.config().max), ("stock", 3));
    /// ```
    pub fn retry(&self, name: &str) -> Arc<Retry> {
        self.retry_with(name, None)
    }

    /// The retry budget of this name, which retries share that say `budget = "name"`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{Kind, Registry, config::Tables, settings::Raw};
    ///
    /// let mut tables = Tables::default();
    /// tables.set(Kind::Retry, Some("stock"), "budget", &Raw::Text("backend".into())).unwrap();
    /// let registry = Registry::new();
    /// registry.apply("mine", &tables).unwrap();
    /// assert!(Arc::ptr_eq(registry.retry("stock").budget(), &registry.retry_budget("backend")));
    /// ```
    pub fn retry_budget(&self, name: &str) -> Arc<RetryBudget> {
        self.component(&self.0.retry_budgets, name, None)
    }

    /// The bulkhead of this name.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let bulkhead = Registry::new().bulkhead("gateway");
    /// assert_eq!(bulkhead.stats().available, 64);
    /// ```
    pub fn bulkhead(&self, name: &str) -> Arc<Bulkhead> {
        self.component(&self.0.bulkheads, name, None)
    }

    /// The timeout of this name.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let timeout = Registry::new().timeout("report");
    /// assert_eq!(timeout.config().total, Some(Duration::from_mins(1)));
    /// ```
    pub fn timeout(&self, name: &str) -> Arc<Timeout> {
        self.component(&self.0.timeouts, name, None)
    }

    /// The fallback of this name.
    ///
    /// ```
    /// let fallback = resilient_runtime::Registry::new().fallback("rates");
    /// fallback.keep("EUR", 1.1);
    /// assert!(fallback.last_good::<f64, _>("EUR").is_some());
    /// ```
    pub fn fallback(&self, name: &str) -> Arc<Fallback> {
        self.component(&self.0.fallbacks, name, None)
    }

    /// The rate limiter of this name.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let limiter = Registry::new().rate_limiter("login");
    /// assert_eq!(limiter.config().rate, None, "it limits nothing until it is given a rate");
    /// assert!((0..1000).all(|_| limiter.try_acquire().is_ok()));
    /// ```
    pub fn rate_limiter(&self, name: &str) -> Arc<RateLimiter> {
        self.component(&self.0.rate_limiters, name, None)
    }

    /// The load shedder of this name.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let shedder = Registry::new().load_shedder("api");
    /// let call = shedder.try_acquire().unwrap();
    /// assert_eq!(shedder.stats().in_flight, 1);
    /// # drop(call);
    /// ```
    pub fn load_shedder(&self, name: &str) -> Arc<LoadShedder> {
        self.component(&self.0.load_shedders, name, None)
    }

    /// The hedge of this name.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let hedge = Registry::new().hedge("search");
    /// assert_eq!(hedge.stats().delay, None, "not known until enough attempts were seen");
    /// ```
    pub fn hedge(&self, name: &str) -> Arc<Hedge> {
        self.component(&self.0.hedges, name, None)
    }

    /// The coalescer of this name.
    ///
    /// ```
    /// let rates = resilient_runtime::Registry::new().coalesce("rates");
    /// assert_eq!(rates.call("EUR", || Some(1.1)), Some(1.1));
    /// ```
    pub fn coalesce(&self, name: &str) -> Arc<Coalesce> {
        self.component(&self.0.coalescers, name, None)
    }

    /// The idempotency of this name.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, idempotency::Fingerprint};
    ///
    /// let once = Registry::new().idempotency("charge");
    /// let charge = |cents| once.call("order 7", Fingerprint::NONE, || Ok::<u32, Rejection>(cents));
    /// assert_eq!((charge(995), charge(1)), (Ok(995), Ok(995)));
    /// ```
    pub fn idempotency(&self, name: &str) -> Arc<Idempotency> {
        self.idempotency_with(name, None)
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

    /// The health check of this name.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, health::CheckKind};
    ///
    /// let database = Registry::new().health("database");
    /// database.probe_blocking(|| Ok::<_, String>(()));
    /// assert_eq!(database.stats().kind, CheckKind::Readiness);
    /// ```
    pub fn health(&self, name: &str) -> Arc<HealthCheck> {
        self.component(&self.0.health_checks, name, None)
    }

    /// The alert of this name.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let alert = Registry::new().alert("errors");
    /// assert_eq!(alert.stats().severity, None, "nothing is wrong so far");
    /// ```
    pub fn alert(&self, name: &str) -> Arc<Alert> {
        self.component(&self.0.alerts, name, None)
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

    // Making components ----------------------------------------------------------------------------------

    fn component<C: Create>(&self, kept: &Shelf<C>, name: &str, by: Option<By>) -> Arc<C> {
        self.component_from(kept, name, by, C::create)
    }

    fn retry_with(&self, name: &str, by: Option<By>) -> Arc<Retry> {
        self.component_from(&self.0.retries, name, by, |core| {
            let shared = core.config().shared_budget().cloned();
            Retry::with_budget(core, shared.map(|name| self.retry_budget(&name)))
        })
    }

    fn idempotency_with(&self, name: &str, by: Option<By>) -> Arc<Idempotency> {
        let stores = &self.0.idempotency_stores;
        let create = |core| Idempotency::with_stores(core, Arc::clone(stores));
        self.component_from(&self.0.idempotencies, name, by, create)
    }

    /// Gets or makes a component. What attributes say about it is laid under what it is told at run time.
    fn component_from<C: Create>(
        &self,
        kept: &Shelf<C>,
        name: &str,
        by: Option<By>,
        create: impl FnOnce(Core<C::Config>) -> C,
    ) -> Arc<C> {
        if let (Some(found), None) = (kept.get(name), by) {
            return found;
        }
        let name = name::normal(name);
        let settings = self.settings_for(C::KIND, &name, by);
        let mut made = None;
        let (component, overflows) = kept.get_or_make(&name, |name| {
            let (layered, refused) = Layered::new(settings, self.0.overrides.lock().of(C::KIND, name));
            made = Some(refused);
            create(Core { name, environment: self.0.environment.clone(), settings: layered })
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

    /// H10: loudly, once for each kind.
    #[cold]
    fn too_many_names(&self, kind: Kind, name: &str) {
        Self::warn_of_names(kind.as_str(), name);
        let what = EventKind::TooManyNames { name: name.to_owned() };
        self.0.environment.events.publish(|| Event::now(kind, shelf::OVERFLOW, what));
    }

    fn warn_of_names(kind: &str, name: &str) {
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
    fn settings_for(&self, kind: Kind, name: &Arc<str>, by: Option<By>) -> &'static [Setting] {
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

    /// Whether annotated functions that name no registry use this one.
    pub(crate) fn is_global(&self) -> bool {
        self.0.is_global
    }
}

/// The place in the source that asks for a component.
#[derive(Clone, Copy)]
struct By {
    settings: &'static [Setting],
    site: &'static Site,
}

impl By {
    fn place(&self) -> site::Place {
        self.site.place()
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
