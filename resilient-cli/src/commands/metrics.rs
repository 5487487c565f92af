//! `resilient metrics`

use std::process::ExitCode;

use super::Run;
use crate::failure::Failure;
use crate::session::Session;
use crate::text;

/// Print the metrics in the Prometheus text format
#[derive(Debug, clap::Args)]
pub(crate) struct Metrics;

impl Run for Metrics {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        if session.is_json() {
            return Err(Failure::usage("the metrics have no JSON form").hint("use `resilient stats --json`"));
        }
        let metrics = session.api()?.text("/metrics")?;
        let lines = metrics.lines().map(|line| text::safe(line).into_owned() + "\n");
        session.out.raw(&lines.collect::<String>())?;
        Ok(ExitCode::SUCCESS)
    }
}
