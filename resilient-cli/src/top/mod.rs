//! A live view of a service on the terminal.
//!
//! One thread reads the statistics, one reads the keys, and both send to the main thread, which draws. A change of a
//! circuit runs on a thread of its own, so that a slow service never blocks the keys.

mod feed;
mod history;
mod keys;
mod rows;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};

use crate::api::Api;
use crate::exit::Exit;
use crate::failure::Failure;
use feed::Update;
use keys::Reaction;
use state::App;

/// The age of the data is drawn at least this often.
const REDRAW: Duration = Duration::from_secs(1);

/// Input of the main thread.
enum Input {
    Key(KeyEvent),
    /// The terminal has another size, or has the focus again.
    Redraw,
    Update(Update),
    /// The terminal is gone.
    Closed,
}

/// Shows the view until the user ends it.
///
/// # Errors
/// Fails if there is no terminal, or if the service rejects the first request. A service that is not there is shown in
/// the view, which waits for it.
pub(crate) fn run(api: Api, interval: Duration) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("`top` needs a terminal").hint("use `resilient stats` in scripts"));
    }
    let api = Arc::new(api);
    let mut app = App::new(api.base(), api.has_token());
    // A wrong token or another program would not become right. The text stays on the screen.
    match feed::read(&api) {
        Update::Failed(failure) if is_final(&failure) => return Err(failure),
        first => app.update(first, Instant::now()),
    }
    let (inputs, received) = mpsc::channel();
    feed::start(Arc::clone(&api), interval, inputs.clone());
    let mut terminal =
        ratatui::try_init().map_err(|error| Failure::usage(format!("cannot use the terminal: {error}")))?;
    read_keys(inputs.clone());
    let result = show(&mut terminal, &mut app, &api, &inputs, &received);
    ratatui::restore();
    result
}

fn is_final(failure: &Failure) -> bool {
    failure.exit != Exit::Unreachable || failure.message.contains("another program")
}

fn show(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    api: &Arc<Api>,
    inputs: &Sender<Input>,
    received: &mpsc::Receiver<Input>,
) -> Result<(), Failure> {
    loop {
        terminal.draw(|frame| view::draw(frame, app, Instant::now()))?;
        let first = match received.recv_timeout(REDRAW) {
            Ok(input) => input,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        // A pasted text or a held key is drawn once.
        for input in std::iter::once(first).chain(received.try_iter().take(1000)) {
            match input {
                Input::Update(update) => app.update(update, Instant::now()),
                Input::Redraw => {}
                Input::Closed => return Ok(()),
                Input::Key(key) => match keys::press(app, key) {
                    Reaction::None => {}
                    Reaction::Quit => return Ok(()),
                    Reaction::Act(action) => feed::act(Arc::clone(api), action, inputs.clone()),
                },
            }
        }
    }
}

/// Reads the keys on a thread of its own, which ends with the program.
fn read_keys(inputs: Sender<Input>) {
    thread::spawn(move || {
        loop {
            let input = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Input::Key(key),
                Ok(_) => Input::Redraw,
                Err(_) => Input::Closed,
            };
            let is_end = matches!(input, Input::Closed);
            if inputs.send(input).is_err() || is_end {
                return;
            }
        }
    });
}
