//! Everything a registry has counted, in one snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::shelf::Shelf;
use super::{Registry, name, saturation};
use crate::component::{Component, Create, Kind};
use crate::nearest::ranked;
use crate::observe::{EventKind, Operation, OperationStats, Total};
use crate::pipeline::{Explanation, Pipeline};
use crate::settings::Effective;
use crate::site::{self, Site};
use crate::{
    alert, budget, bulkhead, circuit_breaker, coalesce, config, fallback, health, hedge, idempotency,
    load_shed, rate_limit, retry, timeout,
};

/// A snapshot of a registry; serialises, and displays as a table.
///
/// ```
/// let registry = resilient_runtime::Registry::new();
/// registry.retry("stock");
/// let stats = registry.stats();
/// assert!(stats.enabled && stats.retry.contains_key("stock") && stats.conflicts.is_empty());
/// assert!(stats.to_string().contains("stock"), "a table for people");
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Whether protection is [switched on](Registry::set_enabled).
    pub enabled: bool,
    /// The golden numbers of all operations together; a call within a call is one of them, too.
    pub total: OperationStats,
    /// The golden numbers of each operation, by name.
    pub operations: BTreeMap<String, OperationStats>,
    /// Circuit breakers by name.
    pub circuit_breaker: BTreeMap<String, circuit_breaker::Stats>,
    /// Retries by name.
    pub retry: BTreeMap<String, retry::Stats>,
    /// Named retry budgets; those of single retries are with the retries.
    pub retry_budget: BTreeMap<String, budget::Stats>,
    /// Bulkheads by name.
    pub bulkhead: BTreeMap<String, bulkhead::Stats>,
    /// Timeouts by name.
    pub timeout: BTreeMap<String, timeout::Stats>,
    /// Fallbacks by name.
    pub fallback: BTreeMap<String, fallback::Stats>,
    /// Rate limiters by name.
    pub rate_limit: BTreeMap<String, rate_limit::Stats>,
    /// Load shedders by name.
    pub load_shed: BTreeMap<String, load_shed::Stats>,
    /// Hedges by name.
    pub hedge: BTreeMap<String, hedge::Stats>,
    /// Coalescers by name.
    pub coalesce: BTreeMap<String, coalesce::Stats>,
    /// Idempotency records by name.
    pub idempotency: BTreeMap<String, idempotency::Stats>,
    /// Health checks by name.
    pub health: BTreeMap<String, health::Stats>,
    /// Alerts by name.
    pub alert: BTreeMap<String, alert::Stats>,
    /// Sources of settings by name, such as a file.
    pub config_source: BTreeMap<String, config::Stats>,
    /// Inline settings that contradict each other or cannot be.
    pub conflicts: Vec<String>,
    /// Settings from outside for components that are not there so far: one line for each.
    pub unused_settings: Vec<String>,
    /// By kind, how often a name got the component `__overflow__`, because there were too many names.
    pub overflowed_names: BTreeMap<Kind, u64>,
}

/// A snapshot of one component.
///
/// ```
/// use resilient_runtime::{Kind, Registry};
///
/// let registry = Registry::new();
/// registry.coalesce("rates");
/// let stats = registry.component_stats(Kind::Coalesce, "rates").unwrap();
/// assert!(serde_json::to_string(&stats).unwrap().starts_with(r#"{"in_flight":0"#));
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // made for one look
pub enum ComponentStats {
    /// Of a circuit breaker.
    CircuitBreaker(circuit_breaker::Stats),
    /// Of a retry.
    Retry(retry::Stats),
    /// Of a retry budget.
    RetryBudget(budget::Stats),
    /// Of a bulkhead.
    Bulkhead(bulkhead::Stats),
    /// Of a timeout.
    Timeout(timeout::Stats),
    /// Of a fallback.
    Fallback(fallback::Stats),
    /// Of a rate limiter.
    RateLimit(rate_limit::Stats),
    /// Of a load shedder.
    LoadShed(load_shed::Stats),
    /// Of a hedge.
    Hedge(hedge::Stats),
    /// Of a coalescer.
    Coalesce(coalesce::Stats),
    /// Of idempotency.
    Idempotency(idempotency::Stats),
    /// Of a health check.
    Health(health::Stats),
    /// Of an alert.
    Alert(alert::Stats),
    /// Of a source of settings.
    ConfigSource(config::Stats),
}

