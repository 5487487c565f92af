//! The state of the view: the last statistics, the selection and the mode of the keys.

use std::time::Instant;

use serde_json::Value;

use super::feed::{Action, Update};
use super::history::History;
use super::rows::{Circuit, Operation, Problem, Sort};
use crate::commands::chaos::{monkey, running};
use crate::duration::short;
use crate::failure::Failure;
use crate::output::Tone;
use crate::stats::text;

const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The list that has the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Operations,
    Circuits,
}

/// The meaning of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Browse,
    /// The keys change the filter.
    Filter,
    /// The user must confirm a change.
    Confirm(Action),
    Help,
}

/// The fault injection of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Chaos {
    /// The service was built without, or does not tell.
    #[default]
    Missing,
    /// Nothing is injected.
    Idle,
    /// The injected faults, the experiment and the monkey, in a line.
    Active(String),
}

/// The selected row of a list, by name, so that it stays selected if the order changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// `None`: the first row.
    pub(super) name: Option<String>,
    /// The first visible row.
    pub(super) offset: usize,
    /// Number of visible rows, for the keys that move by a page.
    pub(super) height: usize,
}

/// The state of the view.
#[derive(Debug)]
pub(super) struct App {
    pub(super) base: String,
    pub(super) has_token: bool,
    pub(super) history: History,
    /// Whether protection is switched on.
    pub(super) is_enabled: bool,
    all_operations: Vec<Operation>,
    all_circuits: Vec<Circuit>,
    /// The operations that match the filter, in order.
    pub(super) operations: Vec<Operation>,
    pub(super) circuits: Vec<Circuit>,
    pub(super) problems: Vec<Problem>,
    pub(super) chaos: Chaos,
    /// When the last statistics arrived.
    pub(super) updated: Option<Instant>,
    /// Why the service cannot be read, and since when.
    pub(super) failure: Option<(Failure, Instant)>,
    /// The version of the service, if it differs.
    pub(super) other_version: Option<String>,
    pub(super) pane: Pane,
    pub(super) mode: Mode,
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    /// Selections of the operations and of the circuits.
    pub(super) selections: [Selection; 2],
    /// The result of the last change, until the next key.
    pub(super) message: Option<(Tone, String)>,
}

impl App {
    pub(super) fn new(base: &str, has_token: bool) -> Self {
        Self {
            base: base.to_owned(),
            has_token,
            history: History::default(),
            is_enabled: true,
            all_operations: Vec::new(),
            all_circuits: Vec::new(),
            operations: Vec::new(),
            circuits: Vec::new(),
            problems: Vec::new(),
            chaos: Chaos::default(),
            updated: None,
            failure: None,
            other_version: None,
            pane: Pane::default(),
            mode: Mode::default(),
            sort: Sort::default(),
            is_reversed: false,
            filter: String::new(),
            selections: Default::default(),
            message: None,
        }
    }

    pub(super) fn update(&mut self, update: Update, now: Instant) {
        match update {
            Update::Stats(stats) => self.take(&stats, now),
            Update::Chaos(chaos) => {
                self.chaos = chaos.map_or(Chaos::Missing, |chaos| injected(&chaos));
            }
            Update::Failed(failure) => {
                let since = self.failure.as_ref().map_or(now, |(_, since)| *since);
                self.failure = Some((failure, since));
            }
            Update::Version(version) => {
                self.other_version = Some(version).filter(|version| version != OWN_VERSION);
            }
            Update::Acted(Ok(what)) => self.message = Some((Tone::Good, what)),
            Update::Acted(Err(failure)) => {
                let hint = failure.hints.first().map(|hint| format!("; {hint}")).unwrap_or_default();
                self.message = Some((Tone::Bad, format!("{}{hint}", failure.message)));
            }
        }
    }

    fn take(&mut self, stats: &Value, now: Instant) {
        self.history.add(stats, now);
        self.is_enabled = stats["enabled"] != false;
        self.all_operations = Operation::all(stats, &self.history);
        self.all_circuits = Circuit::all(stats);
        self.problems = Problem::all(stats);
        self.updated = Some(now);
        self.failure = None;
        self.arrange();
    }

