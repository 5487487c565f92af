//! Pictures of the view in several situations, as text files in `snapshots`.
//!
//! `SNAPSHOTS=overwrite cargo test -p resilient-cli` writes them anew. Review the difference.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::feed::{Action, Lever, Update};
use super::keys::{Reaction, press};
use super::state::{App, Mode, Pane};
use super::view::draw;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text;

/// The view with a clock in hand.
struct Seen {
    app: App,
    start: Instant,
    now: Instant,
}

impl Seen {
    fn new() -> Self {
        let start = Instant::now();
        Self { app: App::new("http://127.0.0.1:3000/api/resilience", true), start, now: start }
    }

    /// A service that was read for ten seconds.
    fn of(stats: impl Fn(u64) -> Value) -> Self {
        let mut seen = Self::new();
        for second in 0..=10 {
            seen.now = seen.start + Duration::from_secs(second);
            let update = Update::Stats(Box::new(stats(second)));
            seen.app.update(update, seen.now);
        }
        seen
    }

    fn keys(&mut self, keys: &str) -> Reaction {
        let mut last = Reaction::None;
        for key in keys.chars() {
            let code = match key {
                '\t' => KeyCode::Tab,
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '↓' => KeyCode::Down,
                '⇟' => KeyCode::PageDown,
                '⇲' => KeyCode::End,
                c => KeyCode::Char(c),
            };
            last = press(&mut self.app, KeyEvent::new(code, KeyModifiers::NONE));
        }
        last
    }

    /// The screen as text.
    fn screen(&mut self, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &mut self.app, self.now)).unwrap();
        let buffer = terminal.backend().buffer();
        let mut screen = String::new();
        for y in 0..height {
            let mut row = String::new();
            let mut hidden = 0;
            for x in 0..width {
                let symbol = buffer[(x, y)].symbol();
                // The second cell of a wide character is not shown.
                if hidden == 0 {
                    row += symbol;
                } else {
                    hidden -= 1;
                }
                if text::width(symbol) > 1 {
                    hidden = text::width(symbol) - 1;
                }
            }
            writeln!(screen, "{}", row.trim_end()).unwrap();
        }
        screen
    }

    fn matches(&mut self, name: &str, width: u16, height: u16) {
        let screen = self.screen(width, height);
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/snapshots").join(format!("{name}.txt"));
        if std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &screen).unwrap();
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            screen == wanted,
            "{} differs; the screen is now:\n{screen}\nit was:\n{wanted}",
            path.display()
        );
    }
}

fn operation(calls: u64, failed: u64, refused: u64, degraded: u64) -> Value {
    json!({
        "calls": calls, "in_flight": 2, "succeeded": calls - failed - refused - degraded, "failed": failed, "ignored": 0,
        "rejected": refused, "timed_out": 0, "fell_back": degraded, "cancelled": 0, "panicked": 0,
        "latency": { "measured": calls, "p50": 0.0018, "p95": 0.009, "p99": 0.0147, "p999": 0.02 }, "last_error": null,
    })
}

fn closed() -> Value {
    json!({
        "state": "closed", "unchanged_for": 4321.0, "reason": null, "outage": null, "last_error": null, "retry_after": null,
        "window": { "calls": 182, "failed": 0, "failure_rate": 0.0 }, "rejected": 0, "entered": { "open": 0 },
    })
}

fn rest(second: u64) -> Value {
    let of = |per_second| operation(1000 + per_second * second, 0, 0, 0);
    json!({
        "enabled": true, "total": of(62),
        "operations": { "order": of(20), "charge": of(20), "exchange": of(20), "ping": of(2) },
        "circuit_breaker": { "payment": closed(), "stock": closed() },
        "alert": { "charges_degraded": { "operation": "charge", "signal": "degraded_rate", "severity": null, "value": 0.0 } },
        "health": { "gateway": { "kind": "deep", "status": "pass", "output": null } },
    })
}

