//! The lists of operations and circuits, as lines of a given width.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::rows::{Circuit, Operation};
use super::view::style;
use crate::duration::short;
use crate::output::Tone;
use crate::stats::{count, percent, rate, tone};
use crate::text::{fitted, width};

/// Minimum width of the column with the name.
fn narrowest_name(room: usize) -> usize {
    (room / 3).max(14)
}

/// A column of numbers.
struct Column<R> {
    head: &'static str,
    width: usize,
    /// Columns with a higher number are left out first if the terminal is narrow.
    rank: u8,
    cell: fn(&R) -> (String, Tone),
}

const NONE: fn() -> (String, Tone) = || ("-".to_owned(), Tone::Faint);

/// A share that is bad if it is not zero.
fn share(operation: &Operation, index: usize, bad: Tone) -> (String, Tone) {
    match operation.shares() {
        Some(shares) => (percent(shares[index]), if shares[index] > 0.0 { bad } else { Tone::Faint }),
        None => NONE(),
    }
}

fn time(operation: &Operation, index: usize) -> (String, Tone) {
    operation.latency.map_or_else(NONE, |latency| (short(latency[index]), Tone::Plain))
}

const OPERATIONS: [Column<Operation>; 8] = [
    Column {
        head: "calls/s",
        width: 7,
        rank: 0,
        cell: |operation| match operation.recent {
            Some(recent) => {
                (rate(recent.per_second), if recent.per_second > 0.0 { Tone::Plain } else { Tone::Faint })
            }
            None => NONE(),
        },
    },
    Column {
        head: "ok",
        width: 5,
        rank: 1,
        cell: |operation| operation.shares().map_or_else(NONE, |[ok, ..]| (percent(ok), Tone::Plain)),
    },
    Column { head: "degraded", width: 8, rank: 3, cell: |operation| share(operation, 1, Tone::Warning) },
    Column { head: "failed", width: 6, rank: 2, cell: |operation| share(operation, 2, Tone::Bad) },
    Column { head: "refused", width: 7, rank: 4, cell: |operation| share(operation, 3, Tone::Bad) },
    Column { head: "p50", width: 6, rank: 6, cell: |operation| time(operation, 0) },
    Column { head: "p99", width: 6, rank: 5, cell: |operation| time(operation, 1) },
    Column { head: "running", width: 7, rank: 7, cell: |operation| (count(operation.running), Tone::Plain) },
];

const CIRCUITS: [Column<Circuit>; 6] = [
    Column { head: "for", width: 6, rank: 1, cell: |circuit| (short(circuit.unchanged_for), Tone::Plain) },
    Column {
        head: "probe in",
        width: 8,
        rank: 3,
        cell: |circuit| circuit.probe_in.map_or_else(NONE, |wait| (short(wait), Tone::Plain)),
    },
    Column {
        head: "failed",
        width: 6,
        rank: 2,
        cell: |circuit| {
            let bad = if circuit.failure_rate > 0.0 { Tone::Warning } else { Tone::Faint };
            if circuit.calls > 0.0 { (percent(circuit.failure_rate), bad) } else { NONE() }
        },
    },
    Column { head: "of calls", width: 8, rank: 4, cell: |circuit| (count(circuit.calls), Tone::Plain) },
    Column {
        head: "opened",
        width: 6,
        rank: 4,
        cell: |circuit| (count(circuit.opened), if circuit.opened > 0.0 { Tone::Plain } else { Tone::Faint }),
    },
    Column { head: "refused", width: 7, rank: 5, cell: |circuit| (count(circuit.refused), Tone::Plain) },
];

/// The longest state: `forced_closed`.
const STATE: usize = 13;

/// The columns that fit beside the name, in order.
fn fitting<R>(columns: &[Column<R>], room: usize) -> Vec<&Column<R>> {
    let mut chosen: Vec<_> = columns.iter().collect();
    let total = |chosen: &[&Column<R>]| chosen.iter().map(|column| column.width + 1).sum::<usize>();
    while total(&chosen) > room {
        let Some(worst) = (0..chosen.len()).max_by_key(|index| chosen[*index].rank) else { break };
        chosen.remove(worst);
    }
    chosen
}

