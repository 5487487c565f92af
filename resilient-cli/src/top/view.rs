//! Draws the state on the terminal.
//!
//! From top to bottom: the service and its state, what needs attention, all calls together, the operations, the
//! circuits, the last error of the selected row, and the keys. A low terminal shows only the list with the focus.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::keys;
use super::rows::Problem;
use super::state::{App, Chaos, Mode, Pane};
use super::tables::{List, Visible};
use crate::duration::short;
use crate::output::Tone;
use crate::stats::{percent, rate, tone};
use crate::text::{fitted, width};

/// A smaller terminal shows only a hint.
const SMALLEST: (u16, u16) = (24, 6);
/// From this height on, both lists are shown.
const BOTH_LISTS: u16 = 16;
/// Maximum number of lines for alerts and health checks.
const PROBLEMS: usize = 4;

pub(super) fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
        Tone::Faint => Style::new().add_modifier(Modifier::DIM),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Warning => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, now: Instant) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let hint = fitted("the terminal is too small", area.width.into());
        frame.render_widget(Paragraph::new(hint), area);
        return;
    }
    let columns = usize::from(area.width);
    let mut lines = vec![title(app, columns, now)];
    lines.extend(problems(app, columns, area.height));
    let footer = footer(app, columns);
    let Some(_) = app.updated else {
        lines.push(Line::default());
        lines.extend(waiting(app, columns));
        lines.truncate(usize::from(area.height) - 1);
        frame.render_widget(Paragraph::new(lines), area);
        put(frame, area.height - 1, footer);
        overlay(frame, app);
        return;
    };
    lines.push(totals(app, columns, area.height < BOTH_LISTS));
    let has_room = area.height >= BOTH_LISTS;
    let detail = has_room.then(|| detail(app, columns));
    let end = area.height - 1 - u16::from(detail.is_some());
    let top = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    lists(app, columns, usize::from(end.saturating_sub(top)), has_room, &mut lines);
    let lines =
        if app.failure.is_some() { lines.into_iter().enumerate().map(stale).collect() } else { lines };
    frame.render_widget(Paragraph::new(lines), Rect { height: end, ..area });
    if let Some(detail) = detail {
        put(frame, end, detail);
    }
    put(frame, area.height - 1, footer);
    overlay(frame, app);
}

