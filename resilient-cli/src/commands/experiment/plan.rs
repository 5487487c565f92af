//! `resilient experiment plan`

use std::process::ExitCode;

use resilient_chaos::runner;
use resilient_chaos::scenario::InvalidScenario;
use serde_json::{Value, json};
use ureq::http::Method;

use super::print;
use super::source::Source;
use crate::commands::Run;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Check a scenario, and print its time line
///
/// Prints all problems with line, column and remedy. Exits with 1 if there is a problem. With --on-service, the service
/// also compares the scenario with its operations, components and environment. Nothing is injected.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Scenario file, or the name of a shipped scenario
    #[arg(value_name = "FILE|NAME")]
    scenario: String,
    /// Ask the service whether it would refuse the experiment now
    #[arg(long)]
    on_service: bool,
}

impl Run for Plan {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let Source { scenario, mut request } = Source::find(&self.scenario)?;
        let Ok(scenario) = scenario else {
            let Err(invalid) = scenario else { return Ok(ExitCode::SUCCESS) };
            return problems(&invalid, session);
        };
        if self.on_service {
            request["mode"] = json!("plan");
            let api = session.api()?;
            let plan = api.send(Method::POST, "/chaos/experiments", Some(&request))?;
            let text = plan["plan"].as_str().ok_or_else(|| api.unexpected("/chaos/experiments"))?;
            if session.is_json() {
                session.out.json(&plan)?;
            } else {
                print(text, session)?;
            }
            return Ok(if plan["valid"] == true { ExitCode::SUCCESS } else { Exit::Problems.into() });
        }
        if session.is_json() {
            session.out.json(&json!({ "valid": true, "problems": [] }))?;
        } else {
            print(&runner::Plan::of(scenario).to_string(), session)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints the problems of a scenario.
pub(super) fn problems(invalid: &InvalidScenario, session: &Session) -> Result<ExitCode, Failure> {
    if session.is_json() {
        let problem = |problem: &resilient_chaos::scenario::Problem| json!({ "line": problem.line, "column": problem.column, "problem": problem.what });
        let problems: Vec<Value> = invalid.problems().iter().map(problem).collect();
        session.out.json(&json!({ "valid": false, "problems": problems }))?;
    } else {
        print(&invalid.to_string(), session)?;
    }
    Ok(Exit::Problems.into())
}
