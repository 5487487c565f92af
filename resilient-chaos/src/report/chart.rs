//! Draws the time line as SVG.
//!
//! Each lane is a picture of its own that is stretched to the width of the page, with its labels as text of the page, so
//! that the labels keep their size on a phone.

use std::fmt::Write as _;

use super::Phase;
use super::html::escape;
use super::timeline::{Line, MarkKind, Span, Timeline, relative};
use crate::probe::Unit;
use crate::runner::describe_rate;
use crate::scenario::Rate;

/// The width of a picture in its own coordinates.
const WIDTH: f64 = 1000.0;
/// The height of the picture of a probe.
const TALL: f64 = 84.0;
/// The height of a bar or strip.
const LOW: f64 = 22.0;

/// Draws all lanes.
pub(super) fn draw(timeline: &Timeline<'_>) -> String {
    let mut html = String::from("<div class=\"chart\">\n");
    marks(&mut html, timeline);
    for bar in &timeline.steps {
        step(&mut html, timeline, bar);
    }
    for (name, spans) in &timeline.circuits {
        circuit(&mut html, timeline, name, spans);
    }
    for (name, spans) in &timeline.alerts {
        alert(&mut html, timeline, name, spans);
    }
    for line in timeline
        .probes
        .iter()
        .filter(|line| !line.info.aborts || line.points.iter().any(|(.., holds)| *holds == Some(false)))
    {
        probe(&mut html, timeline, line);
    }
    axis(&mut html, timeline);
    html.push_str("</div>\n");
    html
}

/// Draws the phases, faults, open circuits and alerts of an experiment in a small picture that is `longest` seconds wide.
pub(crate) fn mini(timeline: &Timeline<'_>, longest: f64) -> String {
    let scale = WIDTH / longest.max(0.001);
    let mut svg = format!(
        "<svg class=\"mini\" viewBox=\"0 0 {WIDTH} 34\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
    );
    let mut bar = |class: &str, from: f64, to: f64, (y, height): (f64, f64)| {
        // A state that is too short to see gets a visible width.
        let width = ((to - from) * scale).max(3.0);
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\"/>",
            from * scale
        );
    };
    for (phase, from, to) in &timeline.phases {
        bar(&format!("phase {}", name(*phase)), *from, *to, (0.0, 34.0));
    }
    for (from, to) in timeline.steps.iter().filter_map(|step| step.ran) {
        bar("bar", from, to, (3.0, 8.0));
    }
    for span in timeline.circuits.values().flatten().filter(|span| span.state.contains("open")) {
        bar(if span.state == "half_open" { "half" } else { "open" }, span.from, span.to, (13.0, 8.0));
    }
    for span in timeline.alerts.values().flatten().filter(|span| span.state != "quiet") {
        bar(if span.state == "critical" { "critical" } else { "warning" }, span.from, span.to, (23.0, 8.0));
    }
    for mark in timeline.marks.iter().filter(|mark| mark.kind != MarkKind::Neutral) {
        let at = mark.at * scale;
        let _ = write!(
            svg,
            "<line class=\"mark {}\" x1=\"{at:.1}\" y1=\"0\" x2=\"{at:.1}\" y2=\"34\"/>",
            class(mark.kind)
        );
    }
    svg.push_str("</svg>");
    svg
}

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before",
        Phase::Steps => "steps",
        Phase::Recovery => "recovery",
    }
}

fn x(timeline: &Timeline<'_>, at: f64) -> f64 {
    (at / timeline.end * WIDTH).clamp(0.0, WIDTH)
}

/// Opens a lane: its label, and its picture with the phases in the background.
fn open(html: &mut String, timeline: &Timeline<'_>, class: &str, (label, detail): (&str, &str), height: f64) {
    let (label, detail) = (escape(label), escape(detail));
    let _ = write!(
        html,
        "<div class=\"lane {class}\"><div class=\"label\"><b>{label}</b><span>{detail}</span></div><div class=\"picture\"><svg viewBox=\"0 0 {WIDTH} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}: {detail}\">"
    );
    for (phase, from, to) in &timeline.phases {
        let class = name(*phase);
        let (from, to) = (x(timeline, *from), x(timeline, *to));
        let _ = write!(
            html,
            "<rect class=\"phase {class}\" x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"{height}\"/>",
            to - from
        );
    }
}

