use super::*;
use crate::probe::Unit;
use crate::scenario::Rate;

/// A text that tries to end its place in HTML, Markdown, a table, a link, a line and a terminal.
const HOSTILE: &str = "a|b`c <script>alert(1)</script> </svg><img src=x onerror=alert(1)> \"onload='x' [x](javascript:alert(1)) \\<i> \\| & &lt; \n# heading\n\r```\n- item\u{202e}gnp\u{2066}\u{1b}[31m\u{7}\u{0}\u{2028}~~s~~ *b* _i_ ![y](z)";

/// A report in which every text that a person or a program gives is hostile.
fn hostile(text: &str) -> Report {
    let text = || text.to_owned();
    let probe =
        |unit, aborts| ProbeInfo { id: text(), unit, min: None, max: Some(0.5), limit: text(), aborts };
    let step = StepInfo {
        id: text(),
        start: Duration::ZERO,
        duration: Duration::from_secs(5),
        fault: text(),
        rate: Rate::Fixed(1.0),
    };
    let began = Began {
        name: text(),
        hypothesis: text(),
        owner: text(),
        seed: 1,
        environment: Some(text()),
        started: text(),
        probes_only: false,
        probes: vec![probe(Unit::Share, false), probe(Unit::State, false), probe(Unit::Number, true)],
        steps: vec![step],
        recovery_within: 1.0,
    };
    let check = |kind, passed| {
        EntryKind::Check(Check { name: text(), kind, passed, detail: text(), weight: 1, used: Some(2.0) })
    };
    let all = [
        EntryKind::Began(Box::new(began)),
        EntryKind::Phase { phase: Phase::Steps },
        EntryKind::Step { step: text(), runs: true, injected: None },
        EntryKind::Rate { step: text(), rate: 0.5 },
        EntryKind::Probe { probe: text(), value: Some(0.7), holds: Some(false) },
        EntryKind::Circuit { breaker: text(), state: text() },
        EntryKind::Alert { alert: text(), severity: Some(text()) },
        EntryKind::Health { check: text(), status: text() },
        EntryKind::Warning { text: text() },
        EntryKind::Note { by: text(), text: text() },
        EntryKind::Decision { fault: Some(text()), reason: text(), local: text() },
        EntryKind::Decision { fault: None, reason: text(), local: text() },
        EntryKind::Deviated { what: text() },
        EntryKind::Aborted { reason: text() },
        EntryKind::Refused { reasons: vec![text()] },
        EntryKind::RolledBack { steps: vec![text()], took: 0.1 },
        EntryKind::Step { step: text(), runs: false, injected: Some(3) },
        check(CheckKind::SteadyState, Some(false)),
        check(CheckKind::Expectation, None),
        check(CheckKind::Recovery, Some(true)),
        EntryKind::Ended { outcome: Outcome::Deviated },
    ];
    let entry = |(index, what)| Entry { seconds: f64::from(index), what };
    Report::of((0_u32..).zip(all).map(entry).collect())
}

/// The tags of a page, in order, without their attributes.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).map(|part| part.split([' ', '>', '\n']).next().unwrap_or_default()).collect()
}

fn day(text: &str) -> crate::game_day::GameDayReport {
    let mut day = crate::GameDay::of("test", text, text, ["overload", "retry-storm", "store-lost"]).unwrap();
    day.briefing = Some(text.to_owned());
    for act in &mut day.acts {
        act.title = text.to_owned();
    }
    let mut held = hostile(text);
    held.outcome = Outcome::Held;
    crate::game_day::GameDayReport::new(day, vec![(0, hostile(text)), (1, held)])
}

