//! Tests that `docs/invariants.md` and the numbers that tests cite agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::run::root;

/// The number of each invariant, and whether it is planned for later.
fn listed() -> BTreeMap<u32, bool> {
    let text = std::fs::read_to_string(root().join("docs/invariants.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("- **T")?.split_once("** "));
    rows.map(|(number, statement)| (number.parse().unwrap(), statement.starts_with("*Planned.*"))).collect()
}

/// The numbers that the sources cite, with one file each.
fn cited() -> BTreeMap<u32, PathBuf> {
    let mut all = BTreeMap::new();
    for folder in [
        "benches",
        "examples",
        "resilient-chaos",
        "resilient-http",
        "resilient-macros",
        "resilient-postgres",
        "resilient-redis",
        "resilient-replica",
        "resilient-runtime",
        "tests",
    ] {
        for file in sources(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            all.extend(numbers(&text).map(|number| (number, file.clone())));
        }
    }
    all
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(is_source)
        .collect()
}

/// Each `T33` in a comment.
fn numbers(text: &str) -> impl Iterator<Item = u32> {
    let comments = text.lines().filter_map(|line| line.split_once("//").map(|(_, comment)| comment));
    let words = comments.flat_map(|comment| comment.split(|character: char| !character.is_alphanumeric()));
    words.filter_map(|word| word.strip_prefix('T')?.parse().ok())
}

#[test]
fn every_cited_invariant_is_listed() {
    let listed = listed();
    let unknown: Vec<_> = cited().into_iter().filter(|(number, _)| !listed.contains_key(number)).collect();
    assert!(unknown.is_empty(), "cited, but not in docs/invariants.md: {unknown:?}");
}

#[test]
fn a_source_cites_every_invariant_that_is_not_planned() {
    let cited: BTreeSet<u32> = cited().into_keys().collect();
    let listed = listed();
    assert!(listed.len() > 100, "docs/invariants.md has {} invariants", listed.len());
    for (number, is_planned) in listed {
        assert_eq!(cited.contains(&number), !is_planned, "T{number}: planned: {is_planned}");
    }
}

#[test]
fn a_number_is_read_from_comments_only() {
    let text = "// As T33, T4 and not U5.\nlet t = \"T99\"; // T146: each point\nT7;";
    assert_eq!(numbers(text).collect::<Vec<_>>(), [33, 4, 146]);
}
