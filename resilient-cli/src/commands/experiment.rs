//! `resilient experiment`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use resilient_chaos::runner::Plan;
use resilient_chaos::scenario;
use resilient_chaos::scenario::{InvalidScenario, Scenario};
use serde_json::json;

use super::Run;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Check and plan chaos experiments
///
/// An experiment runs inside the program that it tests: see `resilient_chaos::Runner`.
#[derive(Debug, clap::Args)]
pub(crate) struct Experiment {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check a scenario, and print its time line
    ///
    /// Prints all problems with line, column and remedy. Exits with 1 if there is a problem.
    Plan {
        /// Scenario file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON Schema of scenario files, for editors
    Schema,
}

impl Run for Experiment {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Plan { file } => plan(&file, session),
            Command::Schema => {
                session.out.raw(&format!("{:#}\n", scenario::schema()))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn print(text: &str, session: &Session) -> Result<(), Failure> {
    session.out.lines(text.lines().map(|line| vec![line.to_owned().into()]))
}

fn plan(file: &Path, session: &Session) -> Result<ExitCode, Failure> {
    std::fs::metadata(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    let scenario = Scenario::load(file);
    if session.is_json() {
        let problems = scenario.as_ref().err().map(InvalidScenario::problems).unwrap_or_default();
        let problems = problems.iter().map(
            |problem| json!({ "line": problem.line, "column": problem.column, "problem": problem.what }),
        );
        let problems: Vec<_> = problems.collect();
        session.out.json(&json!({ "valid": problems.is_empty(), "problems": problems }))?;
    } else {
        match &scenario {
            Ok(scenario) => print(&Plan::of(scenario.clone()).to_string(), session)?,
            Err(invalid) => print(&invalid.to_string(), session)?,
        }
    }
    Ok(if scenario.is_ok() { ExitCode::SUCCESS } else { Exit::Problems.into() })
}
