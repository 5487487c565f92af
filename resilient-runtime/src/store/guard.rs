//! A backend inside of a timeout, a circuit breaker and a bulkhead, so that a store that fails does not slow down calls.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::background::Background;
use super::connector::Connectors;
use super::gate::{Gate, Pass, Refused};
use super::stats::{Counters, Stats};
use super::wait::within;
use super::{Backend, Config, StoreError};
use crate::clock::{Instant, nanos};
use crate::component::{Core, Environment};
use crate::kind::Kind;
use crate::observe::{Event, EventKind, LogLimit, log_limited};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};

/// The last error, if none is known.
const UNKNOWN: &str = "no reason is known";

/// Whether a request can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The request fails at once if the store is degraded or busy.
    Optional,
    /// The request is sent in any case: it ends something that the store has acknowledged, such as a lease.
    Required,
}

#[derive(Debug)]
pub(crate) struct Guard {
    pub(super) name: &'static str,
    pub(super) environment: Environment,
    connectors: Arc<Connectors>,
    link: Mutex<Link>,
    gate: Box<dyn Gate>,
    /// In nanoseconds. Relaxed: a setting.
    timeout: AtomicU64,
    /// Whether subscribers were told that the store is degraded.
    is_degraded: AtomicBool,
    last_error: Mutex<Option<Arc<str>>>,
    pub(super) counters: Counters,
    log_limit: LogLimit,
    pub(super) background: Background,
    /// Identifies this instance in the store.
    pub(super) instance: u128,
    pub(super) live: AtomicU32,
    pub(super) announces: AtomicBool,
    #[cfg(feature = "chaos")]
    pub(super) faults: crate::chaos::OnComponent,
}

/// Where the store is.
#[derive(Debug, Default)]
struct Link {
    /// The store that the program registered.
    given: Option<Arc<dyn Backend>>,
    /// The store that is in use.
    open: Option<Arc<dyn Backend>>,
    settings: Config,
}

impl Guard {
    pub(super) fn new(core: &Core<Config>, connectors: Arc<Connectors>, gate: Box<dyn Gate>) -> Self {
        let environment = core.environment.clone();
        let guard = Self {
            name: core.name,
            connectors,
            link: Mutex::default(),
            gate,
            timeout: AtomicU64::new(0),
            is_degraded: AtomicBool::new(false),
            last_error: Mutex::default(),
            counters: Counters::default(),
            log_limit: LogLimit::default(),
            background: Background::default(),
            instance: environment.random.unique(),
            live: AtomicU32::new(1),
            announces: AtomicBool::new(false),
            #[cfg(feature = "chaos")]
            faults: crate::chaos::OnComponent::default(),
            environment,
        };
        guard.apply(&core.config());
        guard
    }

    pub(super) fn apply(&self, settings: &Config) {
        self.timeout.store(nanos(settings.timeout), Ordering::Relaxed);
        self.gate.apply(settings);
        let mut link = self.link.lock();
        if link.settings != *settings {
            // The next request connects with the new settings.
            link.open = None;
            link.settings = settings.clone();
        }
    }

    /// Replaces the store that the program registered.
    pub(super) fn give(&self, backend: Arc<dyn Backend>) {
        let mut link = self.link.lock();
        link.given = Some(backend);
        link.open = None;
    }

    /// Whether somebody said where the store is.
    pub(crate) fn is_configured(&self) -> bool {
        let link = self.link.lock();
        link.given.is_some() || link.settings.has_url()
    }

    /// The problem with the settings, if they say where the store is but it cannot be used.
    pub(super) fn problem(&self) -> Option<String> {
        if !self.is_configured() {
            return None;
        }
        self.backend().err().map(|error| error.to_string())
    }

    /// The store in use. Opens it if needed, without a connection.
    pub(crate) fn backend(&self) -> Result<Arc<dyn Backend>, StoreError> {
        let mut link = self.link.lock();
        if let Some(open) = &link.open {
            return Ok(Arc::clone(open));
        }
        let unusable = |problem: String| StoreError::Unavailable(format!("store `{}`: {problem}", self.name));
        let open = match link.settings.whole_url().map_err(unusable)? {
            Some(url) => {
                self.connectors.connect(url.expose(), &link.settings).map_err(unusable)?
            }
            None => link.given.clone().ok_or_else(|| {
                let name = self.name;
                unusable(format!(
                    "it is not registered: call `registry.use_store(\"{name}\", ..)`, or set `url` in `[store.{name}]`"
                ))
            })?,
        };
        Ok(Arc::clone(link.open.insert(open)))
    }

