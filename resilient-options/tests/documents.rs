//! The README's table of arguments and `docs/settings.md` come from the tables.
//!
//! `OPTIONS=overwrite cargo test -p resilient-options` writes them anew.

use std::fmt::Write as _;
use std::fs;

use resilient_options::{ARGUMENTS, Setting, TABLES, Table, Takes, Value};

const BEGIN: &str = "<!-- arguments: written by `OPTIONS=overwrite cargo test -p resilient-options` -->\n";
const END: &str = "<!-- end of arguments -->";

/// In a cell of a table a bar ends the cell, in code as well.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn arguments() -> String {
    let mut text = "| argument | what it does | options |\n|---|---|---|\n".to_owned();
    for argument in ARGUMENTS {
        let table = TABLES.iter().find(|table| table.argument == argument.name);
        let options =
            table.into_iter().flat_map(|table| table.options("")).map(|row| format!("`{}`", row.form));
        let options = options.collect::<Vec<_>>().join(", ");
        writeln!(text, "| `{}` | {} | {} |", cell(argument.form), cell(argument.about), cell(&options))
            .unwrap();
    }
    text
}

fn time(nanos: u64) -> String {
    match nanos {
        0 => "0s".to_owned(),
        nanos if nanos.is_multiple_of(1_000_000_000) => format!("{}s", nanos / 1_000_000_000),
        nanos => format!("{}ms", nanos / 1_000_000),
    }
}

fn default(row: &Setting) -> String {
    let value = match row.default {
        Value::Unset => return "-".to_owned(),
        Value::Duration(nanos) => format!("\"{}\"", time(nanos)),
        Value::Count(count) => count.to_string(),
        Value::Ratio(number) | Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("\"{text}\""),
        Value::Flag(flag) => flag.to_string(),
    };
    format!("`{value}`")
}

fn kind(table: &Table) -> String {
    let mut text = format!("\n## `{}`\n\n", table.kind);
    if table.argument.is_empty() {
        text.push_str("In a settings file, in the environment and at run time.\n\n");
    } else if table.argument != table.kind {
        writeln!(text, "In the attribute it is the argument `{}`.\n", table.argument).unwrap();
    }
    text.push_str("| setting | in the attribute | takes | default | what it does |\n|---|---|---|---|---|\n");
    for row in table.settings.iter().filter(|row| row.takes != Takes::Group) {
        let field = if row.field.is_empty() { "-".to_owned() } else { format!("`{}`", row.field) };
        let option = match (table.argument, row.option, row.group) {
            ("", ..) | (_, "", _) => "-".to_owned(),
            (_, _, "") => format!("`{}`", row.form),
            (_, _, group) => format!("`{group}({})`", row.form),
        };
        let (takes, default, about) = (row.takes, default(row), row.about);
        writeln!(text, "| {field} | {} | {takes} | {default} | {} |", cell(&option), cell(about)).unwrap();
    }
    text
}

fn settings() -> String {
    let mut text = "# Settings\n\n\
        Every setting of every kind of component. A settings file and the environment use the name in the first column, the\n\
        attribute the form in the second one. Written by `OPTIONS=overwrite cargo test -p resilient-options`.\n"
        .to_owned();
    for table in TABLES.iter().filter(|table| !table.settings.is_empty()) {
        text.push_str(&kind(table));
    }
    text
}

fn is_current(path: &str, now: &str) {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("OPTIONS").is_some_and(|wish| wish == "overwrite") {
        fs::write(&path, now).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == now, "{path}: write it with `OPTIONS=overwrite cargo test -p resilient-options`");
}

#[test]
fn the_readme_lists_the_arguments() {
    let readme = include_str!("../../README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the README has the mark");
    let (_, after) = rest.split_once(END).expect("the README has the end mark");
    is_current("README.md", &format!("{before}{BEGIN}{}{END}{after}", arguments()));
}

#[test]
fn the_settings_are_documented() {
    is_current("docs/settings.md", &settings());
}

#[test]
fn every_default_is_in_its_range() {
    for table in TABLES {
        for row in table.settings {
            assert!(row.takes.admits(row.default), "`{}` of `{}`: {:?}", row.field, table.kind, row.default);
        }
    }
}

#[test]
fn every_row_is_documented() {
    for row in TABLES.iter().flat_map(|table| table.settings) {
        assert!(row.about.len() > 10 && row.about.ends_with('.'), "`{}`: {}", row.field, row.about);
        assert!(row.form.is_empty() == row.option.is_empty(), "`{}`", row.field);
        assert!(row.form.contains(row.option), "`{}`: {}", row.option, row.form);
    }
}

#[test]
fn ranges_are_told_in_words() {
    let takes = |kind: &str, field: &str| {
        let table = TABLES.iter().find(|table| table.kind == kind).unwrap();
        table.field(field).unwrap().takes.to_string()
    };
    assert_eq!(takes("circuit_breaker", "open_for"), "more than 0, at most 24 h");
    assert_eq!(takes("retry", "base"), "0 to 24 h");
    assert_eq!(takes("idempotency", "ttl"), "1 s to 31 days");
    assert_eq!(takes("load_shed", "interval"), "1 ms to 1 min");
    assert_eq!(takes("bulkhead", "max_concurrent"), "1 to 1000000 calls");
    assert_eq!(takes("hedge", "percentile"), "50 to 99.9 per cent");
    assert_eq!(takes("load_shed", "throttle_floor"), "0.01 to 1");
    assert_eq!(takes("idempotency", "on_unknown"), "one of reject, reexecute");
}
