//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};

use crate::commands::Command;
use crate::secret::Secret;
use crate::{duration, exit};

/// Checks settings, and inspects and controls a service that uses Resilient.
///
/// The commands that need a running service use its admin API. Options take precedence over environment variables, and
/// these over the file `~/.config/resilient/config.toml`.
#[derive(Debug, Parser)]
#[command(name = "resilient", version, after_help = exit::HELP, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of all commands.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    // The value is found in `connection`, which also knows the file.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "URL of the service [env: RESILIENT_URL] [default: http://127.0.0.1:3000]"
    )]
    pub(crate) url: Option<String>,

    /// Path of the admin API at this URL, as set by `Admin::prefix` [default: /api/resilience]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) prefix: Option<String>,

    /// Admin token, visible in the list of processes: prefer `RESILIENT_TOKEN` or `--token-file`
    #[arg(long, global = true, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(crate) token: Option<Secret>,

    /// File that contains the admin token
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// File of the certificate authorities to trust for `https`, in PEM form [env: `RESILIENT_CA`] [default: those that
    /// the system trusts]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// How long to wait for an answer, such as `500ms` or `5s` [default: 5s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,

    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn debug_output_hides_the_token() {
        let cli = Cli::try_parse_from(["resilient", "--token", "very-secret-token", "health"]).unwrap();
        assert!(!format!("{cli:?}").contains("very-secret"), "{cli:?}");
    }
}
