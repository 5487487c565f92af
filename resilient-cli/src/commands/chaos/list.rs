//! `resilient chaos list`

use std::process::ExitCode;

use serde_json::Value;

use crate::commands::Run;
use crate::duration::short;
use crate::failure::Failure;
use crate::output::{Span, Tone};
use crate::session::Session;
use crate::stats::text;
use crate::table::Table;

/// Show the faults in force, the limits, and the experiment and the monkey that run
#[derive(Debug, clap::Args)]
pub(crate) struct List {}

impl Run for List {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        let chaos = api.get("/chaos")?;
        let faults = chaos["faults"].as_array().ok_or_else(|| api.unexpected("/chaos"))?;
        if session.is_json() {
            session.out.json(&chaos)?;
            return Ok(ExitCode::SUCCESS);
        }
        if faults.is_empty() {
            session.out.line(["no fault is in force"])?;
        } else {
            session.out.lines(table(faults).lines(session.out.columns()))?;
        }
        for (id, warning) in faults.iter().flat_map(warnings) {
            session.out.line([Span::new(Tone::Warning, format!("warning: fault {id}: {warning}"))])?;
        }
        session.out.line([summary(&chaos)])?;
        if let Some(line) = running(&chaos["experiment"]) {
            session.out.line([Span::new(Tone::Warning, line)])?;
        }
        if let Some(line) = monkey(&chaos["monkey"]) {
            session.out.line([Span::new(Tone::Warning, line)])?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(faults: &[Value]) -> Table {
    let mut table = Table::new(&[">id", "fault", "target", "by", ">left", ">injected", ">holds"]);
    for fault in faults {
        table.row(vec![
            fault["id"].to_string().into(),
            Span::new(Tone::Strong, text(fault, "action")),
            text(fault, "target").into(),
            text(fault, "by").into(),
            fault["expires_in"].as_f64().map_or("?".into(), short).into(),
            fault["injected"].to_string().into(),
            fault["active"].to_string().into(),
        ]);
    }
    table
}

/// The warnings of a fault, such as a target that matches no known operation.
pub(super) fn warnings(fault: &Value) -> impl Iterator<Item = (String, &str)> {
    let warnings = fault["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    warnings.map(|warning| (fault["id"].to_string(), warning))
}

/// The environment, the limits and the total: `environment staging; limits: 20% of the calls, 3 faults; 17 injected`.
fn summary(chaos: &Value) -> String {
    let mut parts = Vec::new();
    match chaos["environment"].as_str() {
        Some(environment) => parts.push(format!("environment {environment}")),
        None => parts.push("environment unknown".to_owned()),
    }
    let limits = &chaos["limits"];
    if let (Some(rate), Some(faults)) = (limits["max_rate"].as_f64(), limits["max_faults"].as_u64()) {
        parts.push(format!("at most {faults} faults, and {} of the calls", crate::stats::percent(rate)));
    }
    if let Some(injected) = chaos["injected"].as_u64() {
        parts.push(format!("injected {injected} times since the start"));
    }
    parts.join("; ")
}

/// The experiment that runs: `experiment 3 dependency-down runs (steps, by ada)`.
pub(crate) fn running(experiment: &Value) -> Option<String> {
    let name = experiment["scenario"].as_str()?;
    let details: Vec<_> = [("phase", ""), ("by", "by ")]
        .iter()
        .filter_map(|(key, before)| Some(format!("{before}{}", experiment[key].as_str()?)))
        .collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    Some(format!("experiment {} {name} runs{details}", plain(&experiment["id"])))
}

/// The monkey that runs.
pub(crate) fn monkey(monkey: &Value) -> Option<String> {
    let name = monkey["name"].as_str()?;
    let by = monkey["by"].as_str().map(|by| format!(" (by {by})")).unwrap_or_default();
    Some(format!("monkey {name} runs{by}"))
}

/// An id, which is a number or a text.
pub(crate) fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
