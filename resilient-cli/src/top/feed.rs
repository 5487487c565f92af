//! Reads the statistics and the fault injection again and again, and changes circuits.

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
    /// The fault injection of the service. `None` if it was built without, or does not tell.
    Chaos(Option<Box<Value>>),
    Failed(Failure),
    /// The version of Resilient in the service.
    Version(String),
    /// The result of a change.
    Acted(Result<String, Failure>),
}

/// A change that the user must confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Changes a circuit breaker.
    Circuit { lever: Lever, circuit: String },
    /// Ends all faults, the experiment and the monkey.
    StopChaos,
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

/// Reads the fault injection. A service without it is asked again only after it was gone.
fn read_chaos(api: &Api, is_there: &mut bool) -> Update {
    if !*is_there {
        return Update::Chaos(None);
    }
    match api.get("/chaos") {
        Ok(chaos) => Update::Chaos(Some(Box::new(chaos))),
        Err(failure) => {
            *is_there = failure.exit == Exit::Unreachable;
            Update::Chaos(None)
        }
    }
}

/// Starts the thread that reads the statistics. It ends when the receiver is dropped.
pub(super) fn start(api: Arc<Api>, interval: Duration, inputs: Sender<Input>) {
    thread::spawn(move || {
        let mut is_known = false;
        let mut has_chaos = true;
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
            // A service that restarts can also have fault injection.
            has_chaos |= !is_good;
            if is_good {
                let chaos = read_chaos(&api, &mut has_chaos);
                if inputs.send(Input::Update(chaos)).is_err() {
                    return;
                }
            }
            is_known = is_good;
            thread::sleep(pause);
        }
    });
}

/// Makes a change on a thread of its own. The result arrives as an update, followed by new figures.
pub(super) fn act(api: Arc<Api>, action: Action, inputs: Sender<Input>) {
    thread::spawn(move || {
        let result = match &action {
            Action::Circuit { lever, circuit } => change(&api, *lever, circuit),
            Action::StopChaos => {
                let stopped = api.send(Method::POST, "/chaos/stop", None);
                stopped.map(|stopped| crate::commands::chaos::sentence(&stopped))
            }
        };
        // If the view has ended, the channel is closed.
        let _ = inputs.send(Input::Update(Update::Acted(result)));
        let _ = inputs.send(Input::Update(read(&api)));
        if action == Action::StopChaos {
            let _ = inputs.send(Input::Update(read_chaos(&api, &mut true)));
        }
    });
}

fn change(api: &Api, lever: Lever, circuit: &str) -> Result<String, Failure> {
    let name = segment(circuit);
    let path = match lever {
        Lever::Open => format!("/circuit_breaker/{name}/open"),
        Lever::Close => format!("/circuit_breaker/{name}/close"),
        Lever::Resume => format!("/circuit_breaker/{name}/resume"),
        Lever::Reset => format!("/reset/circuit_breaker/{name}"),
    };
    api.send(Method::POST, &path, None).map(|answer| match lever {
        Lever::Reset => format!("circuit `{circuit}` is reset"),
        _ => format!("circuit `{circuit}` is {}", text(&answer, "state")),
    })
}