/// An annotated function.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// #[resilient_runtime::resilient(timeout = "2s", name = "look a user up")]
/// async fn user(id: u32) -> Option<u32> {
///     Some(id)
/// }
/// assert_eq!(user(7).await, Some(7));
/// let sites = resilient_runtime::registry().sites();
/// let site = sites.iter().find(|site| site.operation == "look a user up").unwrap();
/// assert!(site.asynchronous && site.function.ends_with("::user"));
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct SiteStats {
    /// The operation's name.
    pub operation: String,
    /// The function, with its module.
    pub function: String,
    /// File and line.
    pub place: String,
    /// Whether it is asynchronous.
    pub asynchronous: bool,
    /// Its golden numbers; all zero before its first call.
    pub stats: OperationStats,
}

/// There is no component of this kind and name.
///
/// ```
/// use resilient_runtime::{Kind, Registry};
///
/// let error = Registry::new().component_stats(Kind::Bulkhead, "gateway").unwrap_err();
/// assert_eq!(error.to_string(), "there is no bulkhead `gateway`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownComponent {
    kind: Kind,
    name: String,
    nearest: Vec<String>,
}

impl UnknownComponent {
    /// Names that may have been meant, nearest first.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.hedge("search");
    /// assert_eq!(registry.reset(Kind::Hedge, "serach").unwrap_err().nearest(), ["search"]);
    /// ```
    pub fn nearest(&self) -> &[String] {
        &self.nearest
    }
}

