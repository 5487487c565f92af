//! `resilient man`

use std::process::ExitCode;

use clap::CommandFactory;

use super::Run;
use crate::cli::Cli;
use crate::failure::Failure;
use crate::session::Session;

/// Print the manual page, of the program or of a command
///
/// To read it: resilient man | man -l -
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Command to describe, such as `check`
    command: Option<String>,
}

impl Run for Man {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let mut all = Cli::command();
        // Passes the global options on to the commands.
        all.build();
        let page = match &self.command {
            None => all,
            Some(name) => {
                let found = all.find_subcommand(name).cloned();
                found.ok_or_else(|| {
                    Failure::usage(format!("unknown command `{name}`"))
                        .hint("`resilient help` lists the commands")
                })?
            }
        };
        let title = page.get_bin_name().unwrap_or("resilient").replace(' ', "-");
        let mut text = Vec::new();
        clap_mangen::Man::new(page.name(title)).render(&mut text)?;
        session.out.raw(&String::from_utf8_lossy(&text))?;
        Ok(ExitCode::SUCCESS)
    }
}