/// Closes a lane, with the marks in the foreground.
fn close(html: &mut String, timeline: &Timeline<'_>, height: f64, overlay: &str) {
    for mark in &timeline.marks {
        let at = x(timeline, mark.at);
        let _ = write!(
            html,
            "<line class=\"mark {}\" x1=\"{at:.1}\" y1=\"0\" x2=\"{at:.1}\" y2=\"{height}\"/>",
            class(mark.kind)
        );
    }
    let _ = writeln!(html, "</svg>{overlay}</div></div>");
}

const fn class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Good => "good",
        MarkKind::Bad => "bad",
        MarkKind::Neutral => "neutral",
    }
}

/// Writes the names of the phases and marks above the lanes.
fn marks(html: &mut String, timeline: &Timeline<'_>) {
    // The texts of marks that are close to each other are in different rows.
    let mut rows: [f64; 3] = [f64::MIN; 3];
    let mut placed = Vec::new();
    for mark in &timeline.marks {
        let left = mark.at / timeline.end * 100.0;
        let row = rows.iter().position(|taken| left - taken >= 18.0).unwrap_or(2);
        rows[row] = left;
        placed.push((mark, left, row));
    }
    let count = placed.iter().map(|(.., row)| row + 1).max().unwrap_or_default();
    let height = 26 + 23 * count;
    let _ = write!(
        html,
        "<div class=\"lane head\"><div class=\"label\"></div><div class=\"picture\" style=\"height:{height}px\">"
    );
    for (phase, from, to) in &timeline.phases {
        let (name, class) = match phase {
            Phase::Before => ("steady state", "before"),
            Phase::Steps => ("faults", "steps"),
            Phase::Recovery => ("recovery", "recovery"),
        };
        let (left, width) = (from / timeline.end * 100.0, (to - from) / timeline.end * 100.0);
        let _ = write!(
            html,
            "<span class=\"phase {class}\" style=\"left:{left:.2}%;width:{width:.2}%\">{name}</span>"
        );
    }
    for (mark, left, row) in placed {
        let (top, line) = (23 * row, height - 23 * row);
        let side = if left > 82.0 { " end" } else { "" };
        let _ = write!(
            html,
            "<span class=\"flag {}{side}\" style=\"left:{left:.2}%;top:{top}px;--line:{line}px\">{} {}</span>",
            class(mark.kind),
            mark.text,
            relative(mark.at - timeline.zero)
        );
    }
    html.push_str("</div></div>\n");
}

fn step(html: &mut String, timeline: &Timeline<'_>, bar: &super::timeline::Bar<'_>) {
    let info = bar.info;
    let hits = match (bar.ran, bar.injected) {
        (None, _) => ", did not run".to_owned(),
        (_, Some(1)) => ", 1 call hit".to_owned(),
        (_, Some(calls)) => format!(", {calls} calls hit"),
        _ => String::new(),
    };
    let detail = format!("{} · {}{hits}", info.fault, describe_rate(info.rate));
    open(html, timeline, "step", (&info.id, &detail), LOW);
    let planned = (timeline.zero + info.start.as_secs_f64(), info.duration.as_secs_f64());
    let (from, width) = (x(timeline, planned.0), planned.1 / timeline.end * WIDTH);
    if planned.0 < timeline.end {
        let width = width.min(WIDTH - from);
        let _ = write!(
            html,
            "<rect class=\"planned\" x=\"{from:.1}\" y=\"3\" width=\"{width:.1}\" height=\"16\"/>"
        );
    }
    if let Some((start, end)) = bar.ran {
        let (left, right) = (x(timeline, start), x(timeline, end));
        // The height of the bar is the rate.
        let height = |seconds: f64| {
            let elapsed = std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
            16.0 * info.rate.at(elapsed) / info.rate.peak().max(f64::EPSILON)
        };
        let turn = match info.rate {
            Rate::Ramp { over, .. } => over.as_secs_f64().min(end - start),
            Rate::Fixed(_) => 0.0,
        };
        let (middle, low, high) = (x(timeline, start + turn), 19.0 - height(0.0), 19.0 - height(turn));
        let last = 19.0 - height(end - start);
        let _ = write!(
            html,
            "<path class=\"bar\" d=\"M{left:.1} 19 L{left:.1} {low:.1} L{middle:.1} {high:.1} L{right:.1} {last:.1} L{right:.1} 19 Z\"/>"
        );
    }
    close(html, timeline, LOW, "");
}