    /// Applies the filter and the order.
    pub(super) fn arrange(&mut self) {
        let wanted = self.filter.to_lowercase();
        let matches = |name: &str| wanted.is_empty() || name.to_lowercase().contains(&wanted);
        self.operations =
            self.all_operations.iter().filter(|operation| matches(&operation.name)).cloned().collect();
        self.circuits = self.all_circuits.iter().filter(|circuit| matches(&circuit.name)).cloned().collect();
        self.operations.sort_by(|a, b| a.compare(b, self.sort));
        if self.is_reversed {
            self.operations.reverse();
        }
    }

    /// Number of operations and of circuits without the filter.
    pub(super) fn totals(&self) -> [usize; 2] {
        [self.all_operations.len(), self.all_circuits.len()]
    }

    /// Number of circuits that reject all calls.
    pub(super) fn open_circuits(&self) -> usize {
        self.all_circuits
            .iter()
            .filter(|circuit| matches!(circuit.state.as_str(), "open" | "forced_open"))
            .count()
    }

    pub(super) fn selection(&mut self) -> &mut Selection {
        &mut self.selections[self.pane as usize]
    }

    fn name_at(&self, index: usize) -> Option<&String> {
        match self.pane {
            Pane::Operations => self.operations.get(index).map(|operation| &operation.name),
            Pane::Circuits => self.circuits.get(index).map(|circuit| &circuit.name),
        }
    }

    fn len(&self) -> usize {
        match self.pane {
            Pane::Operations => self.operations.len(),
            Pane::Circuits => self.circuits.len(),
        }
    }

    /// The index of the selected row in a list.
    pub(super) fn selected(&self, pane: Pane) -> usize {
        let Some(name) = &self.selections[pane as usize].name else { return 0 };
        let found = match pane {
            Pane::Operations => self.operations.iter().position(|operation| operation.name == *name),
            Pane::Circuits => self.circuits.iter().position(|circuit| circuit.name == *name),
        };
        found.unwrap_or(0)
    }

    /// Moves the selection by a number of rows.
    pub(super) fn walk(&mut self, rows: isize) {
        let last = self.len().saturating_sub(1);
        let index = self.selected(self.pane).saturating_add_signed(rows).min(last);
        let name = self.name_at(index).cloned();
        self.selection().name = name;
    }

    /// The selected circuit, if the circuits have the focus.
    pub(super) fn circuit(&self) -> Option<&Circuit> {
        if self.pane == Pane::Circuits { self.circuits.get(self.selected(Pane::Circuits)) } else { None }
    }

    /// A text about the selected row: its last error, or why it opened.
    pub(super) fn detail(&self) -> Option<(&str, &str)> {
        match self.pane {
            Pane::Operations => {
                let operation = self.operations.get(self.selected(Pane::Operations))?;
                Some((&operation.name, operation.error.as_deref()?))
            }
            Pane::Circuits => self
                .circuit()
                .filter(|circuit| !circuit.reason.is_empty())
                .map(|circuit| (circuit.name.as_str(), circuit.reason.as_str())),
        }
    }
}

/// Describes the injection: `2 faults: latency 300ms on payment (by ada, 1m50s left), error on charge (..)`.
fn injected(chaos: &Value) -> Chaos {
    let mut parts: Vec<_> =
        running(&chaos["experiment"]).into_iter().chain(monkey(&chaos["monkey"])).collect();
    let faults = chaos["faults"].as_array().map(Vec::as_slice).unwrap_or_default();
    let told: Vec<_> = faults
        .iter()
        .map(|fault| {
            let left = fault["expires_in"].as_f64().map_or("?".into(), short);
            format!(
                "{} on {} (by {}, {left} left)",
                text(fault, "action"),
                text(fault, "target"),
                text(fault, "by")
            )
        })
        .collect();
    match told.len() {
        0 => {}
        1 => parts.push(told.join("")),
        count => parts.push(format!("{count} faults: {}", told.join(", "))),
    }
    if parts.is_empty() { Chaos::Idle } else { Chaos::Active(parts.join("; ")) }
}