impl fmt::Display for UnknownComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not more of a hostile name than helps to recognise it.
        let name: String = self.name.chars().take(128).collect();
        write!(f, "there is no {} `{name}`", self.kind)?;
        if !self.nearest.is_empty() {
            write!(f, "; did you mean `{}`?", self.nearest.join("` or `"))?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownComponent {}

/// Calls `$body` with the shelf of a kind.
macro_rules! with_shelf {
    ($registry:expr, $kind:expr, |$shelf:ident, $variant:ident| $body:expr) => {
        with_shelf!(
            $registry, $kind, |$shelf, $variant| $body;
            CircuitBreaker: circuit_breakers,
            Retry: retries,
            RetryBudget: retry_budgets,
            Bulkhead: bulkheads,
            Timeout: timeouts,
            Fallback: fallbacks,
            RateLimit: rate_limiters,
            LoadShed: load_shedders,
            Hedge: hedges,
            Coalesce: coalescers,
            Idempotency: idempotencies,
            Health: health_checks,
            Alert: alerts,
            ConfigSource: config_sources,
        )
    };
    ($registry:expr, $kind:expr, |$shelf:ident, $variant:ident| $body:expr; $($known:ident: $field:ident,)*) => {
        match $kind {
            $(Kind::$known => {
                let ($shelf, $variant) = (&$registry.0.$field, $crate::registry::ComponentStats::$known);
                $body
            })*
        }
    };
}

pub(super) use with_shelf;

impl Registry {
    /// A snapshot of everything. Reading it costs the calls nothing.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// registry.bulkhead("gateway").call(|| Some(1));
    /// registry.pipeline("checkout").build().call(|| Some(1));
    /// let stats = registry.stats();
    /// assert_eq!((stats.bulkhead["gateway"].in_use, stats.operations["checkout"].calls), (0, 1));
    /// assert!(serde_json::to_value(&stats).is_ok());
    /// ```
    pub fn stats(&self) -> Stats {
        let (now, saturations) = (self.clock().now(), self.saturations());
        let mut total = Total::default();
        let of = |(name, operation): (&'static str, Arc<Operation>)| {
            let saturation = self.saturation(name, &saturations);
            (name.to_owned(), OperationStats { saturation, ..operation.stats_into(now, &mut total) })
        };
        let operations = self.0.operations.all().into_iter().map(of).collect();
        Stats {
            enabled: self.is_enabled(),
            total: total.stats(saturation::of_all(&saturations)),
            operations,
            circuit_breaker: snapshots(&self.0.circuit_breakers),
            retry: snapshots(&self.0.retries),
            retry_budget: snapshots(&self.0.retry_budgets),
            bulkhead: snapshots(&self.0.bulkheads),
            timeout: snapshots(&self.0.timeouts),
            fallback: snapshots(&self.0.fallbacks),
            rate_limit: snapshots(&self.0.rate_limiters),
            load_shed: snapshots(&self.0.load_shedders),
            hedge: snapshots(&self.0.hedges),
            coalesce: snapshots(&self.0.coalescers),
            idempotency: snapshots(&self.0.idempotencies),
            health: snapshots(&self.0.health_checks),
            alert: snapshots(&self.0.alerts),
            config_source: snapshots(&self.0.config_sources),
            conflicts: self.0.conflicts.lock().problems(),
            unused_settings: self.unused_settings().into_iter().map(|unused| unused.to_string()).collect(),
            overflowed_names: self.overflowed_names(),
        }
    }

    /// A snapshot of one component.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry, registry::ComponentStats};
    ///
    /// let registry = Registry::new();
    /// registry.timeout("gateway");
    /// let stats = registry.component_stats(Kind::Timeout, "gateway");
    /// assert!(matches!(stats, Ok(ComponentStats::Timeout(stats)) if stats.total_timeouts == 0));
    /// let error = registry.component_stats(Kind::Timeout, "gatewya").unwrap_err();
    /// assert_eq!(error.nearest(), ["gateway"]);
    /// ```
    ///
    /// # Errors
    /// When there is none of this name; the error knows the nearest names.
    pub fn component_stats(&self, kind: Kind, name: &str) -> Result<ComponentStats, UnknownComponent> {
        with_shelf!(self, kind, |shelf, variant| match shelf.get(&name::normal(name)) {
            Some(component) => Ok(variant(component.stats())),
            None => Err(self.unknown(kind, name)),
        })
    }

    /// Puts one component back to the state it had when it was new.
    ///
    /// # Errors
    /// When there is none of this name; the error knows the nearest names.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    /// let registry = Registry::new();
    /// registry.circuit_breaker("payment");
    /// assert!(registry.reset(Kind::CircuitBreaker, "payment").is_ok());
    /// let error = registry.reset(Kind::CircuitBreaker, "paymnet").unwrap_err();
    /// assert_eq!(error.to_string(), "there is no circuit_breaker `paymnet`; did you mean `payment`?");
    /// ```
    pub fn reset(&self, kind: Kind, name: &str) -> Result<(), UnknownComponent> {
        with_shelf!(self, kind, |shelf, _variant| match shelf.get(&name::normal(name)) {
            Some(component) => {
                component.reset();
                Ok(())
            }
            None => Err(self.unknown(kind, name)),
        })
    }

    /// Tells subscribers, and the log (`resilient_runtime::audit`), that somebody outside steered a component: for what lets people do
    /// so, such as an admin API. The correlation id of the scope around goes with it.
    ///
    /// ```
    /// use resilient_runtime::{EventKind, Kind, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("gateway");
    /// let mut events = registry.subscribe();
    /// registry.record_action(Kind::Bulkhead, "gateway", "set max_concurrent").unwrap();
    /// let event = events.try_recv().unwrap();
    /// assert_eq!(event.what, EventKind::OperatorAction { action: "set max_concurrent".into() });
    /// ```
    ///
    /// # Errors
    /// When there is no such component.
    pub fn record_action(&self, kind: Kind, name: &str, action: &str) -> Result<(), UnknownComponent> {
        with_shelf!(self, kind, |shelf, _variant| match shelf.get(&name::normal(name)) {
            Some(component) => {
                tracing::info!(target: "resilient_runtime::audit", action, %kind, name, "steered from outside");
                component.core().publish(kind, EventKind::OperatorAction { action: action.to_owned() });
                Ok(())
            }
            None => Err(self.unknown(kind, name)),
        })
    }

    /// Every setting in force of every component, by kind and name, and where its value came from.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry, settings::Value};
    ///
    /// let registry = Registry::new();
    /// registry.rate_limiter("login");
    /// let settings = &registry.effective()[&Kind::RateLimit]["login"];
    /// assert_eq!((settings[0].field, &settings[0].value), ("rate", &Value::Unset));
    /// ```
    pub fn effective(&self) -> BTreeMap<Kind, BTreeMap<String, Vec<Effective>>> {
        let of = |kind| {
            with_shelf!(self, kind, |shelf, _variant| {
                let all = shelf.all().into_iter();
                all.map(|(name, component)| (name.to_owned(), component.effective())).collect()
            })
        };
        Kind::ALL.into_iter().map(|kind| (kind, of(kind))).collect()
    }

    /// The names in use, by kind.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.hedge("search");
    /// let used: Vec<_> = registry.names().into_iter().filter(|(_, names)| !names.is_empty()).collect();
    /// assert_eq!(used, [(Kind::Hedge, vec!["search".to_owned()])]);
    /// ```
    pub fn names(&self) -> Vec<(Kind, Vec<String>)> {
        Kind::ALL.into_iter().map(|kind| (kind, self.names_of(kind))).collect()
    }

    fn overflowed_names(&self) -> BTreeMap<Kind, u64> {
        let of = |kind| with_shelf!(self, kind, |shelf, _variant| (kind, shelf.overflows()));
        Kind::ALL.into_iter().map(of).filter(|(_, count)| *count > 0).collect()
    }

    pub(super) fn names_of(&self, kind: Kind) -> Vec<String> {
        with_shelf!(self, kind, |shelf, _variant| {
            shelf.all().into_iter().map(|(name, _)| name.to_string()).collect()
        })
    }

    pub(super) fn unknown(&self, kind: Kind, name: &str) -> UnknownComponent {
        let known = self.names_of(kind);
        let nearest = ranked(name, known.iter().map(String::as_str));
        let nearest = nearest.into_iter().take(3).map(str::to_owned).collect();
        UnknownComponent { kind, name: name.to_owned(), nearest }
    }

    /// All annotated functions of the process that use this registry, called or not.
    ///
    /// ```
    /// #[resilient_runtime::resilient(bulkhead = "mail", name = "send a mail")]
    /// fn send() -> Option<()> {
    ///     Some(())
    /// }
    /// assert_eq!(send(), Some(()));
    /// let sites = resilient_runtime::registry().sites();
    /// let site = sites.iter().find(|site| site.operation == "send a mail").unwrap();
    /// assert_eq!((site.stats.calls, site.stats.succeeded), (1, 1));
    /// ```
    pub fn sites(&self) -> Vec<SiteStats> {
        let operation = |site: &'static Site| {
            if self.is_global() {
                return (!site.meta().own_registry).then(|| site.resolved().map(Pipeline::stats));
            }
            let key = std::ptr::from_ref(site).addr();
            self.0.pipelines.lock().get(&key).map(|pipeline| Some(pipeline.stats()))
        };
        let described = |site: &'static Site| {
            let stats = operation(site)?.unwrap_or_default();
            let meta = site.meta();
            Some(SiteStats {
                operation: site.operation_name(),
                function: format!("{}::{}", meta.module, meta.function),
                place: site.place().to_string(),
                asynchronous: meta.asynchronous,
                stats,
            })
        };
        site::all().into_iter().filter_map(described).collect()
    }

    /// All pipelines of this registry in words.
    pub(super) fn explanations(&self) -> Vec<Explanation> {
        let sites = site::all().into_iter().filter(|site| self.is_global() && !site.meta().own_registry);
        let sites = sites.filter_map(Site::resolved).map(Pipeline::explain);
        let own: Vec<_> = self.0.pipelines.lock().values().cloned().collect();
        let own = own.into_iter().map(|pipeline| pipeline.explain());
        sites.chain(own).chain(self.0.explanations.lock().values().cloned()).collect()
    }

    /// The stages of an operation in words: outer to inner, with every setting in force and its origin.
    /// `None` when there is no such operation.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.pipeline("checkout").retry("shop").circuit_breaker("shop").build();
    /// let checkout = registry.explain("checkout").unwrap();
    /// let stages: Vec<_> = checkout.stages.iter().map(|stage| stage.kind).collect();
    /// assert_eq!(stages, [Kind::Retry, Kind::CircuitBreaker]);
    /// assert!(checkout.to_string().contains("open_for = 5s  (default)"));
    /// ```
    pub fn explain(&self, operation: &str) -> Option<Explanation> {
        let normal = name::normal(operation);
        if self.is_global() {
            let named =
                |site: &&'static Site| !site.meta().own_registry && site.operation_name() == operation;
            if let Some(site) = site::all().into_iter().find(named) {
                return Some(site.pipeline().explain());
            }
        }
        let pipelines = self.0.pipelines.lock().values().find(|found| found.name() == &*normal).cloned();
        let explained = pipelines.map(|pipeline| pipeline.explain());
        explained.or_else(|| {
            let kept = self.0.explanations.lock().get(&*normal).cloned();
            kept.map(|explanation| self.as_it_is_now(explanation))
        })
    }

    /// The settings have changed since a pipeline was built by hand.
    fn as_it_is_now(&self, mut explanation: Explanation) -> Explanation {
        for stage in &mut explanation.stages {
            let now = with_shelf!(self, stage.kind, |shelf, _variant| {
                shelf.get(&stage.component).map(|component| (component.effective(), component.notes()))
            });
            if let Some((settings, notes)) = now {
                (stage.settings, stage.notes) = (settings, notes);
            }
        }
        explanation
    }
}

fn snapshots<C: Component>(shelf: &Shelf<C>) -> BTreeMap<String, C::Stats> {
    shelf.all().into_iter().map(|(name, component)| (name.to_string(), component.stats())).collect()
}