fn circuit(html: &mut String, timeline: &Timeline<'_>, name: &str, spans: &[Span<'_>]) {
    let opened = spans.iter().filter(|span| span.state.contains("open") && span.state != "half_open").count();
    let open_for: f64 =
        spans.iter().filter(|span| span.state == "open").map(|span| span.to - span.from).sum();
    let times = if opened == 1 { "once".to_owned() } else { format!("{opened} times") };
    let first = spans.iter().find(|span| span.state.contains("open"));
    let first =
        first.map(|span| format!(", first at {}", relative(span.from - timeline.zero))).unwrap_or_default();
    let detail = format!("opened {times}{first}, open for {open_for:.1} s");
    open(html, timeline, "circuit", (&format!("circuit {name}"), &detail), LOW);
    // Short half-open states are drawn over the open ones.
    let (half, rest): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.state == "half_open");
    for span in rest.into_iter().chain(half) {
        let (from, to) = (x(timeline, span.from), x(timeline, span.to));
        let (class, top) = match span.state {
            "open" | "forced_open" => ("open", 2.0),
            "half_open" => ("half", 2.0),
            _ => ("closed", 16.0),
        };
        // A state that is too short to see gets a visible width.
        let width = (to - from).max(3.0);
        let _ = write!(
            html,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{}\"/>",
            20.0 - top
        );
    }
    close(html, timeline, LOW, "");
}

fn alert(html: &mut String, timeline: &Timeline<'_>, name: &str, spans: &[Span<'_>]) {
    let worst = if spans.iter().any(|span| span.state == "critical") { "critical" } else { "warning" };
    let first = spans.iter().find(|span| span.state != "quiet");
    let detail = first.map_or_else(
        || "quiet".to_owned(),
        |span| format!("{worst}, first at {}", relative(span.from - timeline.zero)),
    );
    open(html, timeline, "alert", (&format!("alert {name}"), &detail), LOW);
    for span in spans {
        let (from, to) = (x(timeline, span.from), x(timeline, span.to));
        let (class, top) = match span.state {
            "critical" => ("critical", 2.0),
            "warning" => ("warning", 8.0),
            _ => ("closed", 17.0),
        };
        let _ = write!(
            html,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\"/>",
            (to - from).max(1.0),
            20.0 - top
        );
    }
    close(html, timeline, LOW, "");
}

fn probe(html: &mut String, timeline: &Timeline<'_>, line: &Line<'_>) {
    let info = line.info;
    if info.unit == Unit::State {
        return strip(html, timeline, line);
    }
    let values = || line.points.iter().filter_map(|(_, value, _)| *value);
    let worst = match (info.min, info.max) {
        (Some(_), None) => values().reduce(f64::min),
        _ => values().reduce(f64::max),
    };
    let worst =
        worst.map_or_else(|| "no value".to_owned(), |worst| format!("worst {}", info.unit.show(worst)));
    open(html, timeline, "probe", (&info.id, &format!("{} · {worst}", info.limit)), TALL);
    let (low, high) = range(line);
    let y = |value: f64| (TALL - 6.0) - ((value - low) / (high - low)).clamp(0.0, 1.0) * (TALL - 12.0);
    let mut overlay = String::new();
    // The forbidden side of each limit.
    for (limit, is_max) in [(info.min, false), (info.max, true)] {
        let Some(limit) = limit else { continue };
        let at = y(limit);
        let (top, height) = if is_max { (0.0, at) } else { (at, TALL - at) };
        let _ = write!(
            html,
            "<rect class=\"forbidden\" x=\"0\" y=\"{top:.1}\" width=\"{WIDTH}\" height=\"{height:.1}\"/><line class=\"limit\" x1=\"0\" y1=\"{at:.1}\" x2=\"{WIDTH}\" y2=\"{at:.1}\"/>"
        );
        let side = if at < TALL / 2.0 { "under" } else { "over" };
        let _ = write!(
            overlay,
            "<span class=\"tick {side}\" style=\"top:{:.1}%\">{}</span>",
            at / TALL * 100.0,
            info.unit.show(limit)
        );
    }
    let mut path = String::new();
    let mut is_drawn = false;
    for (at, value, _) in &line.points {
        if let Some(value) = value {
            let letter = if is_drawn { 'L' } else { 'M' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x(timeline, *at), y(*value));
        }
        is_drawn = value.is_some();
    }
    let _ = write!(html, "<path class=\"line\" d=\"{path}\"/>");
    close(html, timeline, TALL, &overlay);
}