fn padded(text: &str, columns: usize) -> String {
    let text = fitted(text, columns);
    let pad = columns.saturating_sub(width(&text));
    text + &" ".repeat(pad)
}

fn right(text: &str, columns: usize) -> String {
    let text = fitted(text, columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// A list: its heading, and its rows. `>` marks the selected row.
pub(super) struct List {
    pub(super) head: Line<'static>,
    pub(super) rows: Vec<Line<'static>>,
}

struct Look {
    room: usize,
    has_focus: bool,
    selected: usize,
    offset: usize,
}

impl List {
    pub(super) fn of_operations(operations: &[Operation], view: &Visible) -> Self {
        let look = view.look();
        let columns = fitting(&OPERATIONS, look.room.saturating_sub(narrowest_name(look.room) + 1));
        let name = |operation: &Operation| vec![(operation.name.clone(), Tone::Plain, None)];
        Self::new(operations, &look, &columns, "operation", &[], name, view.height)
    }

    pub(super) fn of_circuits(circuits: &[Circuit], view: &Visible) -> Self {
        let look = view.look();
        let columns = fitting(&CIRCUITS, look.room.saturating_sub(narrowest_name(look.room) + STATE + 2));
        let name = |circuit: &Circuit| {
            let state = (circuit.state.clone(), tone(&circuit.state), Some(STATE));
            vec![(circuit.name.clone(), Tone::Plain, None), state]
        };
        Self::new(circuits, &look, &columns, "circuit", &[("state", STATE)], name, view.height)
    }

    fn new<R>(
        rows: &[R],
        look: &Look,
        columns: &[&Column<R>],
        title: &str,
        more: &[(&str, usize)],
        begin: impl Fn(&R) -> Vec<(String, Tone, Option<usize>)>,
        height: usize,
    ) -> Self {
        let taken: usize = columns.iter().map(|column| column.width + 1).sum::<usize>()
            + more.iter().map(|(_, width)| width + 1).sum::<usize>();
        let name_width = look.room.saturating_sub(taken + 1);
        let mut head = format!(" {}", padded(title, name_width));
        for (title, width) in more {
            head.push(' ');
            head += &padded(title, *width);
        }
        for column in columns {
            head.push(' ');
            head += &right(column.head, column.width);
        }
        let head_style = style(Tone::Faint).add_modifier(Modifier::UNDERLINED);
        let line = |(index, row): (usize, &R)| {
            let is_selected = index == look.selected;
            let mark = if is_selected && look.has_focus { ">" } else { " " };
            let mut spans = vec![Span::styled(mark, style(Tone::Strong))];
            for (number, (text, tone, width)) in begin(row).into_iter().enumerate() {
                let gap = if number == 0 { "" } else { " " };
                spans.push(Span::styled(
                    format!("{gap}{}", padded(&text, width.unwrap_or(name_width))),
                    style(tone),
                ));
            }
            for column in columns {
                let (text, tone) = (column.cell)(row);
                spans.push(Span::styled(format!(" {}", right(&text, column.width)), style(tone)));
            }
            let whole = if is_selected && look.has_focus {
                Style::new().add_modifier(Modifier::REVERSED)
            } else {
                Style::new()
            };
            Line::from(spans).style(whole)
        };
        let visible = rows.iter().enumerate().skip(look.offset).take(height);
        Self { head: Line::styled(head, head_style), rows: visible.map(line).collect() }
    }
}

/// The part of a list that is visible.
pub(super) struct Visible {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) has_focus: bool,
    pub(super) selected: usize,
    pub(super) offset: usize,
}

impl Visible {
    fn look(&self) -> Look {
        Look { room: self.width, has_focus: self.has_focus, selected: self.selected, offset: self.offset }
    }
}
