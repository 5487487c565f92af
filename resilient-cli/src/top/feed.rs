//! Reads the statistics again and again, and changes circuits.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Method;

use super::Input;
use crate::api::{Api, segment};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stats::text;

/// Pause after a rejected token. Five wrong tokens within a minute lock a client out, and this is slower.
const AFTER_DENIAL: Duration = Duration::from_secs(15);

/// News from the service.
#[derive(Clone, Debug)]
pub(super) enum Update {
    Stats(Box<Value>),
    Failed(Failure),
    /// The version of Resilient in the service.
    Version(String),
    /// The result of a change.
    Acted(Result<String, Failure>),
}

/// A change of a circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) lever: Lever,
    pub(super) circuit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lever {
    Open,
    Close,
    Resume,
    Reset,
}

pub(super) fn read(api: &Api) -> Update {
    match api.get("/stats") {
        Ok(stats) if stats["operations"].is_object() => Update::Stats(Box::new(stats)),
        Ok(_) => Update::Failed(api.unexpected("/stats")),
        Err(failure) => Update::Failed(failure),
    }
}

/// Starts the thread that reads the statistics. It ends when the receiver is dropped.
pub(super) fn start(api: Arc<Api>, interval: Duration, inputs: Sender<Input>) {
    thread::spawn(move || {
        let mut is_known = false;
        loop {
            let update = read(&api);
            let pause = match &update {
                Update::Failed(failure) if failure.exit == Exit::Denied => AFTER_DENIAL,
                _ => interval,
            };
            let is_good = matches!(update, Update::Stats(_));
            if inputs.send(Input::Update(update)).is_err() {
                return;
            }
            // A service that restarts can have another version.
            if is_good && !is_known {
                let version = api.version().map(Update::Version);
                if version.is_some_and(|version| inputs.send(Input::Update(version)).is_err()) {
                    return;
                }
            }
            is_known = is_good;
            thread::sleep(pause);
        }
    });
}

/// Changes a circuit on a thread of its own. The result arrives as an update, followed by new statistics.
pub(super) fn act(api: Arc<Api>, action: Action, inputs: Sender<Input>) {
    thread::spawn(move || {
        let name = segment(&action.circuit);
        let path = match action.lever {
            Lever::Open => format!("/circuit_breaker/{name}/open"),
            Lever::Close => format!("/circuit_breaker/{name}/close"),
            Lever::Resume => format!("/circuit_breaker/{name}/resume"),
            Lever::Reset => format!("/reset/circuit_breaker/{name}"),
        };
        let result = api.send(Method::POST, &path, None).map(|answer| match action.lever {
            Lever::Reset => format!("circuit `{}` is reset", action.circuit),
            _ => format!("circuit `{}` is {}", action.circuit, text(&answer, "state")),
        });
        // If the view has ended, the channel is closed.
        let _ = inputs.send(Input::Update(Update::Acted(result)));
        let _ = inputs.send(Input::Update(read(&api)));
    });
}