/// Returns the lowest and the highest value of the picture, with the limits in it.
fn range(line: &Line<'_>) -> (f64, f64) {
    let values = line.points.iter().filter_map(|(_, value, _)| *value);
    let all = values.chain(line.info.min).chain(line.info.max);
    let (low, high) = all.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    match line.info.unit {
        // A deviation of a per cent is visible, and small changes do not look large.
        Unit::Share if line.info.min.is_some() => (low.min(0.9) - (1.0 - low.min(0.9)) * 0.1, 1.0),
        Unit::Share => (0.0, (high * 1.2).clamp(0.02, 1.0)),
        _ => {
            // A value far above the limit does not flatten the rest.
            let limit = line.info.max.unwrap_or(high);
            let high = if limit > 0.0 { high.min(limit * 4.0) } else { high };
            let low = low.min(0.0);
            (low, if high > low { high + (high - low) * 0.1 } else { low + 1.0 })
        }
    }
}

/// Draws a probe that only holds or fails.
fn strip(html: &mut String, timeline: &Timeline<'_>, line: &Line<'_>) {
    let failed = line.points.iter().filter(|(.., holds)| *holds == Some(false)).count();
    let detail = if failed == 0 { "held all the time" } else { "failed" };
    open(html, timeline, "strip", (&line.info.id, detail), LOW);
    for (index, (at, _, holds)) in line.points.iter().enumerate() {
        let next = line.points.get(index + 1).map_or(timeline.end, |next| next.0);
        let (class, top) = match holds {
            Some(true) => ("closed", 16.0),
            Some(false) => ("open", 2.0),
            None => continue,
        };
        // Readings that are alike are one rectangle.
        let is_same = index > 0 && line.points[index - 1].2 == *holds;
        if is_same {
            continue;
        }
        let end = line.points[index..]
            .iter()
            .find(|(.., other)| other != holds)
            .map_or(timeline.end, |other| other.0)
            .max(next);
        let (from, to) = (x(timeline, *at), x(timeline, end));
        let _ = write!(
            html,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\"/>",
            to - from,
            20.0 - top
        );
    }
    close(html, timeline, LOW, "");
}

/// Writes the times below the lanes.
fn axis(html: &mut String, timeline: &Timeline<'_>) {
    const STEPS: [f64; 13] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
    let step = STEPS.into_iter().find(|step| timeline.end / step <= 9.0).unwrap_or(timeline.end / 6.0);
    html.push_str("<div class=\"lane axis\"><div class=\"label\"></div><div class=\"picture\">");
    let mut number = -(timeline.zero / step).floor();
    while timeline.zero + number * step <= timeline.end {
        let seconds = number * step;
        let left = (timeline.zero + seconds) / timeline.end * 100.0;
        let side = if left < 3.0 {
            " start"
        } else if left > 96.0 {
            " end"
        } else {
            ""
        };
        let text = match seconds {
            zero if zero.abs() < 1e-9 => "0".to_owned(),
            short if short.abs() < 60.0 && step < 60.0 => {
                let sign = if short < 0.0 { "−" } else { "" };
                format!("{sign}{} s", crate::text::number(short.abs()))
            }
            long => format!(
                "{}{}:{:02}",
                if long < 0.0 { "−" } else { "" },
                (long.abs() / 60.0).floor(),
                (long.abs() % 60.0).round()
            ),
        };
        let _ = write!(html, "<span class=\"time{side}\" style=\"left:{left:.2}%\">{text}</span>");
        number += 1.0;
    }
    html.push_str("</div></div>\n");
}
