//! The health of a process: its checks, who probes them, and its circuit breakers.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use super::Registry;
use crate::circuit_breaker::State;
use crate::clock::{BoxedTimer, NoTimer};
use crate::component::Component;
use crate::health::{Ask, CheckKind, CheckReport, HealthCheck, Report, Status};

/// Between two looks at which checks are due.
const PAUSE: Duration = Duration::from_secs(1);

impl Registry {
    /// How the process stands: its [health checks](crate::health), asked at the same time, and for readiness its circuit
    /// breakers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, health::{Ask, Status}};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("payment").force_open();
    /// let ready = registry.health_report(Ask::Readiness).await;
    /// assert_eq!((ready.status, ready.http_status()), (Status::Warn, 200));
    /// assert_eq!(registry.health_report(Ask::Liveness).await.status, Status::Pass);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future waits no further; the probes that are asked go on, as those of
    /// [`HealthCheck::check`](crate::HealthCheck::check) do.
    pub async fn health_report(&self, ask: Ask) -> Report {
        let all = || self.0.shelves.health.all().into_iter().map(|(_, check)| check);
        let startup = all().filter(|check| check.config().kind == CheckKind::Startup).collect();
        let checks = all().filter(|check| ask.includes(check)).collect();
        let mut report = Report::of(startup, checks, &ask).await;
        if ask.includes_breakers() && !report.starting {
            self.open_circuits().into_iter().for_each(|check| report.add(check));
            self.full_stores().into_iter().for_each(|check| report.add(check));
        }
        report
    }

    /// Probes each check when its last answer is as old as its `interval`, so that [`stats`](Self::stats), metrics and events
    /// say how things are although nobody asks for a report. Deep checks are left to those who ask for them. Until the
    /// startup checks have passed, only they are probed.
    ///
    /// The future never ends: spawn it. The admin API of `resilient-http` does so by itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, clock::Clock, health::Status};
    ///
    /// let registry = Registry::with_clock(Clock::tokio());
    /// let database = registry.health("database");
    /// database.probe(|| async { Ok::<_, String>(()) });
    /// assert_eq!(database.stats().status, Status::Unknown);
    /// tokio::spawn(registry.watch_health());
    /// tokio::time::sleep(Duration::from_secs(15)).await;
    /// assert_eq!((database.stats().status, database.stats().probes), (Status::Pass, 2));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping it ends the watch; a probe that runs goes on to its end.
    pub fn watch_health(&self) -> impl Future<Output = Infallible> + Send + 'static + use<> {
        let registry = self.clone();
        async move {
            loop {
                registry.probe_what_is_due();
                match BoxedTimer::armed(registry.clock(), registry.clock().now().after(PAUSE)) {
                    Ok(timer) => timer.await,
                    Err(NoTimer) => {
                        let what =
                            "there is no tokio runtime with `enable_time`: nobody probes the health checks";
                        tracing::error!(target: "resilient_runtime::health", "{what}");
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    fn probe_what_is_due(&self) {
        let (startup, others): (Vec<_>, Vec<_>) = self
            .0
            .shelves
            .health
            .all()
            .into_iter()
            .map(|(_, check)| check)
            .filter(|check| check.config().kind != CheckKind::Deep)
            .partition(|check| check.config().kind == CheckKind::Startup);
        let due = |check: &HealthCheck| check.refresh(check.config().interval);
        startup.iter().for_each(|check| due(check));
        if startup.iter().all(|check| check.stats().status == Status::Pass) {
            others.iter().for_each(|check| due(check));
        }
    }

    /// Degraded, and no worse: calls are answered, if by fallbacks.
    fn open_circuits(&self) -> Vec<CheckReport> {
        let is_worse = |state| matches!(state, State::Open | State::ForcedOpen | State::HalfOpen);
        let breakers = self.0.shelves.circuit_breaker.all().into_iter();
        let worse =
            breakers.map(|(name, breaker)| (name, breaker.state())).filter(|(_, state)| is_worse(*state));
        let report = |(name, state): (&str, State)| CheckReport {
            name: name.to_owned(),
            kind: "circuit_breaker",
            status: Status::Warn,
            took: None,
            output: Some(format!("the circuit is {state}")),
        };
        worse.map(report).collect()
    }

    /// Idempotency stores that refuse new keys because they are full: degraded, as what is recorded is still answered.
    fn full_stores(&self) -> Vec<CheckReport> {
        let full = self.0.shelves.idempotency.all().into_iter().filter_map(|(name, once)| {
            let output = Some(once.full_store()?);
            Some(CheckReport {
                name: name.to_owned(),
                kind: "idempotency",
                status: Status::Warn,
                took: None,
                output,
            })
        });
        full.collect()
    }
}