/// Old figures are faint, so that they do not look current.
fn stale((index, line): (usize, Line<'static>)) -> Line<'static> {
    if index == 0 { line } else { line.patch_style(style(Tone::Faint)) }
}

fn put(frame: &mut Frame<'_>, row: u16, line: Line<'static>) {
    let area = frame.area();
    frame.render_widget(Paragraph::new(line), Rect { y: row, height: 1, ..area });
}

/// The service on the left, and whether it answers on the right.
fn title(app: &App, columns: usize, now: Instant) -> Line<'static> {
    let age = |at: Instant| short(now.saturating_duration_since(at).as_secs_f64().round());
    let (state, tone) = match (&app.failure, app.updated) {
        (Some((_, since)), Some(_)) => (format!(" NO DATA for {} ", age(*since)), Tone::Bad),
        (Some((_, since)), None) => (format!(" no service for {} ", age(*since)), Tone::Bad),
        (None, Some(_)) => (" live ".to_owned(), Tone::Good),
        (None, None) => (" connecting ".to_owned(), Tone::Warning),
    };
    // The usual prefix says nothing.
    let service = app.base.strip_suffix("/api/resilience").unwrap_or(&app.base);
    let full = format!("resilient top  {service}");
    let room = columns.saturating_sub(width(&state) + 1);
    let left = if width(&full) <= room { full } else { fitted(service, room) };
    let pad = columns.saturating_sub(width(&left) + width(&state));
    let reversed = style(tone).add_modifier(Modifier::REVERSED);
    Line::from(vec![
        Span::styled(left, style(Tone::Strong)),
        " ".repeat(pad).into(),
        Span::styled(state, reversed),
    ])
}

/// Problems of the service: no answer, protection switched off, another version, alerts, health checks.
fn problems(app: &App, columns: usize, height: u16) -> Vec<Line<'static>> {
    let line = |label: &str, tone: Tone, what: &str| {
        let label = format!("{label:<8} ");
        let what = fitted(what, columns.saturating_sub(width(&label)));
        Line::from(vec![Span::styled(label, style(tone)), what.into()])
    };
    let mut lines = Vec::new();
    if let (Some((failure, _)), Some(_)) = (&app.failure, app.updated) {
        let what = format!("the figures are old: {}", failure.message);
        lines.push(line("GONE", Tone::Bad, &what));
    }
    if !app.is_enabled {
        lines.push(line("OFF", Tone::Bad, "protection is switched off: calls pass without any policy"));
    }
    if let Chaos::Active(injected) = &app.chaos {
        lines.push(line("CHAOS", Tone::Warning, injected));
    }
    if let Some(version) = &app.other_version {
        let what =
            format!("the service uses Resilient {version}, this command is {}", env!("CARGO_PKG_VERSION"));
        lines.push(line("version", Tone::Warning, &what));
    }
    let most = if height >= BOTH_LISTS { PROBLEMS } else { 1 };
    for (index, Problem { severity, name, what }) in app.problems.iter().take(most).enumerate() {
        let tone = tone(severity);
        let label = if tone == Tone::Bad { severity.to_uppercase() } else { severity.clone() };
        let left_out = app.problems.len().saturating_sub(most);
        let more =
            if index + 1 == most && left_out > 0 { format!("  +{left_out} more") } else { String::new() };
        let mut spans = line(&fitted(&label, 8), tone, "").spans;
        let room = columns.saturating_sub(9 + width(&more));
        let name = fitted(name, room);
        let rest = room.saturating_sub(width(&name) + 2);
        spans.extend([Span::styled(name, style(Tone::Strong)), "  ".into(), fitted(what, rest).into()]);
        spans.push(Span::styled(more, style(Tone::Bad)));
        lines.push(Line::from(spans));
    }
    lines
}

/// All calls together.
fn totals(app: &App, columns: usize, is_low: bool) -> Line<'static> {
    let Some(total) = app.history.total() else { return Line::styled("measuring ..", style(Tone::Faint)) };
    let is_narrow = columns < 76;
    let unit = if is_narrow { "/s" } else { " calls/s" };
    let mut spans = vec![Span::styled(format!("{}{unit}", rate(total.per_second)), style(Tone::Strong))];
    let [ok, degraded, failed, refused] = total.endings.shares().map_or([None; 4], |shares| shares.map(Some));
    let mut parts = [
        ("ok", ok, Tone::Good),
        ("degraded", degraded, Tone::Warning),
        ("failed", failed, Tone::Bad),
        ("refused", refused, Tone::Bad),
    ];
    if is_narrow {
        // The worst first, because the end is cut off.
        parts[1..].reverse();
    }
    let mut add = |text: String, tone: Tone| {
        let used: usize = spans.iter().map(Span::width).sum();
        if used + text.len() <= columns {
            spans.push(Span::styled(text, style(tone)));
        }
    };
    let open = app.open_circuits();
    if is_low && open > 0 {
        add(format!("  {open} open"), Tone::Bad);
    }
    for (name, share, bad) in parts {
        match share {
            Some(share) if share > 0.0 => add(format!("  {name} {}", percent(share)), bad),
            Some(share) if !is_narrow => add(format!("  {name} {}", percent(share)), Tone::Faint),
            _ => {}
        }
    }
    if app.problems.is_empty() {
        add("  no alerts".into(), Tone::Good);
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let note = format!("last {:.0} s", app.history.span().as_secs_f64());
    if used + 2 + note.len() <= columns {
        spans.push(" ".repeat(columns - used - note.len()).into());
        spans.push(Span::styled(note, style(Tone::Faint)));
    }
    Line::from(spans)
}

