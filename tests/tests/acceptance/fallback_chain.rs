//! Fallback chain: replaces the result of a failed call.

use std::cell::RefCell;
use std::io;

use resilient_runtime::{Degradation, Level, resilient};

use crate::refused;

/// The levels that were called, in order.
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
fn the_next_level_is_used_when_one_fails() {
    let levels = ["primary", "replica", "distributed cache", "local cache", "backup"];
    for (number, works) in levels.into_iter().enumerate() {
        let asked = Asked::default();
        assert_eq!(rate(&asked, works).unwrap(), works);
        assert_eq!(
            *asked.borrow(),
            levels[..=number],
            "each level is called once, in the order of the chain"
        );
    }
}

#[test]
fn the_default_is_the_last_of_six_levels() {
    let asked = Asked::default();
    assert_eq!(rate(&asked, "nothing").unwrap(), "default");
    assert_eq!(asked.borrow().len(), 5);
}

#[test]
fn the_result_of_a_level_is_marked_as_degraded() {
    let asked = Asked::default();
    let (_, degraded) = Degradation::collect(|| rate(&asked, "primary"));
    assert!(degraded.is_none());
    let (_, degraded) = Degradation::collect(|| rate(&asked, "backup"));
    let degraded = degraded.expect("the result is marked as degraded");
    assert_eq!(degraded.level, Level::Backup);
    assert!(degraded.reasons[0].text.contains("connection refused"), "{:?}", degraded.reasons);
}
