//! `resilient experiment stop`

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::Method;

use crate::api::{Api, segment};
use crate::commands::chaos::plain;
use crate::commands::{Run, path_by};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::stats::text;

/// Pause between two questions whether it ended.
const PAUSE: Duration = Duration::from_millis(100);
/// The faults are removed within 100 ms. Writing the report can take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Abort the experiment that runs, and wait until its faults are removed
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    /// Id of the experiment; without it, the one that runs
    #[arg(value_name = "ID")]
    id: Option<String>,
}

impl Run for Stop {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        let id = match self.id {
            Some(id) => id,
            None => match &api.get("/chaos/experiments")?["running"] {
                Value::Object(running) => plain(&running["id"]),
                _ => {
                    return Err(Failure::new(Exit::Refused, "no experiment runs")
                        .hint("`resilient chaos stop` ends faults that were injected by hand"));
                }
            },
        };
        let path = format!("/chaos/experiments/{}", segment(&id));
        api.send(Method::DELETE, &path_by(&path), None)?;
        let ended = wait(&api, &path)?;
        if session.is_json() {
            session.out.json(&ended)?;
        } else {
            session.out.line([format!(
                "experiment {id} {}: {}",
                text(&ended, "scenario"),
                text(&ended, "state")
            )])?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn wait(api: &Api, path: &str) -> Result<Value, Failure> {
    let start = Instant::now();
    loop {
        let experiment = api.get(path)?;
        if experiment["state"] != "running" {
            return Ok(experiment);
        }
        if start.elapsed() >= PATIENCE {
            return Err(Failure::new(Exit::Refused, "the experiment does not end, although it was aborted")
                .hint("`resilient chaos stop` ends all faults at once"));
        }
        sleep(PAUSE);
    }
}
