//! Whether the process works, for those who route calls to it and those who restart it.
//!
//! - A check has a probe, asynchronous or blocking, that is bounded in time. Its answer is cached, and all who ask at the
//!   same time share one probe; one that hangs delays no other.
//! - It takes three failures in a row for a check to fail, and one success to pass again: what flaps does not. One that
//!   has never passed has failed, but for liveness.
//! - Four [kinds](CheckKind): *startup*, *liveness*, *readiness*, *deep*. Until all startup checks have passed once the
//!   process is not ready, and nothing else is asked.
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
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

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
pub struct HealthCheck {
    core: Core<Config>,
    /// Who asks has it while it asks; the others wait for it, and find the answer there.
    turn: Semaphore,
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
        self.state.lock().probe = Some(Probe::of_async(probe));
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
        self.state.lock().probe = Some(Probe::of_blocking(probe));
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
    /// If the future is dropped while it asks, another who waits asks.
    pub async fn check(&self) -> Stats {
        if !self.is_fresh()
            && let Ok(_turn) = self.turn.acquire().await
            && !self.is_fresh()
        {
            self.ask().await;
        }
        self.stats()
    }

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
        self.observe(&config, Last { at: now, took, problem });
    }

    fn observe(&self, config: &Config, last: Last) {
        let succeeded = last.problem.is_none();
        let changed = {
            let mut state = self.state.lock();
            state.probes += 1;
            state.failed += u64::from(!succeeded);
            state.last = Some(last);
            state.standing.observe(succeeded, config)
        };
        if changed {
            let Stats { status, output, .. } = self.stats();
            let (name, status) = (self.core.name, status.as_str());
            tracing::warn!(target: "resilient::health", check = %name, status, ?output, "health changed");
            self.core.publish(Self::KIND, Happening::HealthChanged { status });
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
        timer.as_mut().map_or(Poll::Pending, |timer| std::pin::Pin::new(timer).poll(cx).map(|()| None))
    })
    .await
}

impl Create for HealthCheck {
    fn create(core: Core<Config>) -> Self {
        let standing = Standing::new(core.config().kind);
        let state = State { probe: None, standing, last: None, probes: 0, failed: 0 };
        Self { core, turn: Semaphore::new(1), state: Mutex::new(state) }
    }

    fn core(&self) -> &Core<Config> {
        &self.core
    }
}

impl Component for HealthCheck {
    const KIND: Kind = Kind::Health;
    type Config = Config;
    type Stats = Stats;

    fn name(&self) -> &str {
        self.core.name
    }

    fn stats(&self) -> Stats {
        let config = self.core.config();
        let state = self.state.lock();
        let failing = if config.degrades_only { Status::Warn } else { Status::Fail };
        Stats {
            kind: config.kind,
            status: if state.standing.passes { Status::Pass } else { failing },
            probes: state.probes,
            failed: state.failed,
            took: state.last.as_ref().map(|last| last.took),
            output: state.last.as_ref().and_then(|last| last.problem.clone()),
        }
    }

    /// Forgets what the probes said; the probe stays.
    fn reset(&self) {
        let kind = self.core.config().kind;
        {
            let mut state = self.state.lock();
            let probe = state.probe.take();
            *state = State { probe, standing: Standing::new(kind), last: None, probes: 0, failed: 0 };
        }
        self.core.publish(Self::KIND, Happening::Reset);
    }

    fn config(&self) -> Arc<Config> {
        self.core.config()
    }

    /// A check of another kind begins anew.
    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        let before = self.core.config().kind;
        self.core.reconfigure(Self::KIND, config, |config| {
            let mut state = self.state.lock();
            if config.kind != before && state.probes == 0 {
                state.standing = Standing::new(config.kind);
            }
        })
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
