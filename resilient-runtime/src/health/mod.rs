//! Whether the process works, for those who route calls to it and those who restart it.
//!
//! - A check has a probe, asynchronous or blocking, that is bounded in time. Its answer is cached, and all who ask at the
//!   same time share one probe; one that hangs delays no other. In a tokio runtime it goes on to its end, or its timeout,
//!   also when nobody waits for it any more: what it says counts, however impatient those are who ask.
//! - It takes three failures in a row for a check to fail, and one success to pass again: what flaps does not. One that
//!   has never passed has failed, but for liveness.
//! - Four [kinds](CheckKind): *startup*, *liveness*, *readiness*, *deep*. Until all startup checks have passed once the
//!   process is not ready, and nothing else is asked. Who asks for liveness does not wait for them, either.
//! - Circuit breakers that are not closed make readiness `warn`, which is still an answer of 200, and never touch
//!   liveness: to restart a process, or all of them, because a dependency is down makes an outage larger.
//!
//! [`Registry::health_report`](crate::Registry::health_report) answers in the form of
//! [`application/health+json`](https://datatracker.ietf.org/doc/draft-inadarei-api-health-check/).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use resilient::{Registry, health::{Ask, Status}};
//!
//! let registry = Registry::new();
//! registry.health("database").probe(|| async { Ok::<(), std::io::Error>(()) });
//! let report = registry.health_report(Ask::Readiness).await;
//! assert_eq!((report.status, report.http_status()), (Status::Pass, 200));
//! # }
//! ```

mod config;
mod probe;
mod report;
mod standing;
mod stats;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use config::{CheckKind, Config};
pub use report::{Ask, CheckReport, Report};
pub use stats::{Stats, Status};

use crate::clock::{BoxedTimer, Clock, Instant, NoTimer};
use crate::component::{Component, Core, Create, Kind};
use crate::observe::Happening;
use crate::settings::{ConfigError, Effective};
use crate::sync::Mutex;
use probe::Probe;
use standing::Standing;

/// Finds out whether something works. See the [module](self).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient::{Component, Registry, health::{Config, Status}};
///
/// let broker = Registry::new().health("broker");
/// broker.reconfigure(Config::default().failures(1u32)).unwrap();
/// broker.probe(|| async { Err("connection refused") });
/// assert_eq!(broker.check().await.status, Status::Fail);
/// # }
/// ```
#[derive(Debug)]
pub struct HealthCheck(Arc<Inner>);

/// Shared with a probe that goes on without who asked.
#[derive(Debug)]
struct Inner {
    core: Core<Config>,
    /// A probe has it while it is asked; the others wait for it, and find the answer there.
    turn: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    probe: Option<Probe>,
    standing: Standing,
    last: Option<Last>,
    probes: u64,
    failed: u64,
}

#[derive(Clone, Debug)]
struct Last {
    at: Instant,
    took: Duration,
    problem: Option<String>,
}

impl HealthCheck {
    /// Asks this from now on. An error fails the check, and is what the report says.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let cache = resilient::Registry::new().health("cache");
    /// cache.probe(|| async { Err("no space left") });
    /// let stats = cache.check().await;
    /// assert_eq!((stats.failed, stats.output.as_deref()), (1, Some("no space left")));
    /// # }
    /// ```
    pub fn probe<F, E>(&self, probe: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        self.0.state.lock().probe = Some(Probe::of_async(probe));
    }

    /// Asks this from now on. It may block: it runs on a thread of its own, one at a time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient::{Registry, health::Status};
    ///
    /// let disk = Registry::new().health("disk");
    /// disk.probe_blocking(|| std::fs::metadata(".").map(drop));
    /// assert_eq!(disk.check().await.status, Status::Pass);
    /// # }
    /// ```
    pub fn probe_blocking<E: std::fmt::Display>(
        &self,
        probe: impl Fn() -> Result<(), E> + Send + Sync + 'static,
    ) {
        self.0.state.lock().probe = Some(Probe::of_blocking(probe));
    }

    /// How it stands: asks the probe, unless the last answer is still good.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient::{Registry, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let database = Registry::with_clock(time.clock()).health("database");
    /// database.probe(|| async { Ok::<_, String>(()) });
    /// assert_eq!((database.check().await.probes, database.check().await.probes), (1, 1), "still good");
    /// time.advance(Duration::from_secs(1));
    /// assert_eq!(database.check().await.probes, 2);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped while it asks, the probe goes on in the tokio runtime that this happens in, and its answer
    /// counts. Outside of one another who waits asks.
    pub async fn check(&self) -> Stats {
        if !self.0.is_fresh()
            && let Ok(turn) = Arc::clone(&self.0.turn).acquire_owned().await
            && !self.0.is_fresh()
        {
            let inner = Arc::clone(&self.0);
            let asked = async move {
                inner.ask().await;
                drop(turn);
            };
            Asked(Some(Box::pin(asked))).await;
        }
        self.stats()
    }

    /// Asks the probe, if need be, without waiting for its answer.
    fn nudge(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = pin!(self.check()).poll(&mut cx);
    }
}

/// A probe that is asked.
struct Asked(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Future for Asked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let poll = self.0.as_mut().map_or(Poll::Ready(()), |asked| asked.as_mut().poll(cx));
        if poll.is_ready() {
            self.0 = None;
        }
        poll
    }
}

