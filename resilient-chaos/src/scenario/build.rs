//! Builds a scenario from what was read, and checks what concerns several fields.

use std::collections::BTreeSet;
use std::time::Duration;

use super::problem::Problem;
use super::read::{Place, Read, Reader};
use super::{
    AbortRule, BlastRadius, Expectation, Expected, OnDeviation, Recovery, Scenario, SteadyState, fields,
    steps,
};
use crate::probe::{Measure, Mode, ProbeSpec};
use crate::text::{hint, share, span};

pub(super) fn build(text: &str) -> Result<Scenario, Vec<Problem>> {
    let (mut reader, file) = Reader::read(text, &fields::FILE);
    let scenario = scenario(&mut reader, &file);
    match scenario {
        Some(scenario) if !reader.has_problems() => Ok(scenario),
        _ => Err(reader.problems()),
    }
}

/// Returns nothing if a part could not be read. The reader then has a problem.
fn scenario(reader: &mut Reader<'_>, file: &Read) -> Option<Scenario> {
    let steady_state: Vec<_> =
        file.tables("steady_state").iter().map(|read| steady_state(reader, read)).collect();
    let abort_when: Vec<_> = file.tables("abort_when").iter().map(|read| abort_rule(reader, read)).collect();
    let head = file.table("scenario");
    let max_duration = head.and_then(|head| head.span("max_duration"));
    let limit = file.table("blast_radius").map_or_else(BlastRadius::unlimited, blast_radius);
    let steps = steps::build(reader, file.tables("step"), max_duration, &limit);
    let ids: Vec<_> = file.tables("step").iter().filter_map(|step| step.text("id")).collect();
    let expectations: Vec<_> = file
        .tables("expect")
        .iter()
        .map(|read| expectation(reader, read, &ids, max_duration, steps.as_deref()))
        .collect();
    let recovery = file.table("recovery").and_then(recovery);
    let head = head?;
    if head.texts("environment").is_empty() {
        let place = head.place_of("environment");
        reader.problem(&place, "`environment` is empty, so the experiment could run nowhere; list environments, such as `[\"staging\"]`");
    }
    let steady_state = steady_state.into_iter().collect::<Option<Vec<_>>>()?;
    if !steady_state.is_empty() && !steady_state.iter().any(|each| each.at_edges) {
        let place = file.place_of("steady_state");
        reader.problem(&place, "every `[[steady_state]]` has `when = \"during\"`, so nothing shows that the program works before and after; use `always` or `edges` for one");
    }
    unique(reader, file, "steady_state", steady_state.iter().map(|each| &each.probe.id));
    let mut abort_when = abort_when.into_iter().collect::<Option<Vec<_>>>()?;
    let has_alert_rule = abort_when.iter().any(|rule| matches!(rule.probe.measure, Measure::Alert { .. }));
    if head.flag("abort_on_critical_alert") && !has_alert_rule {
        abort_when.push(AbortRule::any_critical_alert());
    }
    Some(Scenario {
        name: head.text("name")?,
        hypothesis: head.text("hypothesis")?,
        owner: head.text("owner")?,
        environment: head.texts("environment"),
        seed: head.count("seed")?,
        max_duration: max_duration?,
        interval: head.span("interval")?,
        observe_before: head.span("observe_before")?,
        on_deviation: match head.text("on_deviation")?.as_str() {
            "continue" => OnDeviation::Continue,
            _ => OnDeviation::Stop,
        },
        steady_state,
        abort_when,
        blast_radius: limit,
        steps: steps?,
        expectations: expectations.into_iter().collect::<Option<_>>()?,
        recovery: recovery?,
    })
}

fn unique<'i>(reader: &mut Reader<'_>, file: &Read, tables: &str, ids: impl Iterator<Item = &'i String>) {
    let mut seen = BTreeSet::new();
    for (id, read) in ids.zip(file.tables(tables)) {
        if !seen.insert(id) {
            reader.problem(
                &read.place,
                format!("two `[[{tables}]]` have the id `{id}`: add `id = \"..\"` to one of them"),
            );
        }
    }
}

