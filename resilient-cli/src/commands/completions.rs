//! `resilient completions`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Run;
use crate::cli::Cli;
use crate::failure::Failure;
use crate::session::Session;

/// Print the completion script for a shell
///
/// For bash: resilient completions bash > ~/.local/share/bash-completion/completions/resilient
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Run for Completions {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "resilient", &mut script);
        session.out.raw(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
