//! `resilient experiment`

mod list;
mod plan;
mod report;
mod run;
mod source;
mod stop;

use std::process::ExitCode;

use resilient_chaos::scenario::{self, Shipped};
use serde_json::json;

use super::Run;
use crate::failure::Failure;
use crate::session::Session;
use crate::table::Table;

/// Plan, run and report chaos experiments
///
/// An experiment runs inside the service that it tests, which must be built with the feature `chaos`. Starting and
/// stopping one needs the admin token. `plan`, `report`, `scenarios` and `schema` need no service.
#[derive(Debug, clap::Args)]
pub(crate) struct Experiment {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Plan(plan::Plan),
    Run(Box<run::RunExperiment>),
    Report(report::Report),
    List(list::List),
    Stop(stop::Stop),
    /// List the scenarios that this program contains
    Scenarios,
    /// Print the JSON Schema of scenario files, for editors
    Schema,
}

impl Run for Experiment {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Plan(plan) => plan.run(session),
            Command::Run(run) => run.run(session),
            Command::Report(report) => report.run(session),
            Command::List(list) => list.run(session),
            Command::Stop(stop) => stop.run(session),
            Command::Scenarios => scenarios(session),
            Command::Schema => {
                session.out.raw(&format!("{:#}\n", scenario::schema()))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn scenarios(session: &Session) -> Result<ExitCode, Failure> {
    let all = Shipped::all().iter().map(Shipped::scenario);
    if session.is_json() {
        let all = all.map(|scenario| {
            let seconds = scenario.end_of_steps().as_secs_f64();
            json!({ "name": scenario.name, "hypothesis": scenario.hypothesis, "environment": scenario.environment, "duration_seconds": seconds })
        });
        session.out.json(&all.collect())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["scenario", ">faults", "hypothesis"]);
    for scenario in all {
        let seconds = scenario.end_of_steps().as_secs_f64();
        table.row(vec![
            scenario.name.into(),
            crate::duration::short(seconds).into(),
            scenario.hypothesis.into(),
        ]);
    }
    session.out.lines(table.lines(session.out.columns()))?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str, session: &Session) -> Result<(), Failure> {
    session.out.lines(text.lines().map(|line| vec![line.to_owned().into()]))
}
