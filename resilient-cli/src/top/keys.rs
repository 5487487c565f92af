//! Handles the keys.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::{Action, Lever};
use super::state::{App, Chaos, Mode, Pane};
use crate::output::Tone;
use crate::text::fitted;

/// The keys and their meaning, for the help.
pub(super) const HELP: [(&str, &str); 10] = [
    ("q  Ctrl-C", "quit"),
    ("Tab", "operations / circuits"),
    ("Up Down", "a row; PgUp PgDn a page"),
    ("/", "filter by name; Esc removes"),
    ("s  S", "next sort order; reverse"),
    ("o", "force open: rejects all calls"),
    ("c", "force closed: admits all calls"),
    ("a", "automatic again, after o or c"),
    ("r", "reset the circuit"),
    ("x", "stop all fault injection"),
];

/// Maximum length of the filter, in characters.
const LONGEST: usize = 100;

/// The reaction to a key, besides a change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    None,
    Quit,
    Act(Action),
}

pub(super) fn press(app: &mut App, key: KeyEvent) -> Reaction {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if is_control && key.code == KeyCode::Char('c') {
        return Reaction::Quit;
    }
    // The message was read.
    app.message = None;
    match std::mem::take(&mut app.mode) {
        Mode::Help => Reaction::None,
        Mode::Confirm(action) => confirm(app, key, action),
        Mode::Filter => {
            filter(app, key, is_control);
            Reaction::None
        }
        // Ctrl-R is not `r`.
        Mode::Browse if is_control => Reaction::None,
        Mode::Browse => browse(app, key),
    }
}

fn confirm(app: &mut App, key: KeyEvent, action: Action) -> Reaction {
    match key.code {
        KeyCode::Char('y' | 'Y') => {
            app.message = Some((Tone::Faint, "sent".into()));
            Reaction::Act(action)
        }
        KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => {
            app.message = Some((Tone::Faint, "nothing was changed".into()));
            Reaction::None
        }
        // Enter is no confirmation: it is pressed too easily.
        _ => {
            app.mode = Mode::Confirm(action);
            Reaction::None
        }
    }
}

fn filter(app: &mut App, key: KeyEvent, is_control: bool) {
    app.mode = Mode::Filter;
    match key.code {
        KeyCode::Enter => app.mode = Mode::Browse,
        KeyCode::Esc => {
            app.filter.clear();
            app.mode = Mode::Browse;
        }
        KeyCode::Backspace => drop(app.filter.pop()),
        KeyCode::Char('u') if is_control => app.filter.clear(),
        KeyCode::Char(c) if !is_control && app.filter.chars().count() < LONGEST => app.filter.push(c),
        KeyCode::Down => app.walk(1),
        KeyCode::Up => app.walk(-1),
        _ => {}
    }
    app.arrange();
}

fn browse(app: &mut App, key: KeyEvent) -> Reaction {
    let page = app.selection().height.max(1).cast_signed();
    match key.code {
        KeyCode::Char('q') => return Reaction::Quit,
        KeyCode::Char('?' | 'h') => app.mode = Mode::Help,
        KeyCode::Char('/') => app.mode = Mode::Filter,
        KeyCode::Esc => {
            app.filter.clear();
            app.arrange();
        }
        KeyCode::Tab | KeyCode::BackTab => {
            app.pane = if app.pane == Pane::Operations { Pane::Circuits } else { Pane::Operations };
        }
        KeyCode::Down | KeyCode::Char('j') => app.walk(1),
        KeyCode::Up | KeyCode::Char('k') => app.walk(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => app.walk(page),
        KeyCode::PageUp => app.walk(-page),
        KeyCode::Home | KeyCode::Char('g') => app.walk(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => app.walk(isize::MAX),
        KeyCode::Char('s') => {
            app.sort = app.sort.next();
            app.is_reversed = false;
            app.arrange();
        }
        KeyCode::Char('S') => {
            app.is_reversed = !app.is_reversed;
            app.arrange();
        }
        KeyCode::Char('o') => ask(app, Lever::Open),
        KeyCode::Char('c') => ask(app, Lever::Close),
        KeyCode::Char('a') => ask(app, Lever::Resume),
        KeyCode::Char('r') => ask(app, Lever::Reset),
        KeyCode::Char('x') => ask_to_stop(app),
        _ => {}
    }
    Reaction::None
}

/// Asks for a confirmation before all fault injection is stopped. If the service does not answer, the stop is tried all
/// the same.
fn ask_to_stop(app: &mut App) {
    app.message = match &app.chaos {
        _ if !app.has_token => Some((Tone::Warning, NO_TOKEN.to_owned())),
        Chaos::Missing if app.failure.is_none() => {
            Some((Tone::Warning, "the service was built without fault injection".to_owned()))
        }
        Chaos::Idle if app.failure.is_none() => Some((Tone::Faint, "nothing is injected".to_owned())),
        _ => {
            app.mode = Mode::Confirm(Action::StopChaos);
            None
        }
    };
}

const NO_TOKEN: &str = "changes need the admin token: set RESILIENT_TOKEN or use --token-file";

/// Asks for a confirmation of a change.
fn ask(app: &mut App, lever: Lever) {
    let wrong = |what: &str| Some((Tone::Warning, what.to_owned()));
    if !app.has_token {
        app.message = wrong(NO_TOKEN);
    } else if app.failure.is_some() {
        app.message = wrong("the service cannot be reached");
    } else if let Some(circuit) = app.circuit() {
        app.mode = Mode::Confirm(Action::Circuit { lever, circuit: circuit.name.clone() });
    } else if app.pane == Pane::Operations {
        app.message = wrong("select a circuit first: Tab changes to the circuits");
    } else {
        app.message = wrong("there is no circuit here");
    }
}

impl Action {
    pub(super) fn question(&self) -> String {
        let (lever, circuit) = match self {
            Self::Circuit { lever, circuit } => (lever, fitted(circuit, 60)),
            Self::StopChaos => return "Stop all fault injection?".into(),
        };
        match lever {
            Lever::Open => format!("Force the circuit `{circuit}` open?"),
            Lever::Close => format!("Force the circuit `{circuit}` closed?"),
            Lever::Resume => format!("Return the circuit `{circuit}` to automatic operation?"),
            Lever::Reset => format!("Reset the circuit `{circuit}`?"),
        }
    }

    /// The effect of the change.
    pub(super) fn effect(&self) -> &'static str {
        match self {
            Self::StopChaos => "It ends all faults, aborts the experiment and stops the monkey.",
            Self::Circuit { lever: Lever::Open, .. } => "It rejects all calls until you press `a`.",
            Self::Circuit { lever: Lever::Close, .. } => {
                "It admits all calls, even if all fail, until you press `a`."
            }
            Self::Circuit { lever: Lever::Resume, .. } => "It decides by its measurements again.",
            Self::Circuit { lever: Lever::Reset, .. } => {
                "It closes, and its counters and its window are cleared."
            }
        }
    }
}
