//! `resilient monkey`

mod plan;
mod run;
mod stop;

use std::path::Path;
use std::process::ExitCode;

use resilient_chaos::monkey::Config;
use resilient_chaos::scenario::InvalidScenario;
use serde_json::json;

use super::Run;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Plan, run and stop the chaos monkey, which injects random faults of a list
///
/// It runs inside the service, which must be built with the feature `chaos`. Starting and stopping it needs the admin
/// token. `plan` needs no service.
#[derive(Debug, clap::Args)]
pub(crate) struct Monkey {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Plan(plan::Plan),
    Run(run::RunMonkey),
    Stop(stop::Stop),
}

impl Run for Monkey {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Plan(plan) => plan.run(session),
            Command::Run(run) => run.run(session),
            Command::Stop(stop) => stop.run(session),
        }
    }
}

/// Reads the settings, and their text. All problems are returned.
fn load(path: &Path) -> Result<(Result<Config, InvalidScenario>, String), Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    Ok((Config::load(path), text))
}

/// Prints all problems of the settings.
fn problems(invalid: &InvalidScenario, session: &Session) -> Result<ExitCode, Failure> {
    if session.is_json() {
        let problems = invalid.problems().iter().map(
            |problem| json!({ "line": problem.line, "column": problem.column, "problem": problem.what }),
        );
        session.out.json(&json!({ "valid": false, "problems": problems.collect::<Vec<_>>() }))?;
    } else {
        session.out.lines(invalid.to_string().lines().map(|line| vec![line.to_owned().into()]))?;
    }
    Ok(Exit::Problems.into())
}