fn steady_state(reader: &mut Reader<'_>, read: &Read) -> Option<SteadyState> {
    let when = read.text("when");
    let when = when.as_deref();
    Some(SteadyState {
        probe: probe(reader, read)?,
        at_edges: when != Some("during"),
        during: when != Some("edges"),
        debounce: read.span("for")?,
        weight: read.count("weight")?,
    })
}

fn abort_rule(reader: &mut Reader<'_>, read: &Read) -> Option<AbortRule> {
    Some(AbortRule { probe: probe(reader, read)?, debounce: read.span("for")? })
}

impl AbortRule {
    /// The default rule.
    fn any_critical_alert() -> Self {
        let measure = Measure::Alert { alert: None, critical: true };
        let probe = ProbeSpec { id: "any critical alert".into(), measure };
        Self { probe, debounce: Duration::ZERO }
    }
}

fn probe(reader: &mut Reader<'_>, read: &Read) -> Option<ProbeSpec> {
    let operation = read.text("operation");
    let samples = || Some((read.span("window")?, read.count("min_samples")?));
    let measure = match read.text("probe")?.as_str() {
        "success_rate" => {
            let ((window, min_samples), min) = (samples()?, read.number("min")?);
            useless(reader, read, min <= 0.0, "`min` = 0 always holds; use a larger share");
            Measure::SuccessRate { operation, min, window, min_samples }
        }
        "degraded_rate" => {
            let ((window, min_samples), max) = (samples()?, read.number("max")?);
            useless(reader, read, max >= 1.0, "`max` = 1 always holds; use a smaller share");
            Measure::DegradedRate { operation, max, window, min_samples }
        }
        "latency" => {
            let ((window, min_samples), max) = (samples()?, read.span("max")?);
            Measure::Latency { operation, quantile: read.number("quantile")?, max, window, min_samples }
        }
        "health" => Measure::Health { check: read.text("check"), may_warn: read.text("worst")? == "warn" },
        "alert" => {
            Measure::Alert { alert: read.text("alert"), critical: read.text("severity")? == "critical" }
        }
        "metric" => {
            let (min, max) = limits(reader, read)?;
            let mode = if read.text("mode")? == "rate" {
                Mode::Rate { window: read.span("window")? }
            } else {
                Mode::Value
            };
            Measure::Metric { metric: read.text("metric")?, labels: read.labels("labels"), mode, min, max }
        }
        "http" => {
            let url = read.text("url")?;
            if let Err(what) = crate::probe::Address::parse(&url) {
                reader.problem(&read.place_of("url"), what);
            }
            let status = u16::try_from(read.count("status")?).ok()?;
            Measure::Http { url, status, timeout: read.span("timeout")?, every: read.span("every")? }
        }
        _ => {
            let (min, max) = limits(reader, read)?;
            Measure::Custom { name: read.text("name")?, min, max }
        }
    };
    let id = read.text("id").unwrap_or_else(|| measure.name());
    Some(ProbeSpec { id, measure })
}

fn useless(reader: &mut Reader<'_>, read: &Read, is: bool, what: &str) {
    if is {
        reader.problem(
            &read.place_of(if what.starts_with("`min`") { "min" } else { "max" }),
            format!("the probe answers nothing: {what}"),
        );
    }
}

fn limits(reader: &mut Reader<'_>, read: &Read) -> Option<(Option<f64>, Option<f64>)> {
    let limits = (read.number("min"), read.number("max"));
    match limits {
        (None, None) => {
            reader
                .problem(&read.place, "the probe answers nothing: it has no limit; add `min`, `max` or both");
            None
        }
        (Some(min), Some(max)) if min > max => {
            let what =
                format!("`min` = {min} is more than `max` = {max}, so the probe never holds; exchange them");
            reader.problem(&read.place_of("min"), what);
            None
        }
        _ => Some(limits),
    }
}

