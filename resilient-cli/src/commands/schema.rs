//! `resilient schema`

use std::process::ExitCode;

use super::Run;
use crate::failure::Failure;
use crate::session::Session;

/// Print the JSON Schema of settings files, for editors
#[derive(Debug, clap::Args)]
pub(crate) struct Schema;

impl Run for Schema {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        session.out.raw(&format!("{:#}\n", resilient_runtime::config::schema()))?;
        Ok(ExitCode::SUCCESS)
    }
}
