mod bounds;
mod degradation;
mod distributed;
mod kept;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::*;
use crate::outcome::Failure;
use crate::registry::Registry;

#[derive(Debug)]
enum MyError {
    Primary,
    Level(&'static str),
    All(FallbackFailed),
}

impl fmt::Display for MyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary down"),
            Self::Level(name) => write!(f, "{name} down"),
            Self::All(all) => all.fmt(f),
        }
    }
}

impl Error for MyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::All(all) = self { all.source() } else { None }
    }
}

impl From<FallbackFailed> for MyError {
    fn from(all: FallbackFailed) -> Self {
        Self::All(all)
    }
}

type Outcome = Result<u32, MyError>;

fn fallback() -> Arc<Fallback> {
    Registry::new().fallback("f")
}

#[test]
fn a_success_does_not_build_the_chain() {
    // T96
    let outcome: Outcome = fallback().call(|| Ok(1), || unreachable!("the chain is not built"));
    assert_eq!(outcome.unwrap(), 1);
}

#[test]
fn levels_run_in_the_order_of_the_chain_not_of_insertion() {
    let fallback = fallback();
    let asked = std::cell::RefCell::new(Vec::new());
    let level = |level: Level| {
        asked.borrow_mut().push(level);
        if level == Level::Backup { Ok(7) } else { Err(MyError::Level(level.as_str())) }
    };
    let outcome: Outcome = fallback.call(
        || Err(MyError::Primary),
        || {
            Chain::of(Level::Default, |_: &Failure<MyError>| level(Level::Default))
                .or(Level::Replica, |_| level(Level::Replica))
                .or(Level::Backup, |_| level(Level::Backup))
        },
    );
    assert_eq!(outcome.unwrap(), 7);
    assert_eq!(*asked.borrow(), [Level::Replica, Level::Backup]);
    let stats = fallback.stats();
    assert_eq!(stats.levels[&Level::Replica], LevelStats { asked: 1, ..LevelStats::default() });
    assert_eq!(stats.levels[&Level::Backup], LevelStats { asked: 1, served: 1, ..LevelStats::default() });
    assert_eq!(stats.levels[&Level::Default], LevelStats::default());
}

#[test]
fn if_every_level_fails_the_error_contains_the_first_and_last_error() {
    // T95
    let fallback = fallback();
    let outcome: Outcome = fallback
        .call(|| Err(MyError::Primary), || Chain::of(Level::Backup, |_| Err(MyError::Level("backup"))));
    let error = outcome.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "primary down");
    assert!(error.to_string().contains("backup down"), "{error}");
    assert_eq!(fallback.stats().all_failed, 1);
}

#[test]
fn a_level_receives_the_failure() {
    let outcome: Option<u32> = fallback().call(
        || None,
        || Chain::of(Level::Default, |failure| matches!(failure, Failure::Failed(())).then_some(3)),
    );
    assert_eq!(outcome, Some(3));
}

#[test]
fn a_level_that_panics_leaves_the_fallback_usable() {
    let fallback = fallback();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fallback.call(|| None::<u32>, || Chain::of(Level::Default, |_| panic!("level")))
    }));
    assert!(panicked.is_err());
    assert_eq!(fallback.call(|| None, || Chain::of(Level::Default, |_| Some(1))), Some(1));
}

#[test]
fn levels_of_the_same_name_run_in_the_order_of_insertion() {
    let asked = std::cell::RefCell::new(Vec::new());
    let down = |name| {
        asked.borrow_mut().push(name);
        Outcome::Err(MyError::Level(name))
    };
    let chain = || {
        Chain::of(Level::Default, |_| down("default"))
            .or(Level::Default, |_| down("second default"))
            .or(Level::Replica, |_| down("replica"))
    };
    fallback().call(|| Outcome::Err(MyError::Primary), chain).unwrap_err();
    assert_eq!(*asked.borrow(), ["replica", "default", "second default"]);
}
