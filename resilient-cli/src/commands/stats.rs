//! `resilient stats`

use std::process::ExitCode;

use resilient_runtime::Kind;
use serde_json::{Map, Value};

use super::config::not_found;
use super::{Run, near};
use crate::api::{Api, segment};
use crate::duration::short;
use crate::failure::Failure;
use crate::output::{Line, Span, Tone};
use crate::session::Session;
use crate::stats::{Endings, count, error_text, members, number, percent, text, tone};
use crate::table::Table;

/// Show counters and states since the start of the service
#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    /// Kind, such as `circuit_breaker` or `operations`, or kind and name, such as `circuit_breaker/payment`
    #[arg(value_name = "KIND[/NAME]")]
    component: Option<String>,
}

/// The operations are not components, but have statistics.
const OPERATIONS: &str = "operations";

impl Run for Stats {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        match self
            .component
            .as_deref()
            .map(|path| path.split_once('/').map_or((path, None), |(kind, name)| (kind, Some(name))))
        {
            None => all(session, &api),
            Some((kind, None)) => of_kind(session, &api, kind),
            Some((kind, Some(name))) => one(session, &api, kind, name),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

fn all(session: &Session, api: &Api) -> Result<(), Failure> {
    let stats = read(api)?;
    if session.is_json() {
        return session.out.json(&stats);
    }
    let mut lines: Vec<Line> = Vec::new();
    if stats["enabled"] == false {
        lines.push(vec![Span::new(Tone::Bad, "protection is switched off")]);
        lines.push(Line::new());
    }
    let columns = session.out.columns();
    let mut section = |title: &str, table: Table| {
        if !table.is_empty() {
            lines.push(vec![Span::new(Tone::Strong, title)]);
            lines.extend(table.lines(columns));
            lines.push(Line::new());
        }
    };
    section("operations", operations(&stats));
    section("circuit breakers", circuits(&stats));
    section("alerts that fire", alerts(&stats));
    for warning in ["conflicts", "unused_settings"] {
        let texts = stats[warning].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(texts.map(|text| vec![Span::new(Tone::Warning, "! "), text.into()]));
    }
    let others = Kind::all().map(Kind::as_str).filter(|kind| !["circuit_breaker", "alert"].contains(kind));
    let others = others.filter_map(|kind| {
        let count = stats[kind].as_object().map_or(0, Map::len);
        (count > 0).then(|| format!("{kind} {count}"))
    });
    let others = others.collect::<Vec<_>>().join(", ");
    if !others.is_empty() {
        lines.push(vec![Span::new(Tone::Faint, format!("more with `resilient stats KIND`: {others}"))]);
    }
    session.out.lines(lines)
}

fn read(api: &Api) -> Result<Value, Failure> {
    let stats = api.get("/stats")?;
    if stats["operations"].is_object() { Ok(stats) } else { Err(api.unexpected("/stats")) }
}

fn of_kind(session: &Session, api: &Api, kind: &str) -> Result<(), Failure> {
    let mut stats = read(api)?;
    let Some(components) = stats.as_object().and_then(|stats| stats.get(kind)).and_then(Value::as_object)
    else {
        let kinds = Kind::all().map(Kind::as_str).chain([OPERATIONS]);
        return Err(not_found(&format!("there is no kind `{kind}`"), &near(kind, kinds)));
    };
    if session.is_json() {
        return session.out.json(&stats[kind].take());
    }
    if components.is_empty() {
        session.note(&format!("the service has no component of the kind `{kind}`"));
        return Ok(());
    }
    let table = match kind {
        OPERATIONS => operations(&stats),
        "circuit_breaker" => circuits(&stats),
        _ => generic(components),
    };
    session.out.lines(table.lines(session.out.columns()))
}

fn one(session: &Session, api: &Api, kind: &str, name: &str) -> Result<(), Failure> {
    let stats = if kind == OPERATIONS {
        let all = read(api)?;
        let operations = all[OPERATIONS].as_object().cloned().unwrap_or_default();
        let known = || near(name, operations.keys().map(String::as_str));
        operations
            .get(name)
            .cloned()
            .ok_or_else(|| not_found(&format!("there is no operation `{name}`"), &known()))?
    } else {
        api.get(&format!("/stats/{}/{}", segment(kind), segment(name)))?
    };
    if session.is_json() {
        return session.out.json(&stats);
    }
    let mut flat = Vec::new();
    flatten(&stats, String::new(), &mut flat);
    let mut table = Table::new(&["field", "value"]);
    for (field, value) in flat {
        table.row(vec![field.into(), value.into()]);
    }
    session.out.lines(table.lines(session.out.columns()).into_iter().skip(1))
}

fn operations(stats: &Value) -> Table {
    let mut table = Table::new(&[
        "name",
        ">calls",
        ">ok",
        ">degraded",
        ">failed",
        ">refused",
        ">running",
        ">p50",
        ">p99",
        "last error",
    ]);
    for (name, operation) in members(stats, OPERATIONS) {
        let endings = Endings::of(operation);
        let toned =
            |share: f64, tone| Span::new(if share > 0.0 { tone } else { Tone::Faint }, percent(share));
        let shares = match endings.shares() {
            Some([ok, degraded, failed, refused]) => [
                percent(ok).into(),
                toned(degraded, Tone::Warning),
                toned(failed, Tone::Bad),
                toned(refused, Tone::Bad),
            ],
            None => ["-", "-", "-", "-"].map(|none| Span::new(Tone::Faint, none)),
        };
        let is_measured = number(operation, "/latency/measured") > 0.0;
        let time = |pointer| if is_measured { short(number(operation, pointer)) } else { "-".into() };
        let mut row = vec![name.as_str().into(), count(endings.calls).into()];
        row.extend(shares);
        row.extend(
            [count(number(operation, "/in_flight")), time("/latency/p50"), time("/latency/p99")]
                .map(Span::from),
        );
        row.push(last_error(operation));
        table.row(row);
    }
    table
}

/// The text and the age of the last error.
fn last_error(value: &Value) -> Span {
    let error = &value["last_error"];
    match (error_text(error), error["age"].as_f64()) {
        (Some(text), Some(age)) => Span::from(format!("{text} ({} ago)", short(age))),
        (Some(text), None) => Span::from(text),
        _ => Span::from(""),
    }
}

fn circuits(stats: &Value) -> Table {
    let mut table = Table::new(&["name", "state", ">for", ">window", ">failed", ">slow", ">refused", "note"]);
    for (name, circuit) in members(stats, "circuit_breaker") {
        let current = text(circuit, "state");
        let note = match circuit["retry_after"].as_f64() {
            Some(wait) => format!("next probe in {}; ", short(wait)),
            None => String::new(),
        };
        let error = error_text(&circuit["last_error"]).filter(|_| current != "closed").unwrap_or_default();
        table.row(vec![
            name.as_str().into(),
            Span::new(tone(current), current),
            short(number(circuit, "/unchanged_for")).into(),
            count(number(circuit, "/window/calls")).into(),
            percent(number(circuit, "/window/failure_rate")).into(),
            percent(number(circuit, "/window/slow_rate")).into(),
            count(number(circuit, "/rejected")).into(),
            (note + error).trim_end_matches("; ").into(),
        ]);
    }
    table
}

fn alerts(stats: &Value) -> Table {
    let mut table = Table::new(&["name", "severity", "signal", "operation"]);
    for (name, alert) in members(stats, "alert") {
        let Some(severity) = alert["severity"].as_str() else { continue };
        let value = alert["value"].as_f64().map(|value| format!(" {value:.3}")).unwrap_or_default();
        let operation = alert["operation"].as_str().unwrap_or("all operations");
        table.row(vec![
            name.as_str().into(),
            Span::new(tone(severity), severity),
            format!("{}{value}", text(alert, "signal")).into(),
            operation.into(),
        ]);
    }
    table
}

/// A row for each component, with its figures that are not zero: `in_use 3, limit 32`.
fn generic(components: &Map<String, Value>) -> Table {
    let mut table = Table::new(&["name", "figures that are not zero"]);
    for (name, stats) in components {
        let mut flat = Vec::new();
        flatten(stats, String::new(), &mut flat);
        let figures =
            flat.into_iter().filter(|(_, value)| !["0", "-", "0%", "no", ""].contains(&value.as_str()));
        let figures = figures.map(|(field, value)| format!("{field} {value}")).collect::<Vec<_>>().join(", ");
        table.row(vec![name.as_str().into(), figures.into()]);
    }
    table
}

/// Durations in the statistics are numbers in seconds, with these names.
const SECONDS: [&str; 17] = [
    "age",
    "attempt",
    "connect",
    "delay",
    "latency",
    "lasted",
    "p50",
    "p95",
    "p99",
    "p999",
    "read",
    "retry_after",
    "seconds",
    "total",
    "took",
    "unchanged_for",
    "wait",
];

/// Lists the members of nested objects by their path: `window.calls`.
fn flatten(value: &Value, path: String, to: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(value, path, to);
            }
        }
        value => {
            let last = path.rsplit('.').next().unwrap_or_default();
            // `last_error.attempt` is the number of an attempt, and not a time.
            let is_time = SECONDS.contains(&last) && !path.ends_with("error.attempt");
            let text = match value {
                Value::Null => "-".into(),
                Value::Bool(flag) => (if *flag { "yes" } else { "no" }).into(),
                Value::String(text) => text.clone(),
                Value::Number(number) if is_time => short(number.as_f64().unwrap_or(0.0)),
                Value::Number(number) if last.ends_with("_rate") => percent(number.as_f64().unwrap_or(0.0)),
                other => other.to_string(),
            };
            to.push((path, text));
        }
    }
}