#[test]
fn hostile_texts_add_nothing_to_a_page() {
    let pages = |text: &str| [hostile(text).to_html(), day(text).to_html()];
    for (page, harmless) in pages(HOSTILE).iter().zip(pages("harmless")) {
        // Code in backticks is the only markup that a text can have.
        let without_code =
            |html| tags(html).into_iter().filter(|tag| !tag.ends_with("code")).collect::<Vec<_>>();
        assert_eq!(without_code(page), without_code(&harmless), "no tag comes from a text");
        for bad in [
            "<script",
            "<img",
            "\"onload",
            "href=\"javascript",
            "\u{202e}",
            "\u{2066}",
            "\u{1b}",
            "\u{0}",
            "\u{2028}",
        ] {
            assert!(!page.contains(bad), "{bad:?}");
        }
        assert!(page.contains("&lt;script&gt;"), "the text is shown");
    }
}

#[test]
fn a_link_to_a_journal_cannot_leave_the_folder() {
    let page = day("javascript:alert(1)//").to_html();
    assert!(page.contains("href=\"./javascript:alert(1)//.jsonl\""), "it is a relative address");
    let folder = crate::runner::tests::Folder::new("names");
    let paths = hostile("../../../tmp/x\0\n<").write(&folder.0).unwrap();
    assert!(paths.iter().all(|path| path.parent() == Some(&*folder.0) && path.exists()), "{paths:?}");
}

/// The parts of a line of Markdown that are not code.
fn outside_code(line: &str) -> String {
    let unescaped = line.replace("\\\\", "").replace("\\`", "");
    unescaped.split('`').step_by(2).collect()
}

#[test]
fn hostile_texts_add_nothing_to_markdown() {
    let texts = |text: &str| [hostile(text).to_markdown(), day(text).to_markdown()];
    for hostile in [HOSTILE, "`<img src=x>``` x", "``<b>`", "\\`<b>\\`", "`a\\`<b>`"] {
        for (text, harmless) in texts(hostile).iter().zip(texts("harmless")) {
            assert_eq!(text.lines().count(), harmless.lines().count(), "no line comes from a text: {text}");
            for (line, other) in text.lines().zip(harmless.lines()) {
                let cells = |line: &str| line.replace("\\\\", "").replace("\\|", "").matches('|').count();
                assert_eq!(cells(line), cells(other), "{line}");
                let line = outside_code(line);
                let bytes = line.as_bytes();
                for (at, byte) in bytes.iter().enumerate().skip(3) {
                    if matches!(byte, b'<' | b'[' | b']' | b'!' | b'&' | b'~') {
                        assert_eq!(bytes[at - 1], b'\\', "{line}");
                    }
                }
            }
            for bad in ["\u{202e}", "\u{2066}", "\u{1b}", "\u{0}", "\u{2028}"] {
                assert!(!text.contains(bad), "{bad:?}");
            }
        }
    }
}

#[test]
fn names_keep_their_code_and_their_letters() {
    assert_eq!(plain("circuit `charges_degraded` is open"), "circuit `charges_degraded` is open");
    assert_eq!(plain("a_b *c*"), "a\\_b \\*c\\*");
    // Letters of other scripts, and marks of direction that they need, are not changed.
    assert_eq!(plain("طلب\u{200f} café"), "طلب\u{200f} café");
    assert_eq!(escape("طلب\u{200f} café"), "طلب\u{200f} café");
}

#[test]
fn a_summary_on_a_terminal_has_no_control_characters() {
    let summary = day(HOSTILE).summary();
    assert!(!summary.chars().any(|c| c.is_control() && c != '\n'), "{summary:?}");
    assert_eq!(summary.lines().count(), 4, "{summary}");
    assert!(!hostile(HOSTILE).summary().chars().any(char::is_control));
}

#[test]
fn a_journal_in_memory_is_bounded_and_says_so() {
    let journal = Journal::new();
    for _ in 0..100_100 {
        journal.note("ada", "still nothing");
    }
    journal.add(EntryKind::Ended { outcome: Outcome::Held });
    let entries = journal.entries();
    assert_eq!(entries.len(), 100_002, "with a warning and the end");
    assert!(
        matches!(&entries[100_000].what, EntryKind::Warning { text } if text.contains("after 100000 entries"))
    );
    assert!(matches!(entries[100_001].what, EntryKind::Ended { .. }));
}
