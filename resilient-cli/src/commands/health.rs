//! `resilient health`

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::Value;

use super::Run;
use crate::duration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Span, Tone};
use crate::session::Session;
use crate::stats::{text, tone};
use crate::table::Table;

/// Show the health checks; exits with 1 if the health fails
#[derive(Debug, clap::Args)]
pub(crate) struct Health {
    /// Checks to run
    #[arg(long, value_enum, default_value_t = Which::All)]
    checks: Which,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// All except deep and startup checks
    All,
    /// Liveness: must the process be restarted?
    Live,
    /// Readiness: can the process receive traffic?
    Ready,
    /// Readiness and deep checks: does the real work succeed?
    Deep,
}

impl Run for Health {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let path = match self.checks {
            Which::All => "/health",
            Which::Live => "/health/live",
            Which::Ready => "/health/ready",
            Which::Deep => "/health/deep",
        };
        let report = session.api()?.health(path)?;
        let status = text(&report, "status");
        if session.is_json() {
            session.out.json(&report)?;
        } else {
            session.out.line([Span::new(tone(status), status)])?;
            let mut table = Table::new(&["check", "kind", "status", ">took", "output"]);
            for check in checks(&report) {
                let status = text(check, "status");
                let took = match (check["observedUnit"].as_str(), check["observedValue"].as_f64()) {
                    (Some("ms"), Some(millis)) => duration::short(millis / 1e3),
                    _ => "-".into(),
                };
                table.row(vec![
                    text(check, "componentId").into(),
                    text(check, "componentType").into(),
                    Span::new(tone(status), status),
                    took.into(),
                    Span::new(Tone::Plain, text(check, "output")),
                ]);
            }
            if !table.is_empty() {
                session.out.lines(table.lines(session.out.columns()))?;
            }
        }
        Ok(if status == "fail" { Exit::Problems.into() } else { ExitCode::SUCCESS })
    }
}

fn checks(report: &Value) -> impl Iterator<Item = &Value> {
    let groups = report["checks"].as_object().into_iter().flat_map(serde_json::Map::values);
    groups.flat_map(|group| group.as_array().into_iter().flatten())
}