fn outage(second: u64) -> Value {
    let mut stats = rest(second);
    stats["total"] = operation(1000 + 62 * second, 2 * second, 8 * second, 20 * second);
    stats["operations"]["charge"] = operation(1000 + 20 * second, 0, 0, 18 * second);
    stats["operations"]["charge"]["last_error"] =
        json!({ "text": "the gateway returned 503 Service Unavailable", "age": 12.3, "attempt": 2 });
    stats["operations"]["exchange"] = operation(1000 + 20 * second, 2 * second, 8 * second, 2 * second);
    stats["circuit_breaker"]["payment"] = json!({
        "state": "open", "unchanged_for": 1.4, "retry_after": 0.6, "rejected": 601, "entered": { "open": 3 },
        "reason": { "rule": "failure_rate", "observed": 0.5, "limit": 0.5, "calls": 476 },
        "outage": { "reason": { "rule": "failure_rate", "observed": 0.5, "limit": 0.5, "calls": 476 }, "age": 104.6 },
        "last_error": { "text": "the gateway returned 503 Service Unavailable", "age": 1.4 },
        "window": { "calls": 0, "failed": 0, "failure_rate": 0.0 },
    });
    stats["alert"]["charges_degraded"]["severity"] = json!("critical");
    stats["alert"]["charges_degraded"]["value"] = json!(0.9);
    stats["health"]["gateway"] = json!({ "kind": "deep", "status": "fail", "output": "connection refused" });
    stats
}

fn many(second: u64) -> Value {
    let mut stats = rest(second);
    let operations: serde_json::Map<_, _> = (0..1000)
        .map(|number: u64| {
            let failed = if number == 700 { second } else { 0 };
            (format!("operation-{number:04}"), operation(50 + (1 + number % 7) * second, failed, 0, 0))
        })
        .collect();
    stats["operations"] = operations.into();
    stats
}

fn gone() -> Failure {
    Failure::new(Exit::Unreachable, "no service at http://127.0.0.1:3000/api/resilience: connection refused")
        .hint("the URL is from the default; change it with --url or RESILIENT_URL")
        .hint("start the example with: cargo run --example payments")
}

#[test]
fn a_service_at_rest() {
    let mut seen = Seen::of(rest);
    seen.matches("rest-80x24", 80, 24);
    seen.matches("rest-40x12", 40, 12);
    seen.matches("rest-120x30", 120, 30);
}

#[test]
fn an_outage_is_on_top() {
    let mut seen = Seen::of(outage);
    seen.matches("outage-80x24", 80, 24);
    seen.matches("outage-40x12", 40, 12);
    seen.keys("\t");
    seen.matches("outage-circuits-80x24", 80, 24);
    seen.matches("outage-circuits-40x12", 40, 12);
}

#[test]
fn a_service_that_is_gone_is_told_and_its_old_figures_are_faint() {
    let mut seen = Seen::of(outage);
    seen.app.update(Update::Failed(gone()), seen.now + Duration::from_secs(1));
    seen.app.update(Update::Failed(gone()), seen.now + Duration::from_secs(9));
    seen.now += Duration::from_secs(13);
    seen.matches("gone-80x24", 80, 24);
    seen.keys("\to");
    assert_eq!(seen.app.mode, Mode::Browse, "no change without a service");
    seen.app.update(Update::Stats(Box::new(rest(11))), seen.now);
    assert!(seen.screen(80, 24).contains(" live"), "it reconnects");
}

#[test]
fn a_service_that_is_not_there_yet_is_explained() {
    let mut seen = Seen::new();
    seen.app.update(Update::Failed(gone()), seen.start);
    seen.now += Duration::from_secs(75);
    seen.matches("waiting-80x24", 80, 24);
    seen.matches("waiting-40x12", 40, 12);
}

#[test]
fn the_worst_of_a_thousand_operations_is_on_top_and_the_filter_finds_one() {
    let mut seen = Seen::of(many);
    seen.matches("many-80x24", 80, 24);
    seen.keys("⇟⇟↓");
    seen.matches("many-down-80x24", 80, 24);
    seen.keys("⇲");
    let end = seen.screen(80, 24);
    assert!(end.contains("-1000/1000"), "{end}");
    seen.keys("/042");
    seen.matches("many-filter-80x24", 80, 24);
    seen.keys("\nsss");
    let by_name = seen.screen(80, 24);
    let first = by_name.find("operation-0042").unwrap();
    assert!(first < by_name.find("operation-0420").unwrap(), "{by_name}");
    seen.keys("/nothing-like-this");
    seen.matches("many-no-match-80x24", 80, 24);
    seen.keys("\u{1b}");
    assert_eq!(seen.app.operations.len(), 1000);
}

