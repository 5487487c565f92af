//! A backend inside of a timeout, a circuit breaker and a bulkhead, so that a store that fails does not slow down calls.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::connector::Connectors;
use super::gate::{Gate, Pass, Refused};
use super::stats::{Counters, Stats};
use super::wait::within;
use super::worker::{AfterDrop, Need, TaskThread};
use super::{Backend, Config, StoreError};
use crate::clock::{Instant, nanos};
use crate::component::{Core, Environment};
use crate::kind::Kind;
use crate::observe::{Event, EventKind, LogLimit, log_limited};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};

/// A request that is dropped after this time counts as failed, if the store has not answered any request since.
/// Otherwise a store that hangs would never count as degraded if its callers have less time than its time limit.
const SILENT: Duration = Duration::from_millis(20);

/// The last error, if none is known.
const UNKNOWN: &str = "no reason is known";

#[derive(Debug)]
pub(crate) struct Guard {
    pub(super) name: &'static str,
    pub(super) environment: Environment,
    connectors: Arc<Connectors>,
    link: Mutex<Link>,
    /// Whether the program or the settings say where the store is. Relaxed: a setting.
    is_configured: AtomicBool,
    /// When the store answered last, in nanoseconds of the clock. Relaxed: only a hint about an outage.
    answered: AtomicU64,
    gate: Box<dyn Gate>,
    /// In nanoseconds. Relaxed: a setting.
    timeout: AtomicU64,
    /// Whether the event that the store is degraded was published.
    is_degraded: AtomicBool,
    /// Since when, in nanoseconds of the clock. Relaxed: only shown.
    degraded_since: AtomicU64,
    last_error: Mutex<Option<Arc<str>>>,
    pub(super) counters: Counters,
    log_limit: LogLimit,
    pub(super) background: TaskThread,
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
    /// Counts the changes, so that a store that was opened for earlier settings is not used.
    version: u64,
}

impl Link {
    /// Returns the store that was in use, to be dropped without the lock.
    fn change(&mut self) -> Option<Arc<dyn Backend>> {
        self.version += 1;
        self.open.take()
    }
}