/// Adds the lists that fit into `height` lines.
fn lists(app: &mut App, columns: usize, height: usize, has_room: bool, lines: &mut Vec<Line<'static>>) {
    // The heading of each list takes a line.
    let circuits = app.circuits.len().max(1) + 1;
    let (operations, circuits) = match (has_room, app.pane) {
        (false, Pane::Operations) => (height, 0),
        (false, Pane::Circuits) => (0, height),
        (true, _) if app.totals()[1] == 0 => (height, 0),
        (true, Pane::Operations) => {
            let circuits = circuits.min((height / 3).max(3));
            (height - circuits, circuits)
        }
        // The list with the focus gets the larger part.
        (true, Pane::Circuits) => {
            let circuits = circuits.min(height * 2 / 3);
            (height - circuits, circuits)
        }
    };
    for (pane, height) in [(Pane::Operations, operations), (Pane::Circuits, circuits)] {
        if height > 0 {
            lines.extend(list(app, pane, columns, height));
        }
    }
}

fn list(app: &mut App, pane: Pane, columns: usize, height: usize) -> Vec<Line<'static>> {
    let (count, total) = match pane {
        Pane::Operations => (app.operations.len(), app.totals()[0]),
        Pane::Circuits => (app.circuits.len(), app.totals()[1]),
    };
    let rows = height.saturating_sub(1);
    let selected = app.selected(pane);
    let has_focus = app.pane == pane;
    let selection = &mut app.selections[pane as usize];
    selection.height = rows;
    // The selected row stays visible.
    let lowest = (selected + 1).saturating_sub(rows);
    selection.offset = selection.offset.clamp(lowest, selected.max(lowest)).min(count.saturating_sub(rows));
    let view = Visible { width: columns, height: rows, has_focus, selected, offset: selection.offset };
    let List { head, rows: shown } = match pane {
        Pane::Operations => List::of_operations(&app.operations, &view),
        Pane::Circuits => List::of_circuits(&app.circuits, &view),
    };
    let mut lines = vec![with_count(head, count, total, &view)];
    if count == 0 {
        let what = match (pane, total) {
            (Pane::Operations, 0) => " no operation was called yet",
            (Pane::Circuits, 0) => " the service has no circuit breakers",
            _ => " nothing matches the filter; Esc removes it",
        };
        lines.push(Line::styled(fitted(what, columns), style(Tone::Faint)));
    }
    lines.extend(shown);
    lines.resize(height, Line::default());
    lines
}

/// Shows in the heading how many rows there are, if they are not all visible.
fn with_count(head: Line<'static>, count: usize, total: usize, view: &Visible) -> Line<'static> {
    if count <= view.height && count == total {
        return head;
    }
    let last = (view.offset + view.height).min(count);
    let of = if count == total { format!("{count}") } else { format!("{count} ({total})") };
    let note = if count == 0 { format!(" 0 ({total})") } else { format!(" {}-{last}/{of}", view.offset + 1) };
    let text: String = head.spans.iter().map(|span| span.content.as_ref()).collect();
    // After the word in the column of the name, if it is wide enough.
    let word = text.trim_start().find(' ').map_or(0, |end| end + 1);
    let is_free = text.get(word..=word + note.len()).is_some_and(|gap| gap.trim().is_empty());
    if !is_free {
        return head;
    }
    let text = format!("{}{note}{}", &text[..word], &text[word + note.len()..]);
    Line::styled(text, head.style)
}

/// The last error of the selected row.
fn detail(app: &App, columns: usize) -> Line<'static> {
    match app.detail() {
        Some((name, what)) => {
            let name = fitted(name, columns / 3);
            let rest = columns.saturating_sub(width(&name) + 2);
            Line::from(vec![
                Span::styled(format!("{name}: "), style(Tone::Strong)),
                fitted(what, rest).into(),
            ])
        }
        None => Line::default(),
    }
}

