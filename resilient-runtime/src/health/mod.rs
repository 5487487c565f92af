//! Health checks for load balancers and orchestrators.
//!
//! - A check has an asynchronous or blocking probe with a timeout. The result is cached. Concurrent reports share
//!   one probe, and a probe that hangs does not delay other checks. In a tokio runtime a probe runs until it
//!   finishes or times out, even if all callers stop waiting. A probe whose task is no longer polled is abandoned
//!   after its timeout, and the next report starts a new one.
//! - A check fails after three consecutive failures (`failures`) and passes again after one success (`successes`),
//!   so isolated failures do not change the status. A check that has been probed but has never passed counts as
//!   failed, except for a liveness check.
//! - A check is [`Unknown`](Status::Unknown) until its first result, and again when its last result is older than
//!   three times `interval` plus `timeout`. [`Registry::watch_health`](crate::Registry::watch_health) probes all
//!   checks except deep ones once per `interval`. The admin API of `resilient-http` runs it.
//! - There are four [kinds](CheckKind): *startup*, *liveness*, *readiness*, *deep*. Until all startup checks have
//!   passed once, the process is not ready and no other checks are probed. Liveness reports do not wait for startup
//!   checks.
//! - A circuit breaker that is open or half-open degrades readiness to `warn`, which is still HTTP status 200, and
//!   never affects liveness. Restarting processes because a dependency is down makes an outage larger.
//!
//! [`Registry::health_report`](crate::Registry::health_report) returns a report in the format of
//! [`application/health+json`](https://datatracker.ietf.org/doc/draft-inadarei-api-health-check/).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use resilient_runtime::{Registry, health::{Ask, Status}};
//!
//! let registry = Registry::new();
//! registry.health("database").probe(|| async { Ok::<(), std::io::Error>(()) });
//! let report = registry.health_report(Ask::Readiness).await;
//! assert_eq!((report.status, report.http_status()), (Status::Pass, 200));
//! # }
//! ```

mod check_state;
mod config;
#[cfg(feature = "chaos")]
mod flap;
mod probe;
mod report;
mod stats;
mod turn;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

pub use config::{CheckKind, Config};
pub use report::{Ask, CheckReport, Report};
pub use stats::{Stats, Status};

use crate::clock::{BoxedTimer, Clock, Instant, NoTimer};
use crate::component::{Component, Core, Create, Kind};
use crate::observe::EventKind;
use crate::settings::ConfigError;
use crate::sync::Mutex;
use check_state::CheckState;
use probe::Probe;
use turn::{Step, Turn};

/// Checks whether a part of the system works.
///
/// See the [module documentation](self).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{HealthCheck, health::{Config, Status}};
///
/// let broker = HealthCheck::new(Config::default().failures(1)).unwrap();
/// broker.probe(|| async { Err("connection refused") });
/// assert_eq!(broker.check().await.status, Status::Fail);
/// # }
/// ```
#[derive(Debug)]
pub struct HealthCheck(Arc<Inner>);

/// The state shared with a probe that outlives its caller.
#[derive(Debug)]
struct Inner {
    core: Core<Config>,
    /// Notified when a probe ends, with or without a result.
    ended: Notify,
    state: Mutex<State>,
    #[cfg(feature = "chaos")]
    faults: crate::chaos::OnComponent,
}

#[derive(Debug)]
struct State {
    probe: Option<Probe>,
    streak: CheckState,
    last: Option<Last>,
    probes: u64,
    failed: u64,
    turn: Turn,
    /// The results that the check observes while faults let it flap.
    #[cfg(feature = "chaos")]
    flap: Option<flap::Flap>,
}

impl State {
    fn new(kind: CheckKind, probe: Option<Probe>) -> Self {
        let streak = CheckState::new(kind);
        Self {
            probe,
            streak,
            last: None,
            probes: 0,
            failed: 0,
            turn: Turn::default(),
            #[cfg(feature = "chaos")]
            flap: None,
        }
    }

    /// Returns what the check has observed: whether it passes, and the last result.
    fn observed(&self) -> (bool, Option<&Last>) {
        #[cfg(feature = "chaos")]
        if let Some(flap) = &self.flap {
            return flap.observed();
        }
        (self.streak.passes, self.last.as_ref())
    }

