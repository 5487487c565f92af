//! Answers in the place of a call that fails.

use std::cell::RefCell;
use std::io;

use resilient_runtime::{Degradation, Level, resilient};

use crate::refused;

/// Which levels were asked, and in which order.
type Asked = RefCell<Vec<&'static str>>;

fn ask(asked: &Asked, name: &'static str, works: &str) -> io::Result<&'static str> {
    asked.borrow_mut().push(name);
    if works == name { Ok(name) } else { Err(refused()) }
}

#[resilient(fallback(
    replica = ask(asked, "replica", works),
    distributed_cache = ask(asked, "distributed cache", works),
    local_cache = ask(asked, "local cache", works),
    backup = ask(asked, "backup", works),
    default = Ok("default"),
))]
fn rate(asked: &Asked, works: &str) -> io::Result<&'static str> {
    ask(asked, "primary", works)
}

#[test]
fn the_next_level_answers_when_one_fails() {
    let levels = ["primary", "replica", "distributed cache", "local cache", "backup"];
    for (number, works) in levels.into_iter().enumerate() {
        let asked = Asked::default();
        assert_eq!(rate(&asked, works).unwrap(), works);
        assert_eq!(*asked.borrow(), levels[..=number], "each level once, in the order of the chain");
    }
}

#[test]
fn the_default_is_the_last_of_six_levels() {
    let asked = Asked::default();
    assert_eq!(rate(&asked, "nothing").unwrap(), "default");
    assert_eq!(asked.borrow().len(), 5);
}

#[test]
fn an_answer_of_a_level_is_marked_as_degraded() {
    let asked = Asked::default();
    let (_, degraded) = Degradation::collect(|| rate(&asked, "primary"));
    assert!(degraded.is_none());
    let (_, degraded) = Degradation::collect(|| rate(&asked, "backup"));
    let degraded = degraded.expect("marked");
    assert_eq!(degraded.level, Level::Backup);
    assert!(degraded.reasons[0].text.contains("connection refused"), "{:?}", degraded.reasons);
}
