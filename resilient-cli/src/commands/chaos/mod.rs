//! `resilient chaos`

mod inject;
mod list;
mod stop;

use std::process::ExitCode;

pub(crate) use list::{monkey, plain, running};
pub(crate) use stop::sentence;

use super::Run;
use crate::failure::Failure;
use crate::session::Session;

/// List, inject and stop faults in a running service
///
/// The service must be built with the feature `chaos`. A fault ends by itself after its time to live. Changes need the
/// admin token.
#[derive(Debug, clap::Args)]
pub(crate) struct Chaos {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::List),
    Inject(Box<inject::Inject>),
    Stop(stop::Stop),
}

impl Run for Chaos {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        match self.command {
            Command::List(list) => list.run(session),
            Command::Inject(inject) => inject.run(session),
            Command::Stop(stop) => stop.run(session),
        }
    }
}