impl BlastRadius {
    fn unlimited() -> Self {
        Self { max_share: 1.0, max_active: None, exclude: Vec::new() }
    }
}

fn blast_radius(read: &Read) -> BlastRadius {
    BlastRadius {
        max_share: read.number("max_percent").unwrap_or(100.0) / 100.0,
        max_active: read.count("max_active").and_then(|most| u32::try_from(most).ok()),
        exclude: read.texts("exclude"),
    }
}

fn recovery(read: &Read) -> Option<Recovery> {
    let within = read.span("steady_state_within")?;
    Some(Recovery { within, hold: read.span("hold")?, weight: read.count("weight")? })
}

fn expectation(
    reader: &mut Reader<'_>,
    read: &Read,
    ids: &[String],
    max_duration: Option<Duration>,
    steps: Option<&[super::Step]>,
) -> Option<Expectation> {
    let of = read.text("of")?;
    if !ids.contains(&of) {
        let known = hint(&of, ids.iter().map(String::as_str));
        reader.problem(&read.place_of("of"), format!("there is no step `{of}`; {known}"));
        return None;
    }
    let critical = || Some(read.text("severity")? == "critical");
    let what = match read.text("expect")?.as_str() {
        "breaker" => Expected::Breaker {
            breaker: read.text("breaker")?,
            state: read.text("state")?,
            within: read.span("within")?,
        },
        "fallback" => Expected::Fallback { fallback: read.text("fallback")?, at_most: read.text("at_most")? },
        "no_errors" => {
            Expected::NoErrors { operation: read.text("operation")?, at_most: read.number("at_most")? }
        }
        "retries" => Expected::Retries {
            retry: read.text("retry")?,
            operation: read.text("operation")?,
            at_most: read.number("at_most")?,
        },
        _ => Expected::Alert {
            alert: read.text("alert")?,
            critical: critical()?,
            within: read.span("within")?,
        },
    };
    let step = steps.and_then(|steps| steps.iter().find(|step| step.id == of));
    if let (Some(within), Some(step), Some(most)) = (what.within(), step, max_duration) {
        too_late(reader, &read.place_of("within"), step.start + within, most);
    }
    let id = read.text("id").unwrap_or_else(|| what.name(&of));
    Some(Expectation { id, of, weight: read.count("weight")?, what })
}

fn too_late(reader: &mut Reader<'_>, place: &Place, latest: Duration, most: Duration) {
    if latest > most {
        let what = format!(
            "`within` ends {} after the start, later than `max_duration` = {}; shorten it or raise `max_duration`",
            span(latest),
            span(most)
        );
        reader.problem(place, what);
    }
}

impl Expected {
    /// Describes the expectation in a line.
    pub(super) fn name(&self, of: &str) -> String {
        match self {
            Self::Breaker { breaker, state, within } => {
                format!(
                    "circuit `{breaker}` is {} within {} of `{of}`",
                    state.replace('_', "-"),
                    span(*within)
                )
            }
            Self::Fallback { fallback, at_most } => {
                format!("fallback `{fallback}` serves at most `{at_most}` during `{of}`")
            }
            Self::NoErrors { operation, at_most } if *at_most <= 0.0 => {
                format!("no caller of `{operation}` sees an error during `{of}`")
            }
            Self::NoErrors { operation, at_most } => {
                format!(
                    "at most {} of the callers of `{operation}` see an error during `{of}`",
                    share(*at_most)
                )
            }
            Self::Retries { retry, at_most, .. } => {
                format!("retry `{retry}` adds at most {} of the calls during `{of}`", share(*at_most))
            }
            Self::Alert { alert, within, .. } => {
                format!("alert `{alert}` fires within {} of `{of}`", span(*within))
            }
        }
    }
}
