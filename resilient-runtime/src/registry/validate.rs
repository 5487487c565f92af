//! Everything that is wrong with a registry, found before it matters.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Registry;
use super::shelf::OVERFLOW;
use super::together::quantity;
use crate::component::{Component, Kind};
use crate::name;
use crate::pipeline::Explanation;
use crate::site;

/// What [`Registry::validate`] found; one line for each problem.
///
/// ```
/// let registry = resilient_runtime::Registry::new();
/// registry.timeout("");
/// let error = registry.validate().unwrap_err();
/// assert!(error.to_string().contains("`(empty)` stands for a name that is empty"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationError {
    problems: Vec<String>,
}

impl ValidationError {
    /// One line for each problem.
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

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ValidationError {}

impl Registry {
    /// Whether everything about the annotated functions and components fits together; good to call at the
    /// start of `main`. In the process's registry it makes the components of all annotated functions.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// registry.bulkhead("Gateway");
    /// assert_eq!(registry.validate(), Ok(()));
    /// registry.bulkhead("gateway");
    /// let error = registry.validate().unwrap_err();
    /// assert_eq!(error.problems(), ["bulkhead: `Gateway` and `gateway` differ in case only, and are two"]);
    /// ```
    ///
    /// # Errors
    /// With all that is wrong: one name with different inline settings, settings that cannot be, names that
    /// differ in case only, names that had to be changed or look like a quantity, too many names, idempotency stores that
    /// nobody told, leases that are shorter than the total timeout of the same call, alerts on operations that are not
    /// there, settings from outside for components that are not there, rate limiters without a rate, budgets that are
    /// named by a slip or never have a token, and what can never act because a timeout of the same call ends it before.
    pub fn validate(&self) -> Result<(), ValidationError> {
        self.know_sites();
        let mut problems = self.0.conflicts.lock().problems();
        let refused = self.stats().config_source.into_values().filter_map(|source| source.problem);
        problems.extend(refused.flat_map(|problem| problem.lines().map(str::to_owned).collect::<Vec<_>>()));
        let overflowed = self.stats().overflowed_names;
        for (kind, names) in self.names() {
            problems.extend(odd_names(kind, &names, overflowed.get(&kind).copied().unwrap_or(0)));
        }
        problems.extend(self.unused_settings().into_iter().map(|unused| unused.to_string()));
        problems.extend(self.limiters_without_rate());
        problems.extend(self.budgets_by_a_slip());
        problems.extend(self.budgets_without_tokens());
        problems.extend(self.never_together());
        problems.extend(self.unknown_stores());
        problems.extend(self.short_leases());
        problems.extend(self.alerts_on_nothing());
        problems.extend(self.uncallable());
        if problems.is_empty() { Ok(()) } else { Err(ValidationError { problems }) }
    }

    /// In the process's registry: makes the components of all annotated functions.
    pub(super) fn know_sites(&self) {
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
        all.filter_map(problem).collect()
    }

    /// Pipelines with stages that no call honours together: each call would be refused.
    fn uncallable(&self) -> Vec<String> {
        let problem = |explanation: Explanation| {
            let Explanation { operation, stages, called_by, .. } = explanation;
            let kinds: Vec<_> = stages.iter().map(|stage| stage.kind.as_str()).collect();
            called_by.is_some_and(|calls| calls.is_empty()).then(|| {
                let kinds = kinds.join(", ");
                format!(
                    "pipeline `{operation}`: no call honours all of its stages ({kinds}): nest two pipelines"
                )
            })
        };
        self.explanations().into_iter().filter_map(problem).collect()
    }

    /// T127: a call that may still run must not be taken for lost.
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
            problems.push(format!("{kind}: `{other}` and `{name}` differ in case only, and are two"));
        }
        if name == OVERFLOW {
            problems.push(format!(
                "{kind}: too many names; the later ones share `{OVERFLOW}`, as one did {overflowed} times so far"
            ));
        } else if name::is_changed(name) {
            problems
                .push(format!("{kind}: `{name}` stands for a name that is empty, too long or unprintable"));
        } else if let Some(what) = quantity(name).filter(|_| kind != Kind::RateLimit) {
            problems.push(format!(
                "{kind}: `{name}` is the name of a component, and looks like {what}: say what it is of"
            ));
        }
    }
    problems
}