impl Drop for Asked {
    /// Who asked has given up. The answer is not theirs alone: a probe that hangs for longer than anybody waits would never
    /// fail. It ends with its timeout.
    fn drop(&mut self) {
        if let (Some(asked), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(asked);
        }
    }
}

impl Inner {
    fn is_fresh(&self) -> bool {
        let (config, now) = (self.core.config(), self.core.clock().now());
        let state = self.state.lock();
        if config.kind == CheckKind::Startup && state.standing.passes {
            return true;
        }
        state.last.as_ref().is_some_and(|last| now < last.at.after(config.cache))
    }

    async fn ask(&self) {
        let (config, clock) = (self.core.config(), self.core.clock());
        let probe = self.state.lock().probe.clone();
        let began = clock.now();
        let answer = match probe {
            None => Err("it has no probe".to_owned()),
            Some(probe) => {
                let asked = bounded(probe.ask(self.core.name), clock, began.after(config.timeout)).await;
                asked.unwrap_or_else(|| Err(format!("no answer within {:?}", config.timeout)))
            }
        };
        let now = clock.now();
        let took = now.since(began);
        let too_slow = || format!("it took {took:?}; at most {:?}", config.max_response.unwrap_or_default());
        let is_slow = config.max_response.is_some_and(|most| took > most);
        let problem = answer.err().or_else(|| is_slow.then(too_slow));
        let texts = &self.core.environment.texts();
        let problem = problem.map(|text| texts.clean(&text).unwrap_or_else(|| "it failed".to_owned()));
        self.observe(&config, Last { at: now, took, problem });
    }

    fn observe(&self, config: &Config, last: Last) {
        let succeeded = last.problem.is_none();
        let changed = {
            let mut state = self.state.lock();
            state.probes += 1;
            state.failed += u64::from(!succeeded);
            state.last = Some(last);
            state.standing.observe(succeeded, config).then(|| {
                let Stats { status, output, .. } = state.stats(config);
                let status = status.as_str();
                // Under the lock: checks that end at the same time are told of in their order (D2).
                self.core.put(Kind::Health, || Happening::HealthChanged { status });
                (status, output)
            })
        };
        if let Some((status, output)) = changed {
            self.core.events().deliver();
            let name = self.core.name;
            tracing::warn!(target: "resilient::health", check = %name, status, ?output, "health changed");
        }
    }

    fn stats(&self) -> Stats {
        let config = self.core.config();
        self.state.lock().stats(&config)
    }
}

impl State {
    fn stats(&self, config: &Config) -> Stats {
        let failing = if config.degrades_only { Status::Warn } else { Status::Fail };
        Stats {
            kind: config.kind,
            status: if self.standing.passes { Status::Pass } else { failing },
            probes: self.probes,
            failed: self.failed,
            took: self.last.as_ref().map(|last| last.took),
            output: self.last.as_ref().and_then(|last| last.problem.clone()),
        }
    }
}

/// What the probe answers; `None` where that takes too long. The timer is armed once the probe is pending.
async fn bounded(
    asked: impl Future<Output = Result<(), String>>,
    clock: &Clock,
    until: Instant,
) -> Option<Result<(), String>> {
    let (mut asked, mut timer) = (pin!(asked), None);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(answer) = asked.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        if timer.is_none() {
            match BoxedTimer::armed(clock, until) {
                Ok(armed) => timer = Some(armed),
                Err(NoTimer) => {
                    let what = "there is no tokio runtime with `enable_time` here";
                    return Poll::Ready(Some(Err(what.to_owned())));
                }
            }
        }
        timer.as_mut().map_or(Poll::Pending, |timer| Pin::new(timer).poll(cx).map(|()| None))
    })
    .await
}

impl Create for HealthCheck {
    fn create(core: Core<Config>) -> Self {
        let standing = Standing::new(core.config().kind);
        let state = State { probe: None, standing, last: None, probes: 0, failed: 0 };
        Self(Arc::new(Inner { core, turn: Arc::new(Semaphore::new(1)), state: Mutex::new(state) }))
    }

    fn core(&self) -> &Core<Config> {
        &self.0.core
    }
}

impl Component for HealthCheck {
    const KIND: Kind = Kind::Health;
    type Config = Config;
    type Stats = Stats;

    fn name(&self) -> &str {
        self.0.core.name
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Forgets what the probes said; the probe stays.
    fn reset(&self) {
        let kind = self.0.core.config().kind;
        {
            let mut state = self.0.state.lock();
            let probe = state.probe.take();
            *state = State { probe, standing: Standing::new(kind), last: None, probes: 0, failed: 0 };
            self.0.core.put(Self::KIND, || Happening::Reset);
        }
        self.0.core.events().deliver();
    }

    fn config(&self) -> Arc<Config> {
        self.0.core.config()
    }

    /// A check of another kind begins anew.
    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        let before = self.0.core.config().kind;
        self.0.core.reconfigure(Self::KIND, config, |config| {
            let mut state = self.0.state.lock();
            if config.kind != before && state.probes == 0 {
                state.standing = Standing::new(config.kind);
            }
        })
    }

    fn effective(&self) -> Vec<Effective> {
        self.0.core.settings.effective()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
