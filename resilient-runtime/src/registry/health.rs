//! The health of a process: checks, periodic probes and circuit breakers.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use super::Registry;
use crate::circuit_breaker::State;
use crate::clock::{BoxedTimer, NoTimer};
use crate::component::Component;
use crate::health::{Ask, CheckKind, CheckReport, HealthCheck, Report, Status};

/// The time between two checks for due probes.
const PAUSE: Duration = Duration::from_secs(1);

impl Registry {
    /// Runs the selected [health checks](crate::health) concurrently and returns a report.
    ///
    /// Except for liveness and groups, the report includes circuit breakers that are open or half-open, and
    /// idempotency stores that are full, and stores that are degraded.
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
    /// Dropping the future stops waiting. Probes that are running continue as described in
    /// [`HealthCheck::check`](crate::HealthCheck::check).
    pub async fn health_report(&self, ask: Ask) -> Report {
        let all = || self.0.shelves.health.all().into_iter().map(|(_, check)| check);
        let startup = all().filter(|check| check.config().kind == CheckKind::Startup).collect();
        let checks = all().filter(|check| ask.includes(check)).collect();
        let mut report = Report::of(startup, checks, &ask).await;
        if ask.includes_breakers() && !report.starting {
            self.open_circuits().into_iter().for_each(|check| report.add(check));
            self.full_stores().into_iter().for_each(|check| report.add(check));
            self.degraded_stores().into_iter().for_each(|check| report.add(check));
        }
        report
    }

    /// Probes each check once per `interval`.
    ///
    /// This keeps [`stats`](Self::stats), metrics and events up to date even if no reports are requested. Deep
    /// checks are not probed. Until all startup checks have passed, only startup checks are probed.
    ///
    /// The future never ends; spawn it. The admin API of `resilient-http` runs it.
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
    /// Dropping the future stops the periodic probes. A probe that is running continues.
    pub fn watch_health(&self) -> impl Future<Output = Infallible> + Send + 'static + use<> {
        let registry = self.clone();
        async move {
            loop {
                registry.probe_due_checks();
                match BoxedTimer::armed(registry.clock(), registry.clock().now().after(PAUSE)) {
                    Ok(timer) => timer.await,
                    Err(NoTimer) => {
                        let what = "there is no tokio runtime with `enable_time`: health checks are not probed any more";
                        tracing::error!(target: "resilient_runtime::health", "{what}");
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    fn probe_due_checks(&self) {
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

    /// Returns the circuits that are open or half-open. They degrade the process but do not fail it: calls still get a
    /// result, possibly from a fallback.
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

    /// Returns the stores that are degraded. This degrades the process: components work without their store, as set.
    fn degraded_stores(&self) -> Vec<CheckReport> {
        let degraded = self.0.shelves.store.all().into_iter().filter_map(|(name, store)| {
            let output = Some(store.degradation()?);
            Some(CheckReport {
                name: name.to_owned(),
                kind: "store",
                status: Status::Warn,
                took: None,
                output,
            })
        });
        degraded.collect()
    }

    /// Returns idempotency stores that reject new keys because they are full. This degrades the process: recorded
    /// keys still work.
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
