//! `resilient monkey stop`

use std::process::ExitCode;

use ureq::http::Method;

use crate::commands::{Run, path_by};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Stop the chaos monkey of the service, and remove its faults
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {}

impl Run for Stop {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let answer =
            session.api()?.send(Method::DELETE, &path_by("/chaos/monkey"), None).map_err(|failure| {
                if failure.status == Some(404) && failure.hints.is_empty() {
                    return Failure::new(Exit::Refused, "no monkey runs")
                        .hint("`resilient chaos stop` ends faults that were injected by hand");
                }
                failure
            })?;
        super::super::changed(
            session,
            &answer,
            "the monkey has stopped, and its faults are removed".to_owned(),
        )
    }
}
