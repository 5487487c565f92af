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
    /// Command to describe, such as `check` or `chaos inject`
    command: Vec<String>,
}

impl Run for Man {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let mut all = Cli::command();
        // Passes the global options on to the commands.
        all.build();
        let mut page = all;
        for name in &self.command {
            let found = page.find_subcommand(name).cloned();
            page = found.ok_or_else(|| {
                Failure::usage(format!("unknown command `{}`", self.command.join(" ")))
                    .hint("`resilient help` lists the commands")
            })?;
        }
        let title = page.get_bin_name().unwrap_or("resilient").replace(' ', "-");
        let mut text = Vec::new();
        clap_mangen::Man::new(page.name(title)).render(&mut text)?;
        session.out.raw(&String::from_utf8_lossy(&text))?;
        Ok(ExitCode::SUCCESS)
    }
}
