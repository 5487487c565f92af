//! Where a scenario comes from: a file, or the scenarios that this program contains.

use std::path::Path;

use resilient_chaos::scenario::{InvalidScenario, Scenario, Shipped, shipped};
use serde_json::{Value, json};

use crate::commands::near;
use crate::failure::Failure;

/// A scenario that was found, with all of its problems if it is invalid.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) scenario: Result<Scenario, InvalidScenario>,
    /// How the service gets it: `{"scenario": NAME}` or `{"toml": TEXT}`.
    pub(super) request: Value,
}

impl Source {
    /// Finds the scenario with this name, or reads the file.
    ///
    /// # Errors
    /// Fails with near names if there is no scenario with this name, and no file that can be read.
    pub(super) fn find(name: &str) -> Result<Self, Failure> {
        let path = Path::new(name);
        if let Some(found) = shipped(name).filter(|_| !path.exists()) {
            return Ok(Self { scenario: Ok(found.scenario()), request: json!({ "scenario": name }) });
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            let is_name = !name.contains(['/', '\\', '.']);
            if error.kind() == std::io::ErrorKind::NotFound && is_name {
                return unknown(name);
            }
            Failure::usage(format!("cannot read {}: {error}", path.display()))
        })?;
        // Reads the file again, so that problems name it.
        Ok(Self { scenario: Scenario::load(path), request: json!({ "toml": text }) })
    }
}

fn unknown(name: &str) -> Failure {
    let all = Shipped::all().iter().map(|shipped| shipped.name);
    let failure = Failure::usage(format!("there is no file and no shipped scenario `{name}`"));
    match near(name, all).first() {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("`resilient experiment scenarios` lists the shipped scenarios"),
    }
}
