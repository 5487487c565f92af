//! Errors that end a command, with a remedy.

use std::io;

use crate::exit::Exit;

/// Why a command failed, its exit code, and what the user can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// The HTTP status of the answer, if the service answered with a problem.
    pub(crate) status: Option<u16>,
    pub(crate) message: String,
    /// Remedies, one line each.
    pub(crate) hints: Vec<String>,
    /// The reader of the output is gone. Nothing is printed.
    pub(crate) is_silent: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, status: None, message: message.into(), hints: Vec::new(), is_silent: false }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// An error while writing to standard output. A closed pipe, as in `resilient stats | head -1`, is a normal end.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { is_silent: true, ..Self::new(Exit::Success, "") };
        }
        Self::usage(format!("cannot write to standard output: {error}"))
    }
}
