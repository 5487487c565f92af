//! `resilient alerts`

use std::process::ExitCode;

use serde_json::Value;

use super::Run;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Span, Tone};
use crate::session::Session;
use crate::stats::{text, tone};
use crate::table::Table;

/// Show the state of the alerts
#[derive(Debug, clap::Args)]
pub(crate) struct Alerts {
    /// Exit with 1 if an alert fires
    #[arg(long)]
    exit_code: bool,
}

impl Run for Alerts {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        let alerts = api.get("/alerts")?;
        let all = alerts.as_object().ok_or_else(|| api.unexpected("/alerts"))?;
        if session.is_json() {
            session.out.json(&alerts)?;
        } else if all.is_empty() {
            session.note("the service has no alerts; `[alert.NAME]` in its settings file adds one");
        } else {
            let mut table = Table::new(&["alert", "severity", "signal", ">value", ">fired", "operation"]);
            let mut rows: Vec<_> = all.iter().collect();
            rows.sort_by_key(|(_, alert)| match text(alert, "severity") {
                "critical" => 0,
                "" => 2,
                _ => 1,
            });
            for (name, alert) in rows {
                let severity = text(alert, "severity");
                let severity = if severity.is_empty() {
                    Span::new(Tone::Good, "quiet")
                } else {
                    Span::new(tone(severity), severity)
                };
                let value = alert["value"].as_f64().map_or("-".into(), |value| format!("{value:.3}"));
                let fired = alert["fired"].to_string();
                let operation = alert["operation"].as_str().unwrap_or("all operations");
                table.row(vec![
                    name.as_str().into(),
                    severity,
                    text(alert, "signal").into(),
                    value.into(),
                    fired.into(),
                    operation.into(),
                ]);
            }
            session.out.lines(table.lines(session.out.columns()))?;
        }
        let fires = all.values().any(|alert| matches!(alert["severity"], Value::String(_)));
        Ok(if self.exit_code && fires { Exit::Problems.into() } else { ExitCode::SUCCESS })
    }
}