impl Guard {
    pub(super) fn new(core: &Core<Config>, connectors: Arc<Connectors>, gate: Box<dyn Gate>) -> Self {
        let environment = core.environment.clone();
        let guard = Self {
            name: core.name,
            connectors,
            link: Mutex::default(),
            is_configured: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            gate,
            timeout: AtomicU64::new(0),
            is_degraded: AtomicBool::new(false),
            degraded_since: AtomicU64::new(0),
            last_error: Mutex::default(),
            counters: Counters::default(),
            log_limit: LogLimit::default(),
            background: TaskThread::new("resilient-store", AfterDrop::DropTasks),
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
        let is_elsewhere = link.settings.place() != settings.place();
        link.settings = settings.clone();
        // The next request connects with the new settings.
        let unused = if is_elsewhere { link.change() } else { None };
        self.is_configured.store(link.given.is_some() || settings.has_url(), Ordering::Relaxed);
        drop(link);
        drop(unused);
    }

    /// Replaces the store that the program registered.
    pub(super) fn give(&self, backend: Arc<dyn Backend>) {
        let mut link = self.link.lock();
        let earlier = link.given.replace(backend);
        let unused = link.change();
        self.is_configured.store(true, Ordering::Relaxed);
        drop(link);
        drop((earlier, unused));
    }

    /// Whether the program or the settings say where the store is.
    pub(crate) fn is_configured(&self) -> bool {
        self.is_configured.load(Ordering::Relaxed)
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
        let (settings, given, version) = {
            let link = self.link.lock();
            if let Some(open) = &link.open {
                return Ok(Arc::clone(open));
            }
            (link.settings.clone(), link.given.clone(), link.version)
        };
        // Without the lock: it reads a file, and calls a connector.
        let unusable = |problem: String| StoreError::Unavailable(format!("store `{}`: {problem}", self.name));
        let opened = match settings.whole_url().map_err(unusable)? {
            Some(url) => self.connectors.connect(url.expose(), &settings).map_err(unusable)?,
            None => given.ok_or_else(|| {
                let name = self.name;
                unusable(format!(
                    "it is not registered: call `registry.use_store(\"{name}\", ..)`, or set `url` in `[store.{name}]`"
                ))
            })?,
        };
        let mut link = self.link.lock();
        if link.version != version {
            // The settings have changed since. The next request uses them.
            return Ok(opened);
        }
        Ok(Arc::clone(link.open.get_or_insert(opened)))
    }

    /// The store in use, if it is open.
    pub(super) fn open_backend(&self) -> Option<Arc<dyn Backend>> {
        self.link.lock().open.clone()
    }

    /// Where the store is, without opening it.
    fn address(&self) -> Option<String> {
        let (open, given, url) = {
            let link = self.link.lock();
            (link.open.clone(), link.given.clone(), link.settings.place().shown())
        };
        open.map(|open| open.address()).or(url).or_else(|| given.map(|given| given.address()))
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
        self.in_time(self.request(need, send)).await
    }

    /// Whether faults can delay requests, which needs a timer.
    #[cfg_attr(not(feature = "chaos"), allow(clippy::unused_self))] // the same signature with the feature
    pub(crate) fn may_delay(&self) -> bool {
        #[cfg(feature = "chaos")]
        return self.faults.is_set();
        #[cfg(not(feature = "chaos"))]
        false
    }

    /// Waits for a request up to the time limit of the store. Needs a tokio runtime with a timer.
    pub(crate) async fn in_time<T>(
        &self,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let clock = &self.environment.clock;
        within(clock, clock.now().after(self.timeout()), request).await
    }

    /// Starts work that continues after the call that started it. It may use timers, but no I/O of tokio.
    ///
    /// # Errors
    /// Returns why the thread of the store cannot be started.
    pub(crate) fn start(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        self.background.start(task)
    }

    /// Like [`start`](Self::start), for a task that can be left out. That is logged.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Err(problem) = self.background.start(task) {
            log_limited!(
                self.log_limit, &self.environment.clock, ERROR, target: "resilient_runtime::store",
                store = self.name, problem, "a task of the store was not started"
            );
        }
    }

    fn enter(&self, need: Need) -> Result<Entered<'_>, StoreError> {
        let pass = match self.gate.enter() {
            Ok(pass) => Some(pass),
            Err(_) if need == Need::Required => None,
            Err(refused) => {
                self.counters.rejected.count();
                return Err(StoreError::NotSent(self.why(refused)));
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
        let now = self.environment.clock.now();
        let what = if is_degraded {
            self.degraded_since.store(now.as_nanos(), Ordering::Relaxed);
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
        let since = Instant::from_nanos(self.degraded_since.load(Ordering::Relaxed));
        Stats {
            address: self.address(),
            degraded: is_degraded,
            degraded_for: is_degraded.then(|| self.environment.clock.now().since(since)),
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

impl Drop for Guard {
    fn drop(&mut self) {
        self.leave();
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
        match outage {
            Some(error) => self.guard.failed(error),
            None => {
                let now = self.guard.environment.clock.now();
                self.guard.answered.store(now.as_nanos(), Ordering::Relaxed);
            }
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
        let Some(pass) = self.pass.take() else { return };
        let took = self.guard.environment.clock.now().since(self.began);
        let limit = self.guard.timeout();
        let is_silent = self.guard.answered.load(Ordering::Relaxed) < self.began.as_nanos();
        if took >= limit || (is_silent && took >= SILENT.min(limit)) {
            self.guard.failed(&StoreError::TimedOut);
            self.pass = Some(pass);
            self.settle(true);
        } else {
            // Dropping the pass of a thread that panics would count as a failure of the store.
            pass.leave();
        }
    }
}
