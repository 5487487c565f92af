//! `resilient top`

use std::process::ExitCode;
use std::time::Duration;

use super::Run;
use crate::failure::Failure;
use crate::session::Session;
use crate::{duration, top};

/// Watch operations, circuits and alerts on the terminal, and control circuits
///
/// Press `?` for the keys. Changes need the admin token.
#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// Time between two updates, from 100ms to 1m
    #[arg(long, default_value = "1s", value_parser = interval)]
    interval: Duration,
}

impl Run for Top {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        if session.is_json() {
            return Err(Failure::usage("`top` has no JSON output")
                .hint("use `resilient stats --json` or `resilient events --json`"));
        }
        top::run(session.api()?, self.interval)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    let range = Duration::from_millis(100)..=Duration::from_mins(1);
    if range.contains(&interval) { Ok(interval) } else { Err("out of range: expected 100ms to 1m".into()) }
}
