//! `resilient unset`

use std::process::ExitCode;

use serde_json::{Map, Value};
use ureq::http::Method;

use super::{Component, Run, changed};
use crate::failure::Failure;
use crate::session::Session;

/// Remove overrides that `resilient set` or the dashboard made
#[derive(Debug, clap::Args)]
pub(crate) struct Unset {
    #[command(flatten)]
    component: Component,
    /// Settings whose override is removed; without any, all of them
    #[arg(value_name = "KEY")]
    settings: Vec<String>,
}

impl Run for Unset {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let path = self.component.path("/config");
        let (answer, what) = if self.settings.is_empty() {
            (session.api()?.send(Method::DELETE, &path, None)?, "all overrides".to_owned())
        } else {
            let keys: Vec<_> = self.settings.iter().map(|key| format!("`{key}`")).collect();
            let body: Map<_, _> = self.settings.into_iter().map(|key| (key, Value::Null)).collect();
            let what = format!("overrides of {}", keys.join(", "));
            (session.api()?.send(Method::PATCH, &path, Some(&body.into()))?, what)
        };
        let Component { kind, name } = &self.component;
        changed(session, &answer, format!("{kind} `{name}`: {what} removed"))
    }
}