    /// Returns the current status: `Unknown` without a result or with an outdated one.
    fn status(&self, config: &Config, now: Instant) -> Status {
        // A startup check is not probed again once it has passed.
        let (passes, last) = self.observed();
        let is_final = config.kind == CheckKind::Startup && passes;
        let is_old = |last: &Last| !is_final && now > last.at.after(config.oldest());
        match last {
            None => Status::Unknown,
            Some(last) if is_old(last) => Status::Unknown,
            Some(_) if passes => Status::Pass,
            Some(_) if config.degrades_only => Status::Warn,
            Some(_) => Status::Fail,
        }
    }
}

#[derive(Clone, Debug)]
struct Last {
    at: Instant,
    took: Duration,
    problem: Option<String>,
}

impl HealthCheck {
    /// Sets an asynchronous probe.
    ///
    /// An error fails the check, and its text becomes the output of the report.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let cache = resilient_runtime::Registry::new().health("cache");
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

    /// Sets a blocking probe.
    ///
    /// It runs on a separate thread, one run at a time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, health::Status};
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

    /// Returns a snapshot of the check.
    ///
    /// If the cached result has expired, runs the probe first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let database = Registry::with_clock(time.clock()).health("database");
    /// database.probe(|| async { Ok::<_, String>(()) });
    /// assert_eq!((database.check().await.probes, database.check().await.probes), (1, 1), "still cached");
    /// time.advance(Duration::from_secs(1));
    /// assert_eq!(database.check().await.probes, 2);
    /// # }
    /// ```
    /// # Cancel safety
    /// If the future is dropped in a tokio runtime, the probe continues and its result counts. Outside of a runtime
    /// the probe is dropped, and the next waiting call starts a new one.
    pub async fn check(&self) -> Stats {
        let seen = self.0.state.lock().probes;
        loop {
            let mut ended = pin!(self.0.ended.notified());
            // From here on the end of a probe is not missed.
            ended.as_mut().enable();
            match self.0.next_step(seen) {
                Step::Ready => return self.stats(),
                Step::Probe(number) => turn::run(&self.0, number).await,
                Step::Wait(until) => {
                    if within(ended, self.0.core.clock(), until).await == Err(NoTimer) {
                        return self.stats();
                    }
                }
            }
        }
    }

    /// Starts the probe without waiting for its result, unless the last result is younger than `age`.
    pub(crate) fn refresh(&self, age: Duration) {
        if !self.0.is_younger(age) {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = pin!(self.check()).poll(&mut cx);
        }
    }
}

impl Inner {
    fn is_younger(&self, age: Duration) -> bool {
        let (config, now) = (self.core.config(), self.core.clock().now());
        let state = self.state.lock();
        if config.kind == CheckKind::Startup && state.streak.passes {
            return true;
        }
        state.last.as_ref().is_some_and(|last| now < last.at.after(age))
    }

    /// Returns the next step of a call that started when `seen` probes had ended.
    fn next_step(&self, seen: u64) -> Step {
        let config = self.core.config();
        if self.is_younger(config.cache) {
            return Step::Ready;
        }
        let now = self.core.clock().now();
        let mut state = self.state.lock();
        if state.probes == seen { state.turn.next(now, config.timeout) } else { Step::Ready }
    }

    /// Runs the probe with this `number`.
    async fn run_probe(&self, number: u64) {
        let (config, clock) = (self.core.config(), self.core.clock());
        let probe = self.state.lock().probe.clone();
        let began = clock.now();
        let result = match probe {
            None => Err("no probe is set".to_owned()),
            Some(probe) => {
                match within(probe.run(self.core.name), clock, began.after(config.timeout)).await {
                    Ok(Some(result)) => result,
                    Ok(None) => Err(format!("the probe did not finish within {:?}", config.timeout)),
                    Err(NoTimer) => {
                        Err("the probe needs a timer, and there is no tokio runtime with `enable_time`"
                            .to_owned())
                    }
                }
            }
        };
        let now = clock.now();
        let took = now.since(began);
        let too_slow = || {
            format!("the probe took {took:?}; max_response is {:?}", config.max_response.unwrap_or_default())
        };
        let is_slow = config.max_response.is_some_and(|most| took > most);
        let problem = result.err().or_else(|| is_slow.then(too_slow));
        let texts = &self.core.environment.texts();
        let problem = problem.map(|text| texts.clean(&text).unwrap_or_else(|| "the probe failed".to_owned()));
        self.observe(&config, number, Last { at: now, took, problem });
    }

