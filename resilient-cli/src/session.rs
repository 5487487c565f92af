//! The parts that all commands share: the global options, the output and the connection.

use std::process::ExitCode;

use crate::api::Api;
use crate::cli::Global;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, Tone};

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    global: Global,
    pub(crate) out: Output,
}

#[allow(clippy::unused_self)] // a command writes only through its session
impl Session {
    pub(crate) fn new(global: Global) -> Self {
        Self { global, out: Output::new() }
    }

    /// Whether the output is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.global.json
    }

    /// Prepares the connection to the admin API. This sends no request.
    ///
    /// # Errors
    /// Fails if the URL, the token, the certificates or the configuration file of this program are invalid.
    pub(crate) fn api(&self) -> Result<Api, Failure> {
        let (connection, warnings) = Connection::find(&self.global)?;
        warnings.iter().for_each(|warning| self.warn(warning));
        Api::new(connection)
    }

    pub(crate) fn warn(&self, what: &str) {
        output::message(Tone::Warning, "warning", what);
    }

    /// Tells the user what happens, apart from the data.
    pub(crate) fn note(&self, what: &str) {
        output::message(Tone::Faint, "note", what);
    }

    /// Prints a failure with its remedies, and returns its exit code.
    pub(crate) fn report(&self, failure: &Failure) -> ExitCode {
        if !failure.is_silent {
            output::message(Tone::Bad, "error", &failure.message);
            failure.hints.iter().for_each(|hint| output::message(Tone::Faint, " hint", hint));
        }
        failure.exit.into()
    }
}
