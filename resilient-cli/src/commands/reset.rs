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
    /// Which instances: this one, or all that share a circuit breaker through a store
    #[arg(long, value_enum, default_value_t = Scope::Local)]
    scope: Scope,
}

/// Which instances are reset.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Scope {
    Local,
    Cluster,
}

impl Run for Reset {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let (query, where_) = match self.scope {
            Scope::Local => ("", ""),
            Scope::Cluster => ("?scope=cluster", " in all instances"),
        };
        let path = format!("{}{query}", self.component.path("/reset"));
        let answer = session.api()?.send(Method::POST, &path, None)?;
        let Component { kind, name } = &self.component;
        changed(session, &answer, format!("{kind} `{name}` is reset{where_}"))
    }
}