/// The message of the last change, the filter, or the most important keys.
fn footer(app: &App, columns: usize) -> Line<'static> {
    if let Some((tone, what)) = &app.message {
        return Line::styled(fitted(what, columns), style(*tone));
    }
    if app.mode == Mode::Filter {
        // The end of a long filter is visible.
        let room = columns.saturating_sub(10);
        let skipped = app.filter.chars().count().saturating_sub(room);
        let filter: String = app.filter.chars().skip(skipped).collect();
        return Line::from(vec![
            Span::styled("filter: ", style(Tone::Strong)),
            fitted(&filter, room).into(),
            "_".into(),
        ]);
    }
    let direction = if app.is_reversed { " reversed" } else { "" };
    let mut keys = Vec::new();
    if app.pane == Pane::Operations {
        keys.push(format!("s sort: {}{direction}", app.sort.as_str()));
    }
    if app.filter.is_empty() {
        keys.push("/ filter".into());
    } else {
        keys.push(format!("/ filter: {}", fitted(&app.filter, 16)));
    }
    match app.pane {
        Pane::Operations => keys.push("Tab circuits".into()),
        Pane::Circuits => {
            keys.extend(["o open", "c close", "a automatic", "r reset", "Tab operations"].map(str::to_owned));
        }
    }
    // The end is cut off first.
    let stop = if matches!(app.chaos, Chaos::Active(_)) { "x stop chaos  " } else { "" };
    let text = format!("? help  q quit  {stop}{}", keys.join("  "));
    Line::styled(fitted(&text, columns), style(Tone::Faint))
}

/// Shown until the first statistics arrive.
fn waiting(app: &App, columns: usize) -> Vec<Line<'static>> {
    let Some((failure, _)) = &app.failure else { return vec![Line::from("connecting ..")] };
    let mut lines = wrapped(&failure.message, columns, style(Tone::Bad));
    for hint in &failure.hints {
        lines.extend(wrapped(&format!("hint: {hint}"), columns, Style::new()));
    }
    lines.push(Line::default());
    lines.extend(wrapped("Connects when the service answers.", columns, style(Tone::Faint)));
    lines
}

/// Breaks a text into lines at spaces, and cuts off words that are longer than a line.
fn wrapped(text: &str, columns: usize, style: Style) -> Vec<Line<'static>> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = fitted(word, columns);
        match lines.last_mut() {
            Some(last) if width(last) + 1 + width(&word) <= columns => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines.into_iter().map(|line| Line::styled(line, style)).collect()
}

/// The help, or the question before a change, above everything else.
fn overlay(frame: &mut Frame<'_>, app: &App) {
    let columns = usize::from(frame.area().width);
    let (title, lines) = match &app.mode {
        Mode::Help => (" Keys ", help(columns)),
        Mode::Confirm(action) => {
            let inner = columns.saturating_sub(4).min(60);
            let mut lines = wrapped(&action.question(), inner, style(Tone::Strong));
            lines.extend(wrapped(action.effect(), inner, Style::new()));
            lines.push(Line::from(vec![
                Span::styled("y", style(Tone::Strong)),
                " yes   ".into(),
                Span::styled("n", style(Tone::Strong)),
                " no".into(),
            ]));
            (" Confirm ", lines)
        }
        Mode::Browse | Mode::Filter => return,
    };
    let area = frame.area();
    let clamp = |size: usize, most: u16| u16::try_from(size + 2).unwrap_or(u16::MAX).min(most);
    let height = clamp(lines.len(), area.height);
    let width = clamp(lines.iter().map(Line::width).max().unwrap_or(0) + 2, area.width);
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(title).padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Paragraph::new(lines).block(block), place);
}

fn help(columns: usize) -> Vec<Line<'static>> {
    let room = columns.saturating_sub(4);
    let widest = 12;
    let lines = keys::HELP.iter().map(|(key, what)| {
        let key = format!("{:widest$}", fitted(key, widest - 1));
        let what = fitted(what, room.saturating_sub(widest));
        Line::from(vec![Span::styled(key, style(Tone::Strong)), what.into()])
    });
    let note = "p50 and p99: last minute. degraded: result of a fallback.";
    lines.chain([Line::default(), Line::styled(fitted(note, room), style(Tone::Faint))]).collect()
}
