//! `resilient config`

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{Run, near};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, Span, Tone};
use crate::session::Session;
use crate::table::Table;
use crate::text;

/// Show the settings in force and where each value comes from
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    /// Kind, or kind and name, such as `circuit_breaker/payment`
    #[arg(value_name = "KIND[/NAME]")]
    component: Option<String>,
    /// Show only settings that are not the default
    #[arg(long)]
    changed: bool,
}

impl Run for Config {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        let config = api.get("/config")?;
        let kinds = config.as_object().ok_or_else(|| api.unexpected("/config"))?;
        let (kind, name) = match self
            .component
            .as_deref()
            .map(|path| path.split_once('/').map_or((path, None), |(kind, name)| (kind, Some(name))))
        {
            Some((kind, name)) => (Some(kind), name),
            None => (None, None),
        };
        let mut found = Map::new();
        for (each, components) in kinds.iter().filter(|(each, _)| kind.is_none_or(|kind| kind == *each)) {
            let components = components
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(each, _)| name.is_none_or(|name| name == *each));
            let components: Map<_, _> =
                components.map(|(name, settings)| (name.clone(), self.kept(settings))).collect();
            found.insert(each.clone(), components.into());
        }
        if let Some(kind) = kind.filter(|_| found.is_empty()) {
            let known = kinds.keys().map(String::as_str);
            return Err(not_found(
                &format!("the service has no component of the kind `{kind}`"),
                &near(kind, known),
            ));
        }
        let count = found.values().filter_map(Value::as_object).map(Map::len).sum::<usize>();
        if let (Some(kind), Some(name), 0) = (kind, name, count) {
            let known = kinds[kind].as_object().into_iter().flat_map(Map::keys).map(String::as_str);
            return Err(not_found(&format!("there is no {kind} `{name}`"), &near(name, known)));
        }
        if session.is_json() {
            session.out.json(&found.into())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut lines = Vec::new();
        for (kind, components) in &found {
            for (name, settings) in components.as_object().into_iter().flatten() {
                let rows = settings_lines(settings, session.out.columns());
                if rows.is_empty() {
                    continue;
                }
                lines.push(vec![Span::new(Tone::Strong, format!("{kind} {}", text::safe(name)))]);
                lines.extend(rows);
                lines.push(Line::new());
            }
        }
        lines.pop();
        session.out.lines(lines)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Config {
    fn kept(&self, settings: &Value) -> Value {
        let kept = |setting: &&Value| !self.changed || setting["origin"] != "default";
        json!(settings.as_array().into_iter().flatten().filter(kept).collect::<Vec<_>>())
    }
}

pub(super) fn not_found(what: &str, near: &[&str]) -> Failure {
    let near =
        near.iter().map(|name| format!("`{}`", text::fitted(name, 60))).collect::<Vec<_>>().join(" or ");
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean {near}?") };
    Failure::new(Exit::Refused, format!("{}{hint}", text::fitted(what, 200)))
}

/// A table of settings: name, value, origin.
pub(super) fn settings_lines(settings: &Value, columns: Option<usize>) -> Vec<Line> {
    let mut table = Table::new(&["  setting", "value", "origin"]);
    for setting in settings.as_array().into_iter().flatten() {
        let field = setting["field"].as_str().unwrap_or("?");
        let origin = setting["origin"].as_str().unwrap_or("?");
        let tone = if origin == "default" { Tone::Faint } else { Tone::Plain };
        let value = match &setting["value"] {
            Value::Null => "not set".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        table.row(vec![format!("  {field}").into(), Span::new(tone, value), Span::new(tone, origin)]);
    }
    if table.is_empty() { Vec::new() } else { table.lines(columns).into_iter().skip(1).collect() }
}