    fn observe(&self, config: &Config, number: u64, last: Last) {
        let (succeeded, now) = (last.problem.is_none(), last.at);
        #[cfg(feature = "chaos")]
        let flap = self.drawn(now);
        self.change(config, now, |state| {
            // This probe was abandoned, and another one was started in its place.
            if !state.turn.is_of(number) {
                return;
            }
            state.probes += 1;
            state.failed += u64::from(!succeeded);
            #[cfg(feature = "chaos")]
            state.flap(flap, !self.faults.is_in_force(), config, &last);
            state.last = Some(last);
            state.streak.observe(succeeded, config);
        });
    }

    /// Changes the state, and reports if that changes the status.
    fn change(&self, config: &Config, now: Instant, change: impl FnOnce(&mut State)) {
        let changed = {
            let mut state = self.state.lock();
            let before = state.status(config, now);
            change(&mut state);
            (state.status(config, now) != before).then(|| {
                let Stats { status, output, .. } = state.stats(config, now);
                let status = status.as_str();
                // Queue the event under the lock, so that events of concurrent probes stay in order.
                self.core.put(Kind::Health, || EventKind::HealthChanged { status });
                (status, output)
            })
        };
        if let Some((status, output)) = changed {
            self.core.events().deliver();
            let name = self.core.name;
            tracing::warn!(target: "resilient_runtime::health", check = %name, status, ?output, "health changed");
        }
    }

    fn stats(&self) -> Stats {
        #[cfg(feature = "chaos")]
        self.end_flap();
        let (config, now) = (self.core.config(), self.core.clock().now());
        self.state.lock().stats(&config, now)
    }
}

impl State {
    fn stats(&self, config: &Config, now: Instant) -> Stats {
        let last = self.observed().1;
        Stats {
            kind: config.kind,
            status: self.status(config, now),
            probes: self.probes,
            failed: self.failed,
            took: last.map(|last| last.took),
            age: last.map(|last| now.since(last.at)),
            output: last.and_then(|last| last.problem.clone()),
        }
    }
}

/// Returns the output of `work`, or `None` if `until` is reached first.
async fn within<T>(
    work: impl Future<Output = T>,
    clock: &Clock,
    until: Instant,
) -> Result<Option<T>, NoTimer> {
    let (mut work, mut timer) = (pin!(work), None);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(Some(output)));
        }
        if timer.is_none() {
            match BoxedTimer::armed(clock, until) {
                Ok(armed) => timer = Some(armed),
                Err(NoTimer) => return Poll::Ready(Err(NoTimer)),
            }
        }
        timer.as_mut().map_or(Poll::Pending, |timer| Pin::new(timer).poll(cx).map(|()| Ok(None)))
    })
    .await
}

impl Create for HealthCheck {
    const ALWAYS_ON: Option<&str> = Some(
        "a health check cannot be disabled: failures would go unnoticed; set `degrades_only = true` to report warnings instead",
    );

    fn create(core: Core<Config>) -> Self {
        let state = Mutex::new(State::new(core.config().kind, None));
        Self(Arc::new(Inner {
            core,
            ended: Notify::new(),
            state,
            #[cfg(feature = "chaos")]
            faults: crate::chaos::OnComponent::default(),
        }))
    }
}

impl Component for HealthCheck {
    const KIND: Kind = Kind::Health;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.0.core
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Clears the results of past probes. The probe itself stays set.
    fn reset(&self) {
        let kind = self.0.core.config().kind;
        {
            let mut state = self.0.state.lock();
            let (probe, turn) = (state.probe.take(), std::mem::take(&mut state.turn));
            *state = State { turn, ..State::new(kind, probe) };
            self.0.core.put(Self::KIND, || EventKind::Reset);
        }
        self.0.core.events().deliver();
    }

    /// Applies new settings. A check that has not been probed yet takes the initial state of its new kind.
    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        let before = self.0.core.config().kind;
        self.0.core.reconfigure(Self::KIND, config, |config| {
            let mut state = self.0.state.lock();
            if config.kind != before && state.probes == 0 {
                state.streak = CheckState::new(config.kind);
            }
        })
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
