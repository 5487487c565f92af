//! `resilient chaos stop`

use std::process::ExitCode;

use serde_json::{Value, json};
use ureq::http::Method;

use crate::commands::{Run, path_by};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Span, Tone};
use crate::session::Session;

/// End a fault, or everything: all faults, the experiment and the monkey
///
/// Exits with 0 only if the service confirmed it. Stopping everything works also if nothing is in force.
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    /// Ids of faults; without any, everything is stopped
    #[arg(value_name = "ID")]
    ids: Vec<u64>,
}

impl Run for Stop {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        if self.ids.is_empty() {
            let stopped = api.send(Method::POST, &path_by("/chaos/stop"), None).map_err(still)?;
            if session.is_json() {
                session.out.json(&stopped)?;
            } else {
                session.out.line([Span::new(Tone::Good, sentence(&stopped))])?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut missing = Vec::new();
        for id in &self.ids {
            match api.send(Method::DELETE, &path_by(&format!("/chaos/faults/{id}")), None) {
                Ok(_) if session.is_json() => {}
                Ok(_) => session.out.line([format!("fault {id} has ended")])?,
                Err(failure) if is_missing(&failure) => missing.push(id.to_string()),
                Err(failure) => return Err(still(failure)),
            }
        }
        if session.is_json() {
            let ended = self.ids.len() - missing.len();
            session.out.json(&json!({ "faults": ended, "not_in_force": missing }))?;
        }
        if missing.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let (is, are) = if missing.len() == 1 { ("fault", "is") } else { ("faults", "are") };
        Err(Failure::new(Exit::Refused, format!("{is} {} {are} not in force", missing.join(", ")))
            .hint("faults end by themselves; `resilient chaos list` shows those in force"))
    }
}

/// Whether the fault has ended before.
fn is_missing(failure: &Failure) -> bool {
    failure.status == Some(404) && !failure.message.contains("feature `chaos`")
}

fn still(failure: Failure) -> Failure {
    if failure.exit == Exit::Unreachable {
        failure.hint("faults that are in force end by themselves after their time to live")
    } else {
        failure
    }
}

/// Describes the stopped parts: `stopped: 2 faults, the experiment dependency-down`.
pub(crate) fn sentence(stopped: &Value) -> String {
    let mut parts = Vec::new();
    match stopped["faults"].as_u64() {
        None | Some(0) => {}
        Some(1) => parts.push("1 fault".to_owned()),
        Some(count) => parts.push(format!("{count} faults")),
    }
    if let Some(name) = stopped["experiment"].as_str() {
        parts.push(format!("the experiment {name}"));
    }
    if stopped["monkey"] == true {
        parts.push("the monkey".to_owned());
    }
    if parts.is_empty() {
        "nothing was injected".to_owned()
    } else {
        format!("stopped: {}", parts.join(", "))
    }
}
