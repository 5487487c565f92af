//! Validates a registry before its first calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Registry;
use super::shelf::OVERFLOW;
use super::together::quantity;
use crate::component::{Component, Kind};
use crate::name;
use crate::pipeline::Explanation;
use crate::site;

/// The problems found by [`Registry::validate`], one line each.
///
/// ```
/// let registry = resilient_runtime::Registry::new();
/// registry.timeout("");
/// let error = registry.validate().unwrap_err();
/// assert!(error.to_string().contains("`(empty)` replaces a name that is empty"), "{error}");
/// ```
/// `Debug` prints the same text as `Display`, so that it is readable if `main` returns the error.
#[derive(Clone, PartialEq, Eq)]
pub struct ValidationError {
    problems: Vec<String>,
}

impl ValidationError {
    /// Returns the problems, one line each.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// [registry.retry("a"), registry.retry("A"), registry.retry("")].into_iter().for_each(drop);
    /// assert_eq!(registry.validate().unwrap_err().problems().len(), 2);
    /// ```
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Debug for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ValidationError {}

impl Registry {
    /// Checks that all annotated functions and components are consistent.
    ///
    /// Call it at the start of `main`. For the global registry, it creates the components of all annotated
    /// functions.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// registry.bulkhead("Gateway");
    /// assert_eq!(registry.validate(), Ok(()));
    /// registry.bulkhead("gateway");
    /// let error = registry.validate().unwrap_err();
    /// assert_eq!(error.problems(), ["bulkhead: `Gateway` and `gateway` differ only in case but are separate components"]);
    /// ```
    ///
    /// # Errors
    /// Returns all problems found:
    ///
    /// - conflicting attribute settings for one name, and invalid settings
    /// - external settings that were refused
    /// - names that differ only in case, were replaced, look like a quantity, or exceed the limit of names
    /// - stores that are not registered, or whose settings cannot be used
    /// - idempotency leases shorter than the total timeout of the same call
    /// - alerts on operations that do not exist
    /// - external settings for components that do not exist
    /// - rate limiters without a rate
    /// - budgets whose name seems misspelled, or that never have a token
    /// - settings that never take effect because a timeout of the same call ends it first
    /// - pipelines whose stages no call can support together
    pub fn validate(&self) -> Result<(), ValidationError> {
        self.build_sites();
        let mut problems = self.0.conflicts.lock().problems();
        let refused = self.stats().config_source.into_values().filter_map(|source| source.problem);
        problems.extend(refused.flat_map(|problem| problem.lines().map(str::to_owned).collect::<Vec<_>>()));
        let overflowed = self.stats().overflowed_names;
        for (kind, names) in self.names() {
            problems.extend(odd_names(kind, &names, overflowed.get(&kind).copied().unwrap_or(0)));
        }
        problems.extend(self.unused_settings().into_iter().map(|unused| unused.to_string()));
        problems.extend(self.limiters_without_rate());
        problems.extend(self.misspelled_budgets());
        problems.extend(self.budgets_without_tokens());
        problems.extend(self.never_together());
        problems.extend(self.unknown_stores());
        problems.extend(self.unusable_stores());
        problems.extend(self.short_leases());
        problems.extend(self.alerts_without_operation());
        problems.extend(self.uncallable());
        if problems.is_empty() { Ok(()) } else { Err(ValidationError { problems }) }
    }

    /// Creates the components of all annotated functions, in the global registry.
    pub(super) fn build_sites(&self) {
        if self.is_global() {
            site::all().into_iter().filter(|site| !site.meta().own_registry).for_each(|site| {
                site.pipeline();
            });
        }
    }

    fn unknown_stores(&self) -> Vec<String> {
        let all = self.0.shelves.idempotency.all().into_iter();
        let problem = |(name, component): (_, std::sync::Arc<crate::Idempotency>)| {
            component.store_problem().map(|problem| format!("idempotency: `{name}`: {problem}"))
        };
        let circuits = self.0.shelves.circuit_breaker.all().into_iter();
        let of_circuit = |(name, component): (_, std::sync::Arc<crate::CircuitBreaker>)| {
            component.store_problem().map(|problem| format!("circuit_breaker: `{name}`: {problem}"))
        };
        let caches = self.0.shelves.fallback.all().into_iter();
        let of_cache = |(name, component): (_, std::sync::Arc<crate::Fallback>)| {
            let problem = component.store_problem()?;
            Some(format!("fallback: `{name}`: its distributed cache is skipped: {problem}"))
        };
        all.filter_map(problem)
            .chain(circuits.filter_map(of_circuit))
            .chain(caches.filter_map(of_cache))
            .collect()
    }

    /// Returns pipelines whose stages no call can support together, so that every call would be rejected.
    fn uncallable(&self) -> Vec<String> {
        let problem = |explanation: Explanation| {
            let Explanation { operation, stages, called_by, .. } = explanation;
            let kinds: Vec<_> = stages.iter().map(|stage| stage.kind.as_str()).collect();
            called_by.is_some_and(|calls| calls.is_empty()).then(|| {
                let kinds = kinds.join(", ");
                format!(
                    "pipeline `{operation}`: no call method supports all of its stages ({kinds}); nest two pipelines"
                )
            })
        };
        self.explanations().into_iter().filter_map(problem).collect()
    }

    /// T127: the lease must not expire while the call can still run.
    fn short_leases(&self) -> BTreeSet<String> {
        let problem = |explanation: Explanation| {
            let name_of = |kind| explanation.stages.iter().find(|stage| stage.kind == kind);
            let timeout = self.0.shelves.timeout.get(&name_of(Kind::Timeout)?.component)?;
            let idempotency = self.0.shelves.idempotency.get(&name_of(Kind::Idempotency)?.component)?;
            let (lease, total) = (idempotency.config().lease, timeout.config().total?);
            let (name, other) = (idempotency.name(), timeout.name());
            (lease < total).then(|| {
                format!("idempotency: `{name}`: lease = {lease:?} is shorter than total = {total:?} of timeout `{other}`")
            })
        };
        self.explanations().into_iter().filter_map(problem).collect()
    }
}

fn odd_names(kind: Kind, names: &[String], overflowed: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let mut by_lower_case = BTreeMap::<String, &str>::new();
    for name in names {
        if let Some(other) = by_lower_case.insert(name.to_lowercase(), name) {
            problems.push(format!(
                "{kind}: `{other}` and `{name}` differ only in case but are separate components"
            ));
        }
        if name == OVERFLOW {
            problems.push(format!(
                "{kind}: too many names; further names share `{OVERFLOW}` ({overflowed} times so far)"
            ));
        } else if name::is_changed(name) {
            problems.push(format!("{kind}: `{name}` replaces a name that is empty, too long or unprintable"));
        } else if let Some(what) = quantity(name).filter(|_| kind != Kind::RateLimit) {
            problems.push(format!(
                "{kind}: `{name}` is used as a component name but looks like {what}; name the setting it is for"
            ));
        }
    }
    problems
}
