//! Checks whether an experiment may start in a registry.

use resilient_runtime::observe::MetricKind;
use resilient_runtime::registry::Stats;

use super::outside::Functions;
use crate::probe::{Measure, ProbeSpec};
use crate::scenario::{Expected, Scenario};
use crate::text::{hint, matches};

/// Returns every reason why the experiment must not start in this environment.
pub(crate) fn environment(allowed: &[String], environment: Option<&str>) -> Option<String> {
    let list = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match environment {
        None => Some(format!(
            "the environment is not known, and the experiment may run only in {list}; set `RESILIENT_ENVIRONMENT` or `Runner::environment`"
        )),
        Some(environment) if !allowed.iter().any(|pattern| matches(pattern, environment)) => Some(format!(
            "this is the environment `{environment}`, and the experiment may run only in {list}; add it to `environment` of the scenario if that is intended"
        )),
        Some(_) => None,
    }
}

/// Returns every name of the scenario that the registry does not have.
pub(super) fn names(scenario: &Scenario, stats: &Stats, functions: &Functions) -> Vec<String> {
    let mut problems = Vec::new();
    let probes = scenario.steady_state.iter().map(|each| &each.probe);
    for probe in probes.chain(scenario.abort_when.iter().map(|rule| &rule.probe)) {
        problems.extend(probe_problem(probe, stats, functions));
    }
    for expectation in &scenario.expectations {
        problems.extend(expectation_problems(&expectation.what, &expectation.id, stats));
    }
    let targets =
        scenario.steps.iter().flat_map(|step| step.targets().into_iter().map(move |target| (step, target)));
    for (step, target) in targets {
        let hit: Vec<_> = stats.operations.keys().filter(|name| matches(target, name)).collect();
        if hit.is_empty() {
            let known = hint(target, stats.operations.keys().map(String::as_str));
            problems.push(format!(
                "step `{}` targets `{target}`, but no operation has this name; {known}",
                step.id
            ));
        }
        for name in hit {
            if let Some(pattern) = scenario.blast_radius.exclude.iter().find(|pattern| matches(pattern, name))
            {
                problems.push(format!(
                    "step `{}` targets `{target}`, which includes `{name}`; `blast_radius.exclude` protects it by `{pattern}`; use a narrower target",
                    step.id
                ));
            }
        }
    }
    problems
}

fn missing<'n>(
    what: &str,
    name: &str,
    of: &str,
    known: impl Iterator<Item = &'n String> + Clone,
) -> Option<String> {
    if known.clone().any(|known| known == name) {
        return None;
    }
    Some(format!("{of}: there is no {what} `{name}`; {}", hint(name, known.map(String::as_str))))
}

fn probe_problem(probe: &ProbeSpec, stats: &Stats, functions: &Functions) -> Option<String> {
    let of = format!("probe `{}`", probe.id);
    if let Some(operation) = probe.measure.operation() {
        return missing("operation", operation, &of, stats.operations.keys());
    }
    match &probe.measure {
        Measure::Health { check: Some(check), .. } => {
            missing("health check", check, &of, stats.health.keys())
        }
        Measure::Health { check: None, .. } if stats.health.is_empty() => {
            Some(format!("{of}: the program has no health check, so it answers nothing; remove it"))
        }
        Measure::Alert { alert: Some(alert), .. } => missing("alert", alert, &of, stats.alert.keys()),
        Measure::Metric { metric, .. } => {
            let families = stats.metrics();
            match families.iter().find(|family| family.metric().name == metric) {
                None => {
                    let known = hint(metric, families.iter().map(|family| family.metric().name));
                    Some(format!("{of}: there is no metric `{metric}`; {known}"))
                }
                Some(family) if family.metric().kind == MetricKind::Histogram => Some(format!(
                    "{of}: `{metric}` is a histogram, which has no single value; use `probe = \"latency\"`"
                )),
                Some(_) => None,
            }
        }
        Measure::Custom { name, .. } => missing("function", name, &of, functions.keys())
            .map(|problem| format!("{problem}; register it with `Runner::probe`")),
        _ => None,
    }
}

fn expectation_problems(what: &Expected, id: &str, stats: &Stats) -> Vec<String> {
    let of = format!("expectation `{id}`");
    let problems = match what {
        Expected::Breaker { breaker, .. } => {
            vec![missing("circuit breaker", breaker, &of, stats.circuit_breaker.keys())]
        }
        Expected::Fallback { fallback, .. } => {
            vec![missing("fallback", fallback, &of, stats.fallback.keys())]
        }
        Expected::NoErrors { operation, .. } => {
            vec![missing("operation", operation, &of, stats.operations.keys())]
        }
        Expected::Retries { retry, operation, .. } => vec![
            missing("retry", retry, &of, stats.retry.keys()),
            missing("operation", operation, &of, stats.operations.keys()),
        ],
        Expected::Alert { alert, .. } => vec![missing("alert", alert, &of, stats.alert.keys())],
    };
    problems.into_iter().flatten().collect()
}
