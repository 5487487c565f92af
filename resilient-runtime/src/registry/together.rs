//! Finds settings of the components of one call that conflict (T127).

use std::collections::BTreeSet;
use std::time::Duration;

use super::Registry;
use super::shelf::Shelf;
use crate::component::{Component, Kind};
use crate::idempotency::OnUnknown;
use crate::pipeline::Explanation;
use crate::rate_limit::Rate;
use crate::ratio::Ratio;
use crate::settings::parse_duration;

impl Registry {
    /// Returns settings that never take effect, because of another component of the same call.
    pub(super) fn never_together(&self) -> BTreeSet<String> {
        self.explanations().iter().flat_map(|explanation| self.never(explanation)).collect()
    }

    fn never(&self, explanation: &Explanation) -> Vec<String> {
        fn config<C: Component>(
            explanation: &Explanation,
            shelf: &Shelf<C>,
        ) -> Option<(String, std::sync::Arc<C::Config>)> {
            let stage = explanation.stages.iter().find(|stage| stage.kind == C::KIND)?;
            Some((stage.component.clone(), shelf.get(&stage.component)?.config()))
        }
        let mut problems = Vec::new();
        if let (Some((hedge, own)), Some((once, keyed))) =
            (config(explanation, &self.0.shelves.hedge), config(explanation, &self.0.shelves.idempotency))
            && own.enabled
            && keyed.on_unknown == OnUnknown::Reject
            && !explanation.idempotent
        {
            problems.push(format!(
                "hedge: `{hedge}`: no attempt is hedged, because `on_unknown = reject` of idempotency `{once}` forbids \
                 running the body twice; set `on_unknown = reexecute` if running it twice is safe (in `{}`)",
                explanation.operation
            ));
        }
        let Some((timeout, limits)) =
            config(explanation, &self.0.shelves.timeout).filter(|(_, limits)| limits.enabled)
        else {
            return problems;
        };
        let operation = &explanation.operation;
        let mut add = |kind: Kind, name: &str, what: String, field: &str, limit: Duration| {
            problems.push(format!(
                "{kind}: `{name}`: {what}, but {field} = {limit:?} of timeout `{timeout}` ends the call first (in `{operation}`)"
            ));
        };
        if let Some(total) = limits.total {
            if let Some((name, retry)) = config(explanation, &self.0.shelves.retry)
                && retry.enabled
                && retry.max > 0
                && retry.shortest_first_delay() >= total
            {
                let first = retry.shortest_first_delay();
                add(
                    Kind::Retry,
                    &name,
                    format!("the first retry starts after at least {first:?}"),
                    "total",
                    total,
                );
            }
            let bulkhead = config(explanation, &self.0.shelves.bulkhead)
                .map(|(name, own)| (Kind::Bulkhead, name, own.max_wait));
            let limiter = config(explanation, &self.0.shelves.rate_limit)
                .map(|(name, own)| (Kind::RateLimit, name, own.max_wait));
            let coalesce = config(explanation, &self.0.shelves.coalesce)
                .map(|(name, own)| (Kind::Coalesce, name, own.max_wait));
            for (kind, name, wait) in [bulkhead, limiter, coalesce].into_iter().flatten() {
                if let Some(wait) = wait.filter(|wait| *wait > total) {
                    add(kind, &name, format!("max_wait = {wait:?} is never reached"), "total", total);
                }
            }
        }
        for (field, limit) in [("attempt", limits.attempt), ("total", limits.total)] {
            let Some(limit) = limit else { continue };
            if let Some((name, hedge)) = config(explanation, &self.0.shelves.hedge)
                && let Some(after) = hedge.after.filter(|after| hedge.enabled && *after >= limit)
            {
                add(Kind::Hedge, &name, format!("the first hedge starts after {after:?}"), field, limit);
            }
            if let Some((name, breaker)) = config(explanation, &self.0.shelves.circuit_breaker)
                && let Some(slow) = breaker.slow_call.filter(|slow| breaker.enabled && *slow > limit)
            {
                add(
                    Kind::CircuitBreaker,
                    &name,
                    format!("no call can take slow_call = {slow:?}"),
                    field,
                    limit,
                );
            }
        }
        problems
    }

    /// Returns rate limiters without a rate, which limit nothing.
    pub(super) fn limiters_without_rate(&self) -> Vec<String> {
        let all = self.0.shelves.rate_limit.all().into_iter().filter(|(_, limiter)| limiter.lacks_rate());
        let problem = |(name, _): (&str, _)| match quantity(name) {
            Some(_) => format!(
                "rate_limit: `{name}` is used as a name, and no rate is set, so nothing is limited; the rate comes after \
                 the name, as in `rate_limit(\"api\", rate = \"{name}\")`"
            ),
            None => format!(
                "rate_limit: `{name}` has no rate and limits nothing; set one, as in `rate_limit(\"{name}\", rate = \
                 \"100/s\")`"
            ),
        };
        all.map(problem).collect()
    }

    /// Returns budgets that never have a token, so that no retry or hedge is made.
    pub(super) fn budgets_without_tokens(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |kind: Kind, name: &str, ratio: Ratio, reserve: f64| {
            if ratio == Ratio::ZERO && reserve <= 0.0 {
                problems.push(format!(
                    "{kind}: `{name}`: ratio = 0 and reserve = 0 leave the budget without tokens, so no retry or hedge is made"
                ));
            }
        };
        for (name, retry) in self.0.shelves.retry.all() {
            let config = retry.config();
            if config.enabled && config.max > 0 && config.budget.is_none() {
                check(Kind::Retry, name, config.budget_ratio, config.budget_reserve);
            }
        }
        for (name, hedge) in self.0.shelves.hedge.all() {
            let config = hedge.config();
            if config.enabled {
                check(Kind::Hedge, name, config.budget_ratio, config.budget_reserve);
            }
        }
        for (name, budget) in self.0.shelves.retry_budget.all() {
            let config = budget.config();
            if config.enabled {
                check(Kind::RetryBudget, name, config.ratio, config.reserve);
            }
        }
        problems
    }

    /// Returns budgets used by only one retry whose name is similar to the name of another budget.
    pub(super) fn misspelled_budgets(&self) -> Vec<String> {
        let retries = self.0.shelves.retry.all();
        let users: Vec<_> = retries
            .iter()
            .filter_map(|(name, retry)| Some((*name, retry.config().shared_budget()?.to_string())))
            .collect();
        let budgets = self.names_of(Kind::RetryBudget);
        let problem = |(retry, budget): &(&str, String)| {
            let others = |name: &str| users.iter().filter(|(_, used)| used == name).count();
            let known = budgets.iter().map(String::as_str).filter(|known| *known != budget);
            let near = crate::nearest::nearest(budget, known)
                .filter(|near| others(near) > 1 || others(near) == 0)?;
            (others(budget) == 1).then(|| {
                format!("retry_budget: `{budget}` is used only by retry `{retry}`; did you mean `{near}`?")
            })
        };
        users.iter().filter_map(problem).collect()
    }
}

/// Returns what kind of quantity a name looks like.
pub(super) fn quantity(name: &str) -> Option<&'static str> {
    let text = name.trim();
    let is_number = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if text.parse::<Rate>().is_ok() {
        Some("a rate")
    } else if parse_duration(text).is_ok() {
        Some("a duration")
    } else {
        // A number alone can identify a shard or a tenant.
        text.strip_suffix('%').is_some_and(is_number).then_some("a percentage")
    }
}
