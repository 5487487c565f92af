//! Exit codes.

use std::process::ExitCode;

/// The exit codes of all commands. `experiment` has its own ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did its work, and there is nothing to report.
    Success = 0,
    /// The command did its work and found problems: invalid settings, a failed health check or a firing alert.
    Problems = 1,
    /// Wrong arguments, or a local file that cannot be read. Also used by clap.
    Usage = 2,
    /// There is no service at the URL, or it is not the admin API.
    Unreachable = 3,
    /// The token is missing or wrong, or the client is locked out.
    Denied = 4,
    /// The service rejected the request: unknown component, or a value that is out of range.
    Refused = 5,
}

/// The description of the exit codes in `--help` and the man page.
pub(crate) const HELP: &str = "\
Exit codes:
  0  success
  1  problems found: invalid settings, a failed health check, a firing alert
  2  wrong arguments, or a file that cannot be read
  3  no service at the URL, or another program
  4  token missing or wrong, or locked out
  5  request rejected: unknown component, or a value out of range";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
