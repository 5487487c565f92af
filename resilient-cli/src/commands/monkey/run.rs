//! `resilient monkey run`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use ureq::http::Method;

use super::{load, problems};
use crate::commands::{Run, path_by, who};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{self, News};
use crate::journal::Lines;
use crate::session::Session;
use crate::stats::text;

/// Run the chaos monkey in the service, and follow its decisions
///
/// Checks the settings, starts the monkey, and prints what it decides. Ctrl-C stops it and removes its faults. If this
/// command dies or its connection is lost, the service stops it by itself after a few seconds.
#[derive(Debug, clap::Args)]
pub(crate) struct RunMonkey {
    /// Settings of the monkey, as TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Start it, and end without waiting. It runs until `resilient monkey stop`
    #[arg(long)]
    detach: bool,
    /// Name to record for the monkey [default: the name of the user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

const PATH: &str = "/chaos/monkey";

impl Run for RunMonkey {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let (config, toml) = load(&self.file)?;
        if let Err(invalid) = config {
            return problems(&invalid, session);
        }
        let api = Arc::new(session.api()?);
        // Without a follower, Ctrl-C ends this program as usual.
        let channel = if self.detach { None } else { Some(follow::listen()?) };
        let body = json!({ "toml": toml, "by": who(self.by.as_deref()), "attended": !self.detach });
        let state = api.send(Method::POST, PATH, Some(&body)).map_err(|failure| {
            if failure.status == Some(409) {
                failure.hint("`resilient monkey stop` stops the one that runs")
            } else {
                failure
            }
        })?;
        let Some((news, received)) = channel else {
            if session.is_json() {
                session.out.json(&state)?;
            } else {
                session
                    .out
                    .line([format!("monkey {} runs until `resilient monkey stop`", text(&state, "name"))])?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        session.note(&format!("monkey {} runs at {}; Ctrl-C stops it", text(&state, "name"), api.base()));
        follow::start(Arc::clone(&api), format!("{PATH}/journal"), news);
        let mut lines = Lines::default();
        let mut is_stopped = false;
        while let Ok(news) = received.recv() {
            match news {
                News::Entry(entry) => {
                    let printed = if session.is_json() {
                        session.out.json_line(&entry)
                    } else {
                        session.out.lines(lines.of(&entry))
                    };
                    if let Err(failure) = printed {
                        // The reader of the output is gone.
                        api.send(Method::DELETE, &path_by(PATH), None)?;
                        return Err(failure);
                    }
                }
                News::Interrupted if is_stopped => break,
                News::Interrupted => {
                    is_stopped = true;
                    session.note("stopping the monkey");
                    match api.send(Method::DELETE, &path_by(PATH), None) {
                        Ok(_) => {}
                        // It ended by itself in this moment.
                        Err(failure) if failure.status == Some(404) => {}
                        Err(failure) => {
                            return Err(
                                failure.hint("without a follower, the service stops it within a few seconds")
                            );
                        }
                    }
                }
                News::Lost => {
                    session.warn("connection lost; connecting again. After 2 s without it, the service stops the monkey");
                }
                News::Back => session.note("connected again"),
                News::End if is_stopped => {
                    session.note("the monkey has stopped, and its faults are removed");
                    break;
                }
                News::End => {
                    return Err(Failure::new(Exit::Problems, "the monkey was stopped in the service"));
                }
                News::Gone(failure) => {
                    let message = format!("the monkey cannot be followed any more: {}", failure.message);
                    return Err(Failure { message, ..failure });
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