#[test]
fn a_change_needs_a_confirmation_and_the_token() {
    let mut seen = Seen::of(outage);
    assert_eq!(seen.keys("o"), Reaction::None);
    assert!(seen.screen(80, 24).contains("select a circuit first"));
    seen.keys("\to");
    seen.matches("confirm-80x24", 80, 24);
    seen.matches("confirm-40x12", 40, 12);
    assert_eq!(seen.keys("\n"), Reaction::None, "Enter is no confirmation");
    assert_eq!(seen.keys("n"), Reaction::None);
    assert_eq!(seen.app.mode, Mode::Browse);
    for (key, lever) in [("o", Lever::Open), ("c", Lever::Close), ("a", Lever::Resume), ("r", Lever::Reset)] {
        seen.keys(key);
        assert_eq!(seen.keys("y"), Reaction::Act(Action::Circuit { lever, circuit: "payment".into() }));
    }
    seen.app
        .update(Update::Acted(Err(Failure::new(Exit::Denied, "the service rejected the token"))), seen.now);
    assert!(seen.screen(80, 24).contains("the service rejected the token"));
    seen.app.has_token = false;
    seen.keys("o");
    assert_eq!(seen.app.mode, Mode::Browse);
    assert!(seen.screen(80, 24).contains("RESILIENT_TOKEN"));
}

#[test]
fn the_question_names_the_circuit_that_was_selected_although_the_order_changes() {
    let mut seen = Seen::of(outage);
    seen.keys("\t↓o");
    let calm = Action::Circuit { lever: Lever::Open, circuit: "stock".into() };
    assert_eq!(seen.app.mode, Mode::Confirm(calm.clone()));
    let mut other = outage(11);
    other["circuit_breaker"]["stock"]["state"] = json!("open");
    other["circuit_breaker"]["aaa"] = json!({ "state": "open" });
    seen.app.update(Update::Stats(Box::new(other)), seen.now);
    assert_eq!(seen.keys("y"), Reaction::Act(calm));
    assert_eq!(seen.app.circuit().unwrap().name, "stock", "the selection follows its row");
}

fn injecting() -> Value {
    json!({
        "armed": true, "injected": 17, "environment": "staging", "limits": { "max_rate": 1.0, "max_faults": 64 },
        "faults": [
            { "id": 3, "kind": "latency", "action": "latency 300ms", "target": "payment, 20 %", "by": "ada",
              "armed_for": 10.0, "expires_in": 110.0, "matched": 90, "injected": 17, "active": 2 },
            { "id": 4, "kind": "error", "action": "error, transient", "target": "charge", "by": "ada",
              "armed_for": 10.0, "expires_in": 5.0, "matched": 90, "injected": 17, "active": 0 },
        ],
        "experiment": { "id": "7", "scenario": "dependency-down", "by": "ada", "phase": "steps", "state": "running" },
        "monkey": null,
    })
}

#[test]
fn injected_faults_are_shown_and_stopped_after_a_confirmation() {
    let mut seen = Seen::of(rest);
    seen.keys("x");
    assert!(seen.screen(80, 24).contains("built without fault injection"));
    let none = json!({ "armed": false, "faults": [], "experiment": null, "monkey": null });
    seen.app.update(Update::Chaos(Some(Box::new(none))), seen.now);
    seen.keys("x");
    assert!(seen.screen(80, 24).contains("nothing is injected"));
    seen.app.update(Update::Chaos(Some(Box::new(injecting()))), seen.now);
    seen.keys("/\u{1b}");
    seen.matches("chaos-80x24", 80, 24);
    seen.matches("chaos-120x30", 120, 30);
    seen.matches("chaos-40x12", 40, 12);
    assert_eq!(seen.keys("x"), Reaction::None);
    seen.matches("chaos-confirm-80x24", 80, 24);
    assert_eq!(seen.keys("\n"), Reaction::None, "Enter is no confirmation");
    assert_eq!(seen.keys("y"), Reaction::Act(Action::StopChaos));
    seen.app.update(Update::Chaos(None), seen.now);
    assert!(!seen.screen(80, 24).contains("CHAOS"), "a service without it is no problem");
    seen.app.update(Update::Chaos(Some(Box::new(injecting()))), seen.now);
    seen.app.update(Update::Failed(gone()), seen.now);
    seen.keys("x");
    assert_eq!(seen.app.mode, Mode::Confirm(Action::StopChaos), "the stop is tried even without figures");
    seen.app.has_token = false;
    seen.keys("nx");
    assert!(seen.screen(80, 24).contains("RESILIENT_TOKEN"));
}

