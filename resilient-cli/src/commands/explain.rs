//! `resilient explain`

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use serde_json::{Map, Value, json};

use super::config::{not_found, settings_lines};
use super::{Run, near};
use crate::failure::Failure;
use crate::output::{Line, Span, Tone};
use crate::session::Session;
use crate::stats::text;
use crate::table::Table;
use crate::text::safe;

/// Explain an annotated function, or list all of them: stages, settings and their origins
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Name of an operation or of a component; without it, all operations are listed
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
}

impl Run for Explain {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        let sites = api.get("/sites")?;
        let all = sites.as_array().ok_or_else(|| api.unexpected("/sites"))?;
        let Some(name) = self.name else { return list(session, all) };
        if let Some(found) = find(all, &name) {
            return operation(session, found);
        }
        let config = api.get("/config")?;
        let kinds = config.as_object().ok_or_else(|| api.unexpected("/config"))?;
        let found: Map<String, Value> = kinds
            .iter()
            .filter_map(|(kind, components)| Some((kind.clone(), components.get(&name)?.clone())))
            .collect();
        if found.is_empty() {
            let operations = all.iter().map(|each| text(&each["site"], "operation"));
            let components =
                kinds.values().filter_map(Value::as_object).flat_map(Map::keys).map(String::as_str);
            let near = near(&name, operations.chain(components));
            return Err(not_found(&format!("there is no operation or component `{name}`"), &near));
        }
        components(session, &name, found)
    }
}

/// Finds an operation by its name, or by the last part of a name such as `shop::orders::charge`.
fn find<'v>(sites: &'v [Value], name: &str) -> Option<&'v Value> {
    let operation = |each: &'v Value| text(&each["site"], "operation");
    let exact = sites.iter().find(|each| operation(each) == name);
    let is_last = |each: &&'v Value| operation(each).rsplit_once("::").is_some_and(|(_, last)| last == name);
    let mut by_last = sites.iter().filter(is_last);
    exact.or_else(|| by_last.next().filter(|_| by_last.next().is_none()))
}

fn list(session: &Session, sites: &[Value]) -> Result<ExitCode, Failure> {
    if session.is_json() {
        session.out.json(&json!(sites))?;
        return Ok(ExitCode::SUCCESS);
    }
    if sites.is_empty() {
        session.note("the service has no annotated functions; `resilient config` lists its components");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["operation", "place", "stages, from outer to inner"]);
    for each in sites {
        let stages = each["stages"].as_array().into_iter().flatten().map(|stage| text(stage, "kind"));
        let stages = stages.collect::<Vec<_>>().join(" > ");
        table.row(vec![
            text(&each["site"], "operation").into(),
            text(&each["site"], "place").into(),
            stages.into(),
        ]);
    }
    session.out.lines(table.lines(session.out.columns()))?;
    Ok(ExitCode::SUCCESS)
}

fn operation(session: &Session, found: &Value) -> Result<ExitCode, Failure> {
    if session.is_json() {
        session.out.json(found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let site = &found["site"];
    let mut lines: Vec<Line> = vec![vec![
        Span::new(Tone::Strong, text(site, "operation")),
        format!("  {}  {}", text(site, "function"), text(site, "place")).into(),
    ]];
    let stages: Vec<_> = found["stages"].as_array().into_iter().flatten().collect();
    if stages.is_empty() {
        lines.push(vec!["  no stages: the calls are only counted".into()]);
    }
    for (index, stage) in stages.iter().enumerate() {
        let title =
            format!("{}. {} {}", index + 1, safe(text(stage, "kind")), safe(text(stage, "component")));
        lines.push(vec![Span::new(Tone::Strong, title)]);
        lines.extend(settings_lines(&stage["settings"], session.out.columns()));
        let notes = stage["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(notes.map(|note| vec![Span::new(Tone::Warning, format!("  note: {note}"))]));
    }
    session.out.lines(lines)?;
    Ok(ExitCode::SUCCESS)
}

fn components(session: &Session, name: &str, found: Map<String, Value>) -> Result<ExitCode, Failure> {
    if session.is_json() {
        session.out.json(&found.into())?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = found.iter().flat_map(|(kind, settings)| {
        let title = vec![Span::new(Tone::Strong, format!("{kind} {}", safe(name)))];
        std::iter::once(title).chain(settings_lines(settings, session.out.columns()))
    });
    session.out.lines(lines)?;
    Ok(ExitCode::SUCCESS)
}