    /// The maximum time of a request. The caller of [`request`](Self::request) limits it.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout.load(Ordering::Relaxed))
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.gate.is_degraded()
    }

    /// Sends a request. The caller drops the future after [`timeout`](Self::timeout), which counts as a failure.
    ///
    /// # Cancel safety
    /// A request that was sent might take effect.
    pub(crate) async fn request<T, F>(
        &self,
        need: Need,
        send: impl FnOnce(Arc<dyn Backend>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let entered = self.enter(need)?;
        #[cfg(feature = "chaos")]
        if let Some(error) = self.injected().await {
            entered.end(Some(&error));
            return Err(error);
        }
        let answer = match self.backend() {
            Ok(backend) => send(backend).await,
            Err(error) => Err(error),
        };
        entered.end(answer.as_ref().err());
        answer
    }

    /// Like [`request`](Self::request), but with the time limit of the store. Needs a tokio runtime with a timer.
    pub(crate) async fn within<T, F>(
        &self,
        need: Need,
        send: impl FnOnce(Arc<dyn Backend>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let clock = &self.environment.clock;
        within(clock, clock.now().after(self.timeout()), self.request(need, send)).await
    }

    /// Whether faults can delay requests, which needs a timer.
    #[cfg_attr(not(feature = "chaos"), allow(clippy::unused_self))] // the same signature with the feature
    pub(crate) fn may_delay(&self) -> bool {
        #[cfg(feature = "chaos")]
        return self.faults.is_set();
        #[cfg(not(feature = "chaos"))]
        false
    }

    /// Starts work that continues after the call that started it. It may use timers, but no I/O of tokio.
    ///
    /// # Errors
    /// Returns why the thread of the store cannot be started.
    pub(crate) fn start(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        self.background.start(task)
    }

    fn enter(&self, need: Need) -> Result<Entered<'_>, StoreError> {
        let pass = match self.gate.enter() {
            Ok(pass) => Some(pass),
            Err(_) if need == Need::Required => None,
            Err(refused) => {
                self.counters.rejected.count();
                return Err(StoreError::Unavailable(self.why(refused)));
            }
        };
        self.counters.requests.count();
        Ok(Entered { guard: self, pass, began: self.environment.clock.now() })
    }

    fn why(&self, refused: Refused) -> String {
        let name = self.name;
        match refused {
            Refused::Degraded => {
                let last = self.last_error.lock().clone();
                format!("store `{name}` is degraded: {}", last.as_deref().unwrap_or(UNKNOWN))
            }
            Refused::Busy => {
                format!("store `{name}`: too many requests at the same time (`max_concurrent`)")
            }
        }
    }

    fn failed(&self, error: &StoreError) {
        self.counters.failures.count();
        if *error == StoreError::TimedOut {
            self.counters.timeouts.count();
        }
        let text = self.environment.texts().clean(&error.to_string());
        *self.last_error.lock() = text.map(Into::into);
    }

    /// Tells subscribers if the store became degraded or works again.
    fn tell(&self) {
        let is_degraded = self.is_degraded();
        if self.is_degraded.swap(is_degraded, Ordering::Relaxed) == is_degraded {
            return;
        }
        let name = self.name;
        let what = if is_degraded {
            let problem = self.last_error.lock().as_deref().unwrap_or(UNKNOWN).to_owned();
            log_limited!(
                self.log_limit, &self.environment.clock, ERROR, target: "resilient_runtime::store",
                store = name, problem, "the store is degraded"
            );
            EventKind::StoreDegraded { problem }
        } else {
            tracing::info!(target: "resilient_runtime::store", store = name, "the store works again");
            EventKind::StoreRecovered
        };
        self.environment.events.publish(|| Event::now(Kind::Store, name, what));
    }

    pub(super) fn stats(&self) -> Stats {
        let is_degraded = self.is_degraded();
        Stats {
            address: self.backend().ok().map(|backend| backend.address()),
            degraded: is_degraded,
            degraded_for: is_degraded.then(|| self.gate.unchanged_for()),
            requests: self.counters.requests.get(),
            failures: self.counters.failures.get(),
            timeouts: self.counters.timeouts.get(),
            rejected: self.counters.rejected.get(),
            in_flight: self.gate.in_use(),
            instances: self.announces.load(Ordering::Relaxed).then(|| self.live_instances()),
            last_error: self.last_error.lock().clone(),
        }
    }

    pub(super) fn reset(&self) {
        self.gate.reset();
        self.counters.reset();
        *self.last_error.lock() = None;
        self.tell();
    }
}

/// A request in progress.
struct Entered<'a> {
    guard: &'a Guard,
    /// `None` for a request that was refused and sent in any case.
    pass: Option<Box<dyn Pass + 'a>>,
    began: Instant,
}

impl Entered<'_> {
    fn end(mut self, error: Option<&StoreError>) {
        let outage = error.filter(|error| error.is_outage());
        if let Some(error) = outage {
            self.guard.failed(error);
        }
        self.settle(outage.is_some());
    }

    fn settle(&mut self, has_failed: bool) {
        if let Some(pass) = self.pass.take() {
            pass.end(has_failed);
            self.guard.tell();
        }
    }
}

impl Drop for Entered<'_> {
    /// The future of the request was dropped: the caller left, or the time is over.
    fn drop(&mut self) {
        let now = self.guard.environment.clock.now();
        if self.pass.is_some() && now.since(self.began) >= self.guard.timeout() {
            self.guard.failed(&StoreError::TimedOut);
            self.settle(true);
        }
    }
}
