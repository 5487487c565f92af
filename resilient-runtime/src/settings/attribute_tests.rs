//! F6: the attribute and the settings by file name the same things.

use std::collections::BTreeSet;

use super::Settings;
use crate::{
    bulkhead, circuit_breaker, coalesce, fallback, hedge, idempotency, load_shed, rate_limit, retry, timeout,
};

/// Where the attribute's tables are.
const TABLES: [&str; 5] = [
    include_str!("../../../resilient-macros/src/args/policies.rs"),
    include_str!("../../../resilient-macros/src/args/limits.rs"),
    include_str!("../../../resilient-macros/src/args/shed.rs"),
    include_str!("../../../resilient-macros/src/args/once.rs"),
    include_str!("../../../resilient-macros/src/args/fallback.rs"),
];
const IDE: &str = include_str!("../rt/ide.rs");

/// The tables of options: name and field.
fn options() -> BTreeSet<(&'static str, &'static str)> {
    let mut found = BTreeSet::new();
    for source in TABLES {
        for part in source.split('(').skip(1) {
            let mut words = part.splitn(4, '"');
            let (Some(before), Some(name), Some(between), Some(rest)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let field = rest.split('"').next().unwrap_or_default();
            let takes = rest.get(field.len() + 1..).unwrap_or_default().trim_start_matches(',').trim_start();
            let is_row = before.trim().is_empty() && between.trim() == ",";
            if is_row && ["Takes::", "POSITIVE", "CALLS"].iter().any(|word| takes.starts_with(word)) {
                found.insert((name, field));
            }
        }
    }
    found
}

#[test]
fn every_setting_is_an_option_of_the_attribute() {
    let options = options();
    assert!(options.len() > 60, "{options:?}");
    let fields: BTreeSet<_> = options.iter().map(|(_, field)| *field).collect();
    let all = [
        ("circuit_breaker", circuit_breaker::Config::FIELDS),
        ("retry", retry::Config::FIELDS),
        ("bulkhead", bulkhead::Config::FIELDS),
        ("timeout", timeout::Config::FIELDS),
        ("fallback", fallback::Config::FIELDS),
        ("rate_limit", rate_limit::Config::FIELDS),
        ("load_shed", load_shed::Config::FIELDS),
        ("hedge", hedge::Config::FIELDS),
        ("coalesce", coalesce::Config::FIELDS),
        ("idempotency", idempotency::Config::FIELDS),
    ];
    for (kind, settings) in all {
        for field in settings {
            // A switch is for outside of the program; the others are parsed apart from the tables.
            let apart = matches!(*field, "enabled" | "budget" | "adaptive" | "throttle");
            assert!(apart || fields.contains(field), "`{field}` of `{kind}` is no option of the attribute");
        }
    }
}

#[test]
fn every_option_is_completed_by_editors() {
    for (name, _) in options() {
        let nested =
            ["ratio", "reserve", "free", "critical", "high", "low", "normal", "initial", "timeout", "floor"];
        assert!(
            nested.contains(&name) || IDE.contains(&format!("        {name}: \"")),
            "`{name}` has no completion"
        );
    }
}
