//! Health reports: the selected checks and the overall status.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{CheckKind, HealthCheck, Stats, Status};
use crate::component::Component;

/// Selects the checks of a report.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Component, Registry, health::{Ask, Config}};
/// # use std::sync::Arc;
///
/// let registry = Registry::new();
/// registry.health("database").reconfigure(Config::default().group(Arc::from("storage"))).unwrap();
/// registry.health("broker");
/// let storage = registry.health_report(Ask::Group("storage".into())).await;
/// assert_eq!(storage.checks.len(), 1);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// Liveness checks: whether the process must be restarted.
    Liveness,
    /// Readiness checks: whether the process should receive calls.
    Readiness,
    /// Readiness and deep checks: whether the real work gets done.
    Deep,
    /// All liveness and readiness checks.
    All,
    /// All checks of this group, of any kind.
    Group(String),
}

impl Ask {
    pub(crate) fn includes(&self, check: &HealthCheck) -> bool {
        let config = check.config();
        match self {
            Self::Liveness => config.kind == CheckKind::Liveness,
            Self::Readiness => config.kind == CheckKind::Readiness,
            Self::Deep => matches!(config.kind, CheckKind::Readiness | CheckKind::Deep),
            Self::All => !matches!(config.kind, CheckKind::Deep | CheckKind::Startup),
            Self::Group(group) => config.group.as_deref() == Some(group),
        }
    }

    /// Returns whether circuit breakers affect the report.
    pub(crate) fn includes_breakers(&self) -> bool {
        !matches!(self, Self::Liveness | Self::Group(_))
    }
}

/// A health report. It serializes as `application/health+json`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Registry, health::Ask};
///
/// let registry = Registry::new();
/// registry.health("database").probe(|| async { Ok::<_, String>(()) });
/// let report = registry.health_report(Ask::All).await;
/// assert!(serde_json::to_string(&report).unwrap().starts_with(r#"{"status":"pass""#));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The overall status.
    pub status: Status,
    /// Whether the process is still starting. If so, only startup checks are included.
    pub starting: bool,
    /// The individual checks.
    pub checks: Vec<CheckReport>,
}

/// One check in a [`Report`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Registry, health::{Ask, Status}};
///
/// let registry = Registry::new();
/// registry.circuit_breaker("payment").force_open();
/// let check = registry.health_report(Ask::Readiness).await.checks.remove(0);
/// assert_eq!((check.name.as_str(), check.kind, check.status), ("payment", "circuit_breaker", Status::Warn));
/// assert_eq!(check.output.as_deref(), Some("the circuit is forced_open"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The name of the check.
    pub name: String,
    /// The kind of the check.
    ///
    /// One of `startup`, `liveness`, `readiness`, `deep`, `circuit_breaker`, or `idempotency` for a store that is
    /// full.
    pub kind: &'static str,
    /// The status of the check.
    pub status: Status,
    /// The duration of the last probe.
    pub took: Option<std::time::Duration>,
    /// A description of the problem, if there is one.
    pub output: Option<String>,
}

impl Report {
    /// Returns the HTTP status code: 503 if the report fails, otherwise 200.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, health::{Ask, Config}};
    ///
    /// let registry = Registry::new();
    /// assert_eq!(registry.health_report(Ask::Readiness).await.http_status(), 200);
    /// let database = registry.health("database");
    /// database.reconfigure(Config::default().failures(1)).unwrap();
    /// database.probe(|| async { Err("connection refused") });
    /// assert_eq!(registry.health_report(Ask::Readiness).await.http_status(), 503);
    /// # }
    /// ```
    pub fn http_status(&self) -> u16 {
        if self.status == Status::Fail { 503 } else { 200 }
    }

    /// Runs `checks` concurrently.
    pub(crate) async fn of(startup: Vec<Arc<HealthCheck>>, checks: Vec<Arc<HealthCheck>>, ask: &Ask) -> Self {
        let started = if *ask == Ask::Liveness { at_once(&startup) } else { all(&startup).await };
        let starting = started.iter().any(|check| check.status != Status::Pass);
        if starting {
            // A process that is starting is alive but not ready (T136).
            let status = if *ask == Ask::Liveness { Status::Pass } else { Status::Fail };
            return Self { status, starting, checks: started };
        }
        let mut report = Self { status: Status::Pass, starting, checks: Vec::new() };
        all(&checks).await.into_iter().for_each(|check| report.add(check));
        report
    }

    pub(crate) fn add(&mut self, check: CheckReport) {
        self.status = self.status.max(check.status);
        self.checks.push(check);
    }
}

async fn all(checks: &[Arc<HealthCheck>]) -> Vec<CheckReport> {
    let asked = checks
        .iter()
        .map(|check| -> Pin<Box<dyn Future<Output = Stats> + Send + '_>> { Box::pin(check.check()) });
    let stats = Together { pending: asked.map(Err).collect() }.await;
    checks.iter().zip(stats).map(|(check, stats)| CheckReport::of(check, stats)).collect()
}

/// Returns their current state, and starts their probes. Without this, nothing would probe them if only liveness
/// reports are requested.
fn at_once(checks: &[Arc<HealthCheck>]) -> Vec<CheckReport> {
    checks.iter().for_each(|check| check.refresh(check.config().cache));
    checks.iter().map(|check| CheckReport::of(check, check.stats())).collect()
}

/// Polls all futures until the last one is ready. There are few of them, and each wakes rarely.
struct Together<F, T> {
    pending: Vec<Result<T, F>>,
}

impl<T: Unpin, F: Future<Output = T> + Unpin> Future for Together<F, T> {
    type Output = Vec<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<T>> {
        let mut is_pending = false;
        for slot in &mut self.pending {
            if let Err(future) = slot {
                match Pin::new(future).poll(cx) {
                    Poll::Ready(output) => *slot = Ok(output),
                    Poll::Pending => is_pending = true,
                }
            }
        }
        if is_pending {
            return Poll::Pending;
        }
        Poll::Ready(self.pending.drain(..).filter_map(Result::ok).collect())
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &self.status)?;
        if self.starting {
            map.serialize_entry("notes", &["the process is starting"])?;
        }
        // The draft defines a list per name, because several nodes can have the same check.
        let checks = self.checks.iter().map(|check| (check.key(), [check]));
        map.serialize_entry("checks", &checks.collect::<BTreeMap<_, _>>())?;
        map.end()
    }
}

impl CheckReport {
    fn of(check: &HealthCheck, stats: Stats) -> Self {
        Self {
            name: check.name().to_owned(),
            kind: stats.kind.as_str(),
            // The format of the report has no status `unknown`. A check without a result has not passed yet.
            status: match stats.status {
                Status::Unknown if stats.kind != CheckKind::Liveness => Status::Fail,
                Status::Unknown => Status::Pass,
                known => known,
            },
            took: stats.took,
            output: stats
                .output
                .or_else(|| (stats.status == Status::Unknown).then(|| "no recent probe result".to_owned())),
        }
    }

    fn key(&self) -> String {
        if self.took.is_some() { format!("{}:responseTime", self.name) } else { self.name.clone() }
    }
}

impl Serialize for CheckReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("componentId", &self.name)?;
        map.serialize_entry("componentType", self.kind)?;
        map.serialize_entry("status", &self.status)?;
        if let Some(took) = self.took {
            map.serialize_entry("observedValue", &(took.as_secs_f64() * 1000.0))?;
            map.serialize_entry("observedUnit", "ms")?;
        }
        if let Some(output) = &self.output {
            map.serialize_entry("output", output)?;
        }
        map.end()
    }
}
