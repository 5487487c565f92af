//! `resilient reset`

use std::process::ExitCode;

use ureq::http::Method;

use super::{Component, Run, changed};
use crate::failure::Failure;
use crate::session::Session;

/// Reset a component to its initial state; its settings stay
#[derive(Debug, clap::Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    component: Component,
}

impl Run for Reset {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let answer = session.api()?.send(Method::POST, &self.component.path("/reset"), None)?;
        let Component { kind, name } = &self.component;
        changed(session, &answer, format!("{kind} `{name}` is reset"))
    }
}