#[test]
fn the_help_lists_the_keys() {
    let mut seen = Seen::of(rest);
    seen.keys("?");
    seen.matches("help-80x24", 80, 24);
    seen.matches("help-40x12", 40, 12);
    assert_eq!(seen.keys("q"), Reaction::None, "any key closes the help");
    assert_eq!(seen.keys("q"), Reaction::Quit);
}

#[test]
fn names_and_numbers_of_a_hostile_service_stay_in_their_cells() {
    let hostile = |second: u64| {
        let mut stats = rest(second);
        let huge = json!({
            "calls": 1.8e19, "succeeded": u64::MAX, "failed": -5, "in_flight": 1e308, "rejected": "many", "fell_back": null,
            "latency": { "measured": 1, "p50": 1e300, "p99": -1 }, "last_error": { "text": "\u{1b}[2J\u{202e}gone\n\n", "age": 1e99 },
        });
        stats["operations"] = json!({
            "x".repeat(10_000): huge, "\u{1b}]0;owned\u{7}\u{1b}[31m": huge, "\u{202e}txt.exe": huge, "دفع المبلغ": huge,
            "支付支付支付支付支付支付支付支付支付": huge, "": huge, "a\u{301}\u{301}\u{301}": huge, "👩‍👩‍👧 pay": huge,
        });
        stats["circuit_breaker"] = json!({ "\u{9b}31m\r\nx": { "state": "\u{1b}[7mopen" , "unchanged_for": "long" }, "y": [1, 2], "z": null });
        stats["alert"] = json!({ "\u{1b}c": { "severity": "\u{1b}[5mcritical", "signal": 7 } });
        stats
    };
    let mut seen = Seen::of(hostile);
    let fault = json!({ "id": "\u{1b}[1m", "action": "\u{1b}[2J".repeat(999), "target": "\u{202e}x", "by": "\n\r", "expires_in": 1e308 });
    let chaos = json!({ "faults": [fault, 7, null], "experiment": { "scenario": "\u{1b}c", "by": 7 }, "monkey": [1] });
    seen.app.update(Update::Chaos(Some(Box::new(chaos))), seen.now);
    for pane in [Pane::Operations, Pane::Circuits] {
        seen.app.pane = pane;
        for (width, height) in [(80, 24), (40, 12), (24, 6), (200, 60), (1, 1)] {
            let screen = seen.screen(width, height);
            assert!(!screen.contains(|c: char| c != '\n' && text::is_unsafe(c)), "{screen:?}");
        }
    }
    seen.app.pane = Pane::Operations;
    seen.matches("hostile-80x24", 80, 24);
    seen.keys("\to");
    let question = seen.screen(80, 24);
    assert!(!question.contains(|c: char| c != '\n' && text::is_unsafe(c)), "{question:?}");
}

#[test]
fn every_size_of_the_terminal_can_be_drawn_in_every_situation() {
    let situations: [fn(u64) -> Value; 3] = [outage, many, |_| json!({ "operations": {} })];
    for stats in situations {
        for keys in ["", "\t", "?", "/abc", "\to"] {
            let mut seen = Seen::of(stats);
            seen.keys(keys);
            for width in [1, 2, 10, 23, 24, 30, 40, 60, 100, 300] {
                for height in [1, 2, 5, 6, 7, 10, 15, 16, 17, 50] {
                    seen.screen(width, height);
                }
            }
        }
    }
}
