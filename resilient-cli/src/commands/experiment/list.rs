//! `resilient experiment list`

use std::process::ExitCode;

use serde_json::Value;

use crate::commands::Run;
use crate::commands::chaos::plain;
use crate::duration::short;
use crate::failure::Failure;
use crate::output::{Span, Tone};
use crate::session::Session;
use crate::stats::text;
use crate::table::Table;

/// List the experiment that runs in the service, and the last ones that ended
#[derive(Debug, clap::Args)]
pub(crate) struct List {}

impl Run for List {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        let all = api.get("/chaos/experiments")?;
        let finished = all["finished"].as_array().ok_or_else(|| api.unexpected("/chaos/experiments"))?;
        if session.is_json() {
            session.out.json(&all)?;
            return Ok(ExitCode::SUCCESS);
        }
        let running = Some(&all["running"]).filter(|running| running.is_object());
        if running.is_none() && finished.is_empty() {
            session.note("no experiment ran since the start of the service; `resilient experiment scenarios` lists some");
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(&["id", "scenario", "state", ">score", ">recovery", "by", "started"]);
        running.into_iter().chain(finished).for_each(|experiment| table.row(row(experiment)));
        session.out.lines(table.lines(session.out.columns()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(experiment: &Value) -> Vec<Span> {
    let state = text(experiment, "state");
    let tone = match state {
        "held" => Tone::Good,
        "deviated" => Tone::Bad,
        _ => Tone::Warning,
    };
    let state = match experiment["phase"].as_str() {
        Some(phase) if state == "running" => format!("{state}: {phase}"),
        _ => state.to_owned(),
    };
    vec![
        plain(&experiment["id"]).into(),
        text(experiment, "scenario").into(),
        Span::new(tone, state),
        score(&experiment["score"]).into(),
        experiment["recovery_seconds"].as_f64().map_or("-".into(), short).into(),
        text(experiment, "by").into(),
        seconds(text(experiment, "started")).into(),
    ]
}

/// The score, as a share or as passed and total weight.
fn score(score: &Value) -> String {
    match (score.as_f64(), score["passed"].as_u64(), score["total"].as_u64()) {
        (Some(share), ..) => crate::stats::percent(share),
        (None, Some(passed), Some(total)) if total > 0 => format!("{passed}/{total}"),
        _ => "-".into(),
    }
}

/// A time without the fraction of a second: `2026-12-01T00:01:46Z`.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}
