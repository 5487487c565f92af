//! The health of a process: its checks, and its circuit breakers.

use super::Registry;
use crate::circuit_breaker::State;
use crate::component::Component;
use crate::health::{Ask, CheckKind, CheckReport, Report, Status};

impl Registry {
    /// How the process stands: its [health checks](crate::health), asked at the same time, and for readiness its circuit
    /// breakers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient::{Registry, health::{Ask, Status}};
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
        let all = || self.0.health_checks.all().into_iter().map(|(_, check)| check);
        let startup = all().filter(|check| check.config().kind == CheckKind::Startup).collect();
        let checks = all().filter(|check| ask.includes(check)).collect();
        let mut report = Report::of(startup, checks, &ask).await;
        if ask.includes_breakers() && !report.starting {
            self.open_circuits().into_iter().for_each(|check| report.add(check));
            self.full_stores().into_iter().for_each(|check| report.add(check));
        }
        report
    }

    /// Degraded, and no worse: calls are answered, if by fallbacks.
    fn open_circuits(&self) -> Vec<CheckReport> {
        let is_worse = |state| matches!(state, State::Open | State::ForcedOpen | State::HalfOpen);
        let breakers = self.0.circuit_breakers.all().into_iter();
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
        let full = self.0.idempotencies.all().into_iter().filter_map(|(name, once)| {
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
