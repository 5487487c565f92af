//! `resilient monkey plan`

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use resilient_chaos::monkey::{Config, Decision, Forecast};
use serde_json::{Value, json};

use super::{load, problems};
use crate::commands::Run;
use crate::duration::short;
use crate::failure::Failure;
use crate::output::{Line, Span, Tone};
use crate::session::Session;
use crate::stats::percent;

/// Check the settings, and print what they allow and the next decisions
///
/// Shows the decisions of a monkey that starts now or at `--start`, if no alert fires and no experiment runs. Exits with
/// 1 if the settings have a problem.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Settings of the monkey, as TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Number of injections to print
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
    count: u16,
    /// When the monkey starts, such as `2026-12-01T08:00:00Z` [default: now]
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// Seed to use instead of the one in the settings
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

impl Run for Plan {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let mut config = match load(&self.file)?.0 {
            Ok(config) => config,
            Err(invalid) => return problems(&invalid, session),
        };
        config.seed = self.seed.unwrap_or(config.seed);
        let start = self.start.unwrap_or_else(Timestamp::now);
        let decisions = config.forecast(start, self.count.into());
        if session.is_json() {
            let decisions: Vec<_> = decisions.iter().map(as_json).collect();
            session.out.json(&json!({ "valid": true, "problems": [], "decisions": decisions }))?;
        } else {
            session.out.lines(settings(&config))?;
            session.out.line([""])?;
            session.out.lines(timeline(&decisions))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn settings(config: &Config) -> Vec<Line> {
    let clock =
        |time: std::time::Duration| format!("{:02}:{:02}", time.as_secs() / 3600, time.as_secs() / 60 % 60);
    let days: Vec<_> =
        config.days.iter().map(|day| format!("{day:?}").chars().take(3).collect::<String>()).collect();
    let plural = if config.budget_per_hour == 1 { "" } else { "s" };
    let zone = config.time_zone.iana_name().unwrap_or("UTC");
    let mut lines: Vec<Line> = vec![
        vec![
            Span::new(Tone::Strong, config.name.clone()),
            format!(
                ": owner {}, environments {}, seed {}",
                config.owner,
                config.environment.join(", "),
                config.seed
            )
            .into(),
        ],
        vec![
            format!(
                "at most {} fault{plural} in any hour, {} from {} to {} {zone}",
                config.budget_per_hour,
                days.join(", "),
                clock(config.from),
                clock(config.to)
            )
            .into(),
        ],
        vec![
            "no two faults of a group at the same time, none while an alert fires or an experiment runs"
                .into(),
        ],
        vec![],
        vec![Span::new(Tone::Faint, "faults")],
    ];
    for fault in &config.faults {
        lines.push(vec![
            "  ".into(),
            Span::new(Tone::Strong, fault.id.clone()),
            format!(
                ": {}, {} of the calls, for {}, group {}, weight {}",
                fault.describe(),
                percent(fault.rate),
                short(fault.duration.as_secs_f64()),
                fault.group,
                fault.weight
            )
            .into(),
        ]);
    }
    lines
}

/// The decisions. Equal decisions to do nothing share a line.
fn timeline(decisions: &[Forecast]) -> Vec<Line> {
    let mut lines =
        vec![vec![Span::new(Tone::Faint, "next decisions, if no alert fires and no experiment runs")]];
    let mut skipped: Option<(&str, &Forecast, u64)> = None;
    let told = |skipped: Option<(&str, &Forecast, u64)>| {
        skipped.map(|(reason, first, count)| {
            let times = if count == 1 { String::new() } else { format!(" ({count} decisions)") };
            vec![Span::new(Tone::Faint, format!("  {}  nothing: {reason}{times}", time(first)))]
        })
    };
    for forecast in decisions {
        match &forecast.decision {
            Decision::Skip { reason } => match &mut skipped {
                Some((last, _, count)) if last == reason => *count += 1,
                _ => {
                    lines.extend(told(skipped.take()));
                    skipped = Some((reason, forecast, 1));
                }
            },
            Decision::Inject { fault } => {
                lines.extend(told(skipped.take()));
                lines.push(vec![
                    format!("  {}  ", time(forecast)).into(),
                    Span::new(Tone::Strong, fault.clone()),
                ]);
            }
            _ => {}
        }
    }
    lines.extend(told(skipped));
    lines
}

fn time(forecast: &Forecast) -> String {
    forecast.local.strftime("%a %Y-%m-%d %H:%M:%S").to_string()
}

fn as_json(forecast: &Forecast) -> Value {
    let (fault, reason) = match &forecast.decision {
        Decision::Inject { fault } => (Some(fault), None),
        Decision::Skip { reason } => (None, Some(reason)),
        _ => (None, None),
    };
    json!({ "local": forecast.local.to_string(), "seconds": forecast.at.as_secs_f64(), "fault": fault, "reason": reason })
}
