//! The command `resilient`: checks settings files, and inspects and controls a running service over its admin API.
//!
//! Data goes to standard output, and messages go to standard error. `docs/cli.md` documents every command and the exit
//! codes. A new command is one file in `commands` and one row of the table there.

#![forbid(unsafe_code)]

mod api;
mod cli;
mod commands;
mod connection;
mod duration;
mod exit;
mod failure;
mod follow;
mod interrupt;
mod journal;
mod output;
mod secret;
mod session;
mod stats;
mod table;
mod text;
#[cfg(feature = "tls")]
mod tls;
mod top;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use session::Session;

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let session = Session::new(global);
    match command.run(&session) {
        Ok(code) => code,
        Err(failure) => session.report(&failure),
    }
}
